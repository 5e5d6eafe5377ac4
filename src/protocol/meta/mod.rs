//! The meta commands (section 5): two letters, a key, and flags that say what to do and what to return.
//!
//! - `parse`: the table of commands and what each makes of its flags;
//! - `flags`: the flag words, checked in memcached's order;
//! - `plain`: `mg` with nothing but questions, in a few instructions;
//! - `reply`: return codes, with the flags in the order in which the client wrote them.

mod flags;
mod parse;
mod plain;
mod reply;
#[cfg(test)]
mod tests;

pub(super) use parse::COMMANDS;
pub(super) use reply::encode;

pub use plain::{MetaGet, plain_get};
