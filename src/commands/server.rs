//! Stand-in.
use crate::{clock::Clock, settings::Settings, stats::*, sync::*};
use std::collections::HashMap;
use std::sync::OnceLock;
#[derive(Clone, Debug)]
pub struct ConnRow {
    pub fd: i32,
    pub addr: String,
    pub listen_addr: Option<String>,
    pub state: &'static str,
    pub secs_since_last_cmd: u32,
    pub udp: bool,
}
pub trait ConnTable: Send + Sync {
    fn rows(&self, now: crate::clock::Now) -> Vec<ConnRow>;
}
pub struct Server {
    pub settings: Settings,
    pub clock: Clock,
    pub started_seconds: u32,
    pub process: ProcessStats,
    pub threads: Vec<Arc<ThreadStats>>,
    pub conns: OnceLock<Box<dyn ConnTable>>,
    pub map: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}
impl Server {
    pub fn new(settings: Settings, clock: Clock) -> Server {
        Server {
            threads: (0..settings.num_threads).map(|_| Arc::new(ThreadStats::new())).collect(),
            started_seconds: clock.now().seconds,
            settings,
            clock,
            process: ProcessStats::new(),
            conns: OnceLock::new(),
            map: Mutex::default(),
        }
    }
}
