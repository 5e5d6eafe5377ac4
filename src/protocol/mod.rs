//! How requests and replies are spelled. Each dialect turns bytes into the neutral [`Request`] and the neutral
//! [`Reply`] into bytes; neither knows the store, a socket or the time.
//!
//! - [`request`]: what can be asked; [`reply`]: what can be answered; [`limits`]: the bounds of both.
//! - [`command`]: from a line to a request, whichever dialect it is in; [`encode`]: from a reply to bytes.
//! - [`text`]: the classic commands; [`meta`]: the two-letter commands; [`binary`]: frames; each with its table, parser and replies.
//! - [`token`], [`number`], [`base64`]: words, numbers and keys, for both.

pub mod base64;
pub mod binary;
pub mod command;
pub mod encode;
pub mod limits;
pub mod meta;
pub mod number;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;
pub mod text;
pub mod token;

pub use command::{Command, KeyList, ParseOptions, Parsed, Reading, Refused, Scratch, Spelling, parse};
pub use encode::{Body, encode};
pub use reply::Reply;
pub use request::{Key, Request};
