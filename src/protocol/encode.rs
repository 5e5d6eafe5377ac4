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

/// A few words written from the last to the first, as digits come when a number is divided: no digit is moved, and the whole is copied
/// to its place at once.
pub struct Backwards {
    bytes: [u8; BACKWARDS_MAX],
    start: usize,
}

/// Three numbers of 20 digits, and what stands around them.
const BACKWARDS_MAX: usize = 72;

impl Backwards {
    /// Nothing but the end of the line.
    #[inline]
    #[must_use]
    pub fn from_line_end() -> Backwards {
        let mut words = Backwards { bytes: [0; BACKWARDS_MAX], start: BACKWARDS_MAX };
        words.put(*b"\r\n");
        words
    }

    /// Puts bytes before what is there.
    #[inline]
    pub fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.start -= N;
        self.bytes[self.start..self.start + N].copy_from_slice(&bytes);
    }

    /// Puts a number in decimal before what is there.
    #[inline]
    pub fn put_number(&mut self, mut number: u64) {
        loop {
            self.start -= 1;
            self.bytes[self.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }

    /// What was put.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_backwards_reads_forwards() {
        for number in [0, 7, 10, 99, 100, 4_294_967_295, u64::MAX] {
            let mut words = Backwards::from_line_end();
            words.put_number(number);
            words.put(*b"a ");
            assert_eq!(words.bytes(), format!("a {number}\r\n").as_bytes());
        }
    }
}
