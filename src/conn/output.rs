//! What waits to be sent: bytes, and large values between them that stay in item memory.
//!
//! Small replies are copied one behind the other, so that one write sends them all. A value that was pinned is not copied: the
//! output holds its pin and the place where it belongs, and lets it go when its last byte is sent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use arrayvec::ArrayVec;

use crate::store::{Pinned, Value};

/// Slices of one vectored write.
const SLICES: usize = 64;

/// See the file's head.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that are sent. What lies before is dead.
    sent: usize,
    /// In order; each stands before the byte `at`.
    pins: VecDeque<Pin>,
    /// Bytes of the first pin that are sent.
    pin_sent: usize,
    /// Bytes of all pins, sent or not.
    pinned: usize,
}

struct Pin {
    at: usize,
    value: Pinned,
}

impl Output {
    /// Empty, and owning no memory.
    #[must_use]
    pub fn new() -> Output {
        Output::default()
    }

    /// Bytes still to be sent, those of pinned values included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.pinned - self.pin_sent
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of process memory held, used or not.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where replies are appended.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends an item's value: copied, or kept where it is.
    pub fn push_value(&mut self, value: Value<'_>) {
        match value {
            Value::Inline(bytes) => self.bytes.extend_from_slice(bytes),
            Value::Pinned(value) => {
                self.pinned += value.len();
                self.pins.push_back(Pin { at: self.bytes.len(), value });
            }
        }
    }

    /// Shows `write` what is to be sent next, up to `bytes`, and lets go of as many bytes as that says were taken, from the first on.
    /// Returns how many were shown and how many taken.
    ///
    /// # Errors
    ///
    /// Those of `write`; nothing was taken then.
    pub fn send(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<(usize, usize)> {
        let mut slices = ArrayVec::<_, SLICES>::new();
        let mut shown = 0;
        self.pieces(|piece| {
            if piece.is_empty() {
                return true;
            }
            let piece = &piece[..piece.len().min(bytes - shown)];
            if piece.is_empty() || slices.try_push(IoSlice::new(piece)).is_err() {
                return false;
            }
            shown += piece.len();
            true
        });
        let taken = write(&slices)?;
        drop(slices);
        self.advance(taken);
        Ok((shown, taken))
    }

    /// Shows `put` what waits, piece by piece and in order, until it says false.
    fn pieces<'a>(&'a self, mut put: impl FnMut(&'a [u8]) -> bool) {
        let mut at = self.sent;
        let mut offset = self.pin_sent;
        for pin in &self.pins {
            if !put(&self.bytes[at..pin.at]) {
                return;
            }
            at = pin.at;
            loop {
                let piece = pin.value.slice_at(offset);
                if piece.is_empty() {
                    break;
                }
                if !put(piece) {
                    return;
                }
                offset += piece.len();
            }
            offset = 0;
        }
        put(&self.bytes[at..]);
    }

    /// The first `n` bytes of what waited were sent. `n` is at most [`Output::len`].
    fn advance(&mut self, mut n: usize) {
        debug_assert!(n <= self.len(), "sent more than there was");
        while let Some(pin) = self.pins.front() {
            let before = pin.at - self.sent;
            if n < before {
                self.sent += n;
                return;
            }
            self.sent = pin.at;
            n -= before;
            let left = pin.value.len() - self.pin_sent;
            if n < left {
                self.pin_sent += n;
                return;
            }
            n -= left;
            self.pinned -= pin.value.len();
            self.pin_sent = 0;
            self.pins.pop_front();
        }
        self.sent += n;
        if self.sent == self.bytes.len() {
            self.clear();
        }
    }

    /// A copy of all that waits, pinned values included, for another process to send.
    #[must_use]
    pub fn waiting(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(self.len());
        self.pieces(|piece| {
            copy.extend_from_slice(piece);
            true
        });
        copy
    }

    /// An output of which nothing has been sent.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Output {
        Output { bytes, ..Output::default() }
    }

    /// Forgets everything, keeping the memory for the next replies.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pins.clear();
        (self.sent, self.pin_sent, self.pinned) = (0, 0, 0);
    }

    /// Gives memory back beyond `kept` bytes, when nothing waits.
    pub fn shrink(&mut self, kept: usize) {
        if self.bytes.capacity() > kept && self.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// Moves what waits into an output of its own, no larger than needed (for a client that reads slowly, while the shared one
    /// serves others).
    #[must_use]
    pub fn take(&mut self) -> Output {
        let mut pins = std::mem::take(&mut self.pins);
        for pin in &mut pins {
            pin.at -= self.sent;
        }
        let taken = Output {
            bytes: self.bytes[self.sent..].to_vec(),
            sent: 0,
            pins,
            pin_sent: self.pin_sent,
            pinned: self.pinned,
        };
        self.clear();
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_part_is_sent_of_what_is_shown() {
        let mut output = Output::of(b"STORED\r\n".to_vec());
        let mut place = [0; 2];
        let sent = output.send(4, |slices| (&mut place[..]).write_vectored(slices));
        assert_eq!((sent.unwrap(), &place), ((4, 2), b"ST"));
        assert_eq!(output.waiting(), b"ORED\r\n");
        assert!(output.send(4, |_| Err(io::ErrorKind::WouldBlock.into())).is_err());
        assert_eq!(output.waiting(), b"ORED\r\n");
    }

    #[test]
    fn what_was_sent_is_not_sent_again() {
        let mut output = Output::new();
        output.bytes_mut().extend_from_slice(b"STORED\r\n");
        output.advance(3);
        assert_eq!(output.waiting(), b"RED\r\n");
        assert_eq!(Output::of(output.waiting()).waiting(), b"RED\r\n");
        assert_eq!(output.len(), 5);
        output.advance(5);
        assert!(output.is_empty());
        assert_eq!(output.waiting(), b"");
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let mut output = Output::new();
        output.bytes_mut().extend_from_slice(b"END\r\n");
        output.advance(1);
        let taken = output.take();
        assert!(output.is_empty());
        assert_eq!(taken.waiting(), b"ND\r\n");
    }

    #[test]
    fn small_values_are_copied() {
        let mut output = Output::new();
        output.push_value(Value::Inline(b"abc"));
        assert_eq!(output.waiting(), b"abc");
        assert_eq!(output.len(), 3);
    }
}
