//! What waits to be sent: bytes, and large values between them that stay in item memory.
//!
//! Small replies are copied one behind the other, so that one write sends them all. A value that was pinned is not copied: the
//! output holds its pin and the place where it belongs, and lets it go when its last byte is sent.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::store::{Pinned, Value};

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

    /// Fills `slices` with what is to be sent next, up to `bytes`, and says how many are used: none when nothing waits.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], bytes: usize) -> usize {
        let mut room = slices.iter_mut();
        let mut used = 0;
        let mut left = bytes;
        self.pieces(|bytes| {
            if bytes.is_empty() {
                return true;
            }
            let bytes = &bytes[..bytes.len().min(left)];
            let Some(slice) = room.next().filter(|_| left > 0) else { return false };
            *slice = IoSlice::new(bytes);
            left -= bytes.len();
            used += 1;
            true
        });
        used
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

    /// The first `n` bytes of what [`Output::slices`] gave were sent. `n` is at most [`Output::len`].
    pub fn advance(&mut self, mut n: usize) {
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
    use super::*;

    fn waiting(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(b""); 4];
        let used = output.slices(&mut slices, usize::MAX);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_was_sent_is_not_sent_again() {
        let mut output = Output::new();
        output.bytes_mut().extend_from_slice(b"STORED\r\n");
        output.advance(3);
        assert_eq!(waiting(&output), b"RED\r\n");
        assert_eq!(waiting(&Output::of(output.waiting())), b"RED\r\n");
        assert_eq!(output.len(), 5);
        output.advance(5);
        assert!(output.is_empty());
        assert_eq!(waiting(&output), b"");
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let mut output = Output::new();
        output.bytes_mut().extend_from_slice(b"END\r\n");
        output.advance(1);
        let taken = output.take();
        assert!(output.is_empty());
        assert_eq!(waiting(&taken), b"ND\r\n");
    }

    #[test]
    fn small_values_are_copied() {
        let mut output = Output::new();
        output.push_value(Value::Inline(b"abc"));
        assert_eq!(waiting(&output), b"abc");
        assert_eq!(output.len(), 3);
    }
}
