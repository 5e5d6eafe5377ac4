//! From a reply to bytes: each dialect spells it in its own way.

use super::command::Spelling;
use super::reply::Reply;
use super::request::Key;

/// What has to follow the bytes that [`encode`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Body {
    /// Nothing: the reply is complete (or there is none).
    None,
    /// The item's value, [`super::reply::Hit::size`] bytes, and CR LF.
    Value,
}

/// Appends `reply` to `out` as `spelling` wants it. `key` is the request's, or [`Key::NONE`].
///
/// Runs under an item lock: allocates nothing but the growth of `out`, and formats numbers by hand.
pub fn encode(out: &mut Vec<u8>, spelling: &Spelling<'_>, key: Key<'_>, reply: &Reply<'_>) -> Body {
    todo!()
}
