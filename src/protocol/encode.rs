//! From a reply to bytes: each dialect spells it in its own way, with the few tools that are here.

use super::command::Spelling;
use super::reply::{Error, Reply};
use super::request::Key;
use super::{binary, meta, text};

/// What has to follow the bytes that [`encode`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Body {
    /// Nothing: the reply is complete (or there is none).
    None,
    /// The item's value, [`super::reply::Hit::size`] bytes, and CR LF.
    Value,
    /// The item's value alone.
    Bare,
}

/// Appends `reply` to `out` as `spelling` wants it. `key` is the request's, or [`Key::NONE`].
///
/// Runs under an item lock: allocates nothing but the growth of `out`, and formats numbers without the formatting
/// machinery.
#[inline]
pub fn encode(out: &mut Vec<u8>, spelling: &Spelling<'_>, key: Key<'_>, reply: &Reply<'_>) -> Body {
    match *spelling {
        Spelling::Text { noreply, with_cas } => text::encode(out, noreply, with_cas, key, reply),
        Spelling::Meta { verb, flags, quiet, value } => meta::encode(out, verb, flags, quiet, value, key, reply),
        Spelling::Binary { opcode, opaque, detailed } => {
            binary::reply::encode(out, opcode, opaque, detailed, key, reply)
        }
    }
}

/// Appends an error line, CR LF included.
#[cold]
pub fn push_error(out: &mut Vec<u8>, error: &Error) {
    let (kind, text): (&[u8], &str) = match error {
        Error::Unknown => (b"ERROR", ""),
        Error::Client(text) => (b"CLIENT_ERROR ", text),
        Error::Server(text) => (b"SERVER_ERROR ", text),
        Error::Line(text) => (b"", text),
    };
    for part in [kind, text.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends a number in decimal.
#[inline]
pub fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
