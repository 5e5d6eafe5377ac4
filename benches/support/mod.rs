//! What the benches share: servers under test, what they are asked, and the words of the command line. The load itself is made by the
//! engine of `memhold bench` (`src/tools/bench`).

#![allow(dead_code, reason = "each bench uses a part")]

pub mod bulk;
pub mod crowd;
pub mod options;
pub mod rounds;
pub mod sample;
pub mod scenario;
pub mod server;

/// Anything that ends a bench.
pub type Failure = Box<dyn std::error::Error>;
