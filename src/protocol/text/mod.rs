//! The classic text commands (sections 3 and 4): `set`, `get`, `incr`, `stats` and all the others that are not two
//! letters.
//!
//! - `parse`: the table of commands and what each makes of its words;
//! - `keys`: the key lists of `get` and its kin, which may be longer than any buffer;
//! - `plain`: the lines that nearly all lines are;
//! - `reply`: VALUE lines and the one-line answers.

mod keys;
mod parse;
mod plain;
mod reply;
#[cfg(test)]
mod tests;

pub use keys::{LongLine, NextKey, any_key_too_long, begin_long, may_be_long, next_key};
pub use plain::{Step, lone_key, plain_set, plain_step};
pub use reply::{END, value_line};

pub(super) use parse::{COMMANDS, value_len};
pub(super) use reply::{encode, line};
