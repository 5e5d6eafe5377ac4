//! Stand-in.
pub mod server;
pub use server::Server;
use crate::{clock::Now, stats::ThreadStats, store::Store};
pub struct Context<'a> {
    pub store: &'a Store,
    pub server: &'a Server,
    pub stats: &'a ThreadStats,
    pub now: Now,
}
