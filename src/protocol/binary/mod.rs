//! The binary protocol (section 6): frames of 24 bytes of header and a body of extras, key and value. memcached calls it
//! deprecated; PHP's sessions and many other clients speak it by default.
//!
//! - [`opcodes`]: what can be asked, a row each; [`parse`](parse()): from a frame to a request; [`reply`]: the answers.

pub mod opcodes;
mod parse;
pub mod reply;
#[cfg(test)]
mod tests;

pub use parse::{Access, Frame, Parsed, Read, Refused, parse};
pub use reply::{Status, push_hit, push_miss, push_refusal};

/// What a request begins with; a negotiating listener tells the dialects apart by it.
pub const REQUEST_MAGIC: u8 = 0x80;
/// What a response begins with.
pub const RESPONSE_MAGIC: u8 = 0x81;
/// Bytes of a header.
pub const HEADER_BYTES: usize = 24;
/// Longest body that is begun at all (section 6.2, check 4).
pub const BODY_MAX: usize = 1 << 30;
/// Longest name of a SASL mechanism.
pub const MECHANISM_MAX: usize = 32;
/// Most data of an authentication that are looked at; PLAIN needs a few hundred bytes. memcached takes what fits an unchunked item.
pub const AUTH_DATA_MAX: usize = 16 << 10;
