//! A load generator for memcached servers: requests made in advance, replies checked to the last byte that matters.
//!
//! ```text
//! scenario   what is asked, by how many connections, how deep; builds a script
//! script     the bytes of all requests, in bursts, and what must come back
//! client     one thread, one epoll, all connections; plays a script and counts
//! keys, random, histogram   leaves
//! ```
//!
//! Arrows point down. Nothing here starts a server, reads `/proc` or prints: that is the benches' part (`server.rs`
//! and the files beside it), so that this folder can become a subcommand as it is.
//!
//! Nothing is formatted, drawn or allocated while the clock runs: a burst is one write, a reply is two comparisons.

pub mod client;
pub mod histogram;
pub mod keys;
pub mod random;
pub mod scenario;
pub mod script;
