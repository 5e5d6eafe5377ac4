//! The counters: what is counted, where, and what each one means.
//!
//! - [`thread`]: a block of counters for each thread, written by that thread only, read by everybody.
//! - [`process`]: the few facts that belong to no thread (open connections, listeners).
//! - [`table`]: one row for each line of `stats`, in memcached's order, with its meaning; printing, `/metrics` and the
//!   documents are loops over it.
//! - [`prefix`]: `stats detail`.
//!
//! Nothing here knows the store or a client. Counters only ever grow: `stats reset` remembers where they stood
//! (see `commands::stats`), so that no two threads ever write one counter.

pub mod prefix;
pub mod process;
pub mod table;
pub mod thread;

pub use prefix::Prefixes;
pub use process::{Process, ProcessStats};
pub use thread::{CLASSES, ClassCounter, Counter, Sums, ThreadStats};
