//! memhold: a memcached-compatible server that keeps web sessions.
//!
//! The layers, from the socket to the memory; arrows point down only:
//!
//! ```text
//! main ──► server, tools      options, signals, process, logging, background threads
//! server ─► net               the only sockets: listener, worker, client
//! net ────► conn              one client's conversation, sans-IO: bytes in, bytes out, time in
//! conn ───► commands, protocol    what the verbs mean; how they are spelled
//! commands ► store            item memory, index, slabs, eviction, expiry, mover
//! leaves                      logger, stats, settings, clock, sync, sys
//! ```
//!
//! `protocol` and `store` never know each other: the dialects become one neutral [`protocol::Request`] and are answered by
//! one neutral [`protocol::Reply`]. `ARCHITECTURE.md` tells the decisions and their figures.

pub mod clock;
pub mod commands;
pub mod conn;
pub mod logger;
pub mod net;
pub mod protocol;
pub mod server;
pub mod settings;
pub mod stats;
pub mod store;
pub mod sync;
pub mod sys;
pub mod tools;
