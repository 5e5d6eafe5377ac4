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

/// The end of a line, put together in a register from its last byte to its first, as digits come when a number is divided: bytes that
/// were stored one by one are slow to load together.
pub struct LineEnd {
    word: u128,
    len: usize,
}

impl LineEnd {
    /// Bytes that it has room for.
    pub const MAX: usize = size_of::<u128>();

    /// CR LF.
    #[inline]
    #[must_use]
    pub fn crlf() -> LineEnd {
        LineEnd { word: u16::from_le_bytes(*b"\r\n").into(), len: 2 }
    }

    /// Puts a byte before what is there.
    #[inline]
    pub fn put(&mut self, byte: u8) {
        debug_assert!(self.len < LineEnd::MAX, "there is room");
        self.word = self.word << 8 | u128::from(byte);
        self.len += 1;
    }

    /// Puts a number in decimal before what is there.
    #[inline]
    pub fn put_number(&mut self, mut number: u32) {
        loop {
            self.put(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }

    /// Appends what was put.
    #[inline]
    pub fn append_to(self, out: &mut Vec<u8>) {
        let len = out.len() + self.len;
        out.extend_from_slice(&self.word.to_le_bytes());
        out.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_line_reads_forwards() {
        for number in [0, 7, 10, 99, 100, 4_294_967_295] {
            let mut end = LineEnd::crlf();
            end.put_number(number);
            end.put(b' ');
            let mut line = b"before".to_vec();
            end.append_to(&mut line);
            assert_eq!(line, format!("before {number}\r\n").as_bytes());
        }
    }
}
