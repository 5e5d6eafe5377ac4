//! The server as a process: options, signals, logging, background threads, and the order in which they start and stop.

pub mod background;
pub mod exit;
pub mod getopt;
pub mod logging;
pub mod manual;
pub mod memory;
pub mod options;
pub mod process;
pub mod signals;
