//! The server as a process: options, signals, logging, background threads, and the order in which they start and stop.

pub mod exit;
pub mod getopt;
pub mod manual;
pub mod options;
