//! What a connection has to send: bytes, and large values between them that are sent from where they lie.

use super::items::Value;
use arrayvec::ArrayVec;
use std::io::{self, ErrorKind, IoSlice, Write};

/// Values from here on are not copied.
const LARGE: usize = 16 << 10;
/// Pieces given to the kernel at once.
const PIECES: usize = 64;

/// Requests on their way.
#[derive(Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    large: Vec<Large>,
    /// Bytes sent already, of both.
    sent: usize,
    /// Bytes in all.
    len: usize,
}

/// The end of a value, which is sent when `at` bytes were.
struct Large {
    at: usize,
    item: u64,
}

impl Outgoing {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.large.clear();
        self.sent = 0;
        self.len = 0;
    }

    /// Whether all is sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.sent == self.len
    }

    /// Lets `spell` append bytes.
    pub fn push(&mut self, spell: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        spell(&mut self.bytes);
        self.len += self.bytes.len() - before;
    }

    /// Appends the value of an item.
    pub fn push_value(&mut self, item: u64, value: &Value<'_>) {
        self.push(|out| out.extend_from_slice(value.core()));
        let len = value.noise.len();
        if len >= LARGE {
            self.large.push(Large { at: self.bytes.len(), item });
            self.len += len;
        } else {
            self.push(|out| out.extend_from_slice(value.noise));
        }
    }

    /// Sends what the socket takes; `noise` finds the end of an item's value.
    ///
    /// # Errors
    /// When the socket fails, but not when it takes nothing more.
    pub fn send<'n>(&mut self, socket: &mut (impl Write + ?Sized), noise: impl Fn(u64) -> &'n [u8]) -> io::Result<()> {
        while self.sent < self.len {
            let sent = if self.large.is_empty() {
                socket.write(&self.bytes[self.sent..])
            } else {
                socket.write_vectored(&self.pieces(&noise))
            };
            match sent {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next pieces that are not sent yet.
    fn pieces<'a, 'n: 'a>(&'a self, noise: &impl Fn(u64) -> &'n [u8]) -> ArrayVec<IoSlice<'a>, PIECES> {
        let mut pieces = ArrayVec::new();
        let mut skip = self.sent;
        let mut add = |piece: &'a [u8]| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            if skipped < piece.len() {
                // What has no room is sent in the next round.
                let _ = pieces.try_push(IoSlice::new(&piece[skipped..]));
            }
        };
        let mut from = 0;
        for large in &self.large {
            add(&self.bytes[from..large.at]);
            add(noise(large.item));
            from = large.at;
        }
        add(&self.bytes[from..]);
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::super::items::{Items, Shape};
    use super::*;

    /// Takes a few bytes at a time.
    struct Slow(Vec<u8>, bool);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(7_777);
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn large_values_stand_where_they_belong() {
        for len in [100, LARGE + KEY_AND_MORE] {
            let shape = Shape { head: *b"memhold:", count: 50, key_len: 24, value_len: (len, len), skew: 0.0 };
            let items = Items::new(shape);
            let (mut out, mut expected) = (Outgoing::default(), Vec::new());
            for item in 0..50 {
                let value = items.value(item);
                out.push(|out| out.extend_from_slice(b"before "));
                out.push_value(item, &value);
                out.push(|out| out.extend_from_slice(b" after"));
                expected.extend_from_slice(&[b"before ", value.core(), value.noise, b" after"].concat());
            }
            let mut socket = Slow(Vec::new(), false);
            while !out.is_done() {
                out.send(&mut socket, |item| items.value(item).noise).unwrap();
            }
            assert!(socket.0 == expected);
            out.clear();
            assert!(out.is_done());
        }
    }

    const KEY_AND_MORE: usize = 1000;
}
