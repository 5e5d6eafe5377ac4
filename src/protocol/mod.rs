//! How requests and replies are spelled. Each dialect turns bytes into the neutral [`Request`] and the neutral [`Reply`]
//! into bytes; neither knows the store, a socket or the time.
//!
//! - [`request`]: what can be asked; [`reply`]: what can be answered; [`limits`]: the bounds of both.
//! - [`text`]: the classic commands; [`meta`]: the two-letter commands.

pub mod limits;
pub mod meta;
pub mod reply;
pub mod request;
pub mod text;

pub use reply::Reply;
pub use request::{Key, Request};
