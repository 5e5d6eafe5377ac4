//! What all threads share while the server runs: settings, clock, counters, and the table of connections that `net`
//! fills in. Nothing here is on the path of a get or set but plain loads.

use std::sync::OnceLock;
use std::time::Duration;

use super::auth::Credentials;
use super::stats::Baseline;
use crate::clock::{Clock, Now};
use crate::logger::Logger;
use crate::settings::{LiveSettings, Settings};
use crate::stats::{Prefixes, Process, ProcessStats, ThreadStats};
use crate::sync::{Arc, AtomicBool, Mutex};

/// One line group of `stats conns` (section 11.6).
#[derive(Clone, Debug)]
pub struct ConnRow {
    /// Its descriptor.
    pub fd: i32,
    /// The peer, or what a listener is bound to, as memcached writes it: `tcp:127.0.0.1:11211`, `unix:/path`.
    pub addr: String,
    /// Local address of a client's connection; `None` for listeners.
    pub listen_addr: Option<String>,
    /// `conn_listening`, or the state the conn tells.
    pub state: &'static str,
    /// Seconds since its last command.
    pub secs_since_last_cmd: u32,
    /// A UDP socket.
    pub udp: bool,
}

/// All descriptors in use, for `stats conns`. `net` knows them.
pub trait ConnTable: Send + Sync {
    /// The rows, in the order of their descriptors. Called by a worker in the middle of a command, which must not be waited for.
    fn rows(&self, now: Now) -> Vec<ConnRow>;
}

/// Most bytes of buffer that a watcher is given, whatever `watcher_logbuf_size` says: there are two for each.
const LOGBUF_MAX: usize = 64 << 20;

/// See [`Server::refresh_certs`].
pub type RefreshCerts = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// See the file's head.
pub struct Server {
    /// What the operator asked for.
    pub settings: Settings,
    /// What has been changed since.
    pub live: LiveSettings,
    /// The time, for `debugtime` and `uptime`.
    pub clock: Clock,
    /// Unix second of the start, which `uptime` counts from.
    pub started_seconds: u32,
    /// Facts of the process.
    pub process: Arc<ProcessStats>,
    /// What watchers are told.
    pub logger: Arc<Logger>,
    /// One block of counters for each worker.
    pub threads: Vec<Arc<ThreadStats>>,
    /// Who may come in, where authentication is wanted.
    pub credentials: Credentials,
    /// `stats detail`.
    pub prefixes: Prefixes,
    /// Where counters stood at the last `stats reset`.
    pub(super) baseline: Mutex<Baseline>,
    /// Set once `net` has a table of connections.
    pub conns: Mutex<Option<Box<dyn ConnTable>>>,
    /// CPU time of the process in user code and in the kernel; set by whoever may call the system.
    pub cpu_time: OnceLock<fn() -> (Duration, Duration)>,
    /// Touches memory that is none, for `debugcrash`; set by whoever may call the system.
    pub fault: OnceLock<fn()>,
    /// Reads certificates and keys again (`refresh_certs`); set when TLS is on. Fails with the line that says why.
    pub refresh_certs: OnceLock<RefreshCerts>,
    /// `lru_crawler crawl` asked for a sweep that has not been done yet; the background thread clears it.
    pub crawl_wanted: AtomicBool,
}

impl Server {
    /// Reads certificates and keys again; those in use stay when that fails. `None` when TLS is off.
    pub fn refresh_certs(&self) -> Option<Result<(), String>> {
        let refreshed = self.refresh_certs.get()?();
        if refreshed.is_ok() {
            self.process.set(Process::SslRefreshTime, u64::from(self.clock.now().seconds));
        }
        Some(refreshed)
    }

    /// A server at its start, with counters for each of `settings.num_threads` workers.
    #[must_use]
    pub fn new(settings: Settings, clock: Clock) -> Server {
        let live = LiveSettings::new(&settings);
        let prefixes = Prefixes::new(settings.prefix_delimiter, settings.detail_enabled);
        let threads = (0..settings.num_threads).map(|_| Arc::new(ThreadStats::new())).collect();
        let started_seconds = clock.now().seconds;
        let process = Arc::new(ProcessStats::new());
        let buffer_bytes = usize::try_from(settings.watcher_logbuf_bytes).unwrap_or(usize::MAX).min(LOGBUF_MAX);
        let logger = Arc::new(Logger::new(Arc::clone(&process), buffer_bytes));
        // Certificates are read at the start.
        process.set(Process::SslRefreshTime, u64::from(started_seconds));
        Server {
            settings,
            live,
            clock,
            started_seconds,
            process,
            logger,
            threads,
            credentials: Credentials::default(),
            prefixes,
            baseline: Mutex::new(Baseline::default()),
            conns: Mutex::new(None),
            cpu_time: OnceLock::new(),
            fault: OnceLock::new(),
            refresh_certs: OnceLock::new(),
            crawl_wanted: AtomicBool::new(false),
        }
    }
}
