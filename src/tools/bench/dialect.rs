//! How requests are spelled in each of the three protocols, and what has to come back for each.

use super::items::Items;
use super::mix::Kind;
use super::outgoing::Outgoing;
use super::replies::Expect;
use std::collections::VecDeque;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `get`, `set`, ...
    Text,
    /// `mg`, `ms`, ...
    Meta,
    /// Frames.
    Binary,
}

/// Opcodes of the binary protocol (section 6.4).
pub mod opcode {
    #![allow(missing_docs, reason = "their names say it")]
    pub const GET: u8 = 0x00;
    pub const SET: u8 = 0x01;
    pub const DELETE: u8 = 0x04;
    pub const INCR: u8 = 0x05;
    pub const GETQ: u8 = 0x09;
    pub const NOOP: u8 = 0x0a;
    pub const TOUCH: u8 = 0x1c;
}

/// What a counter is stored as. Nobody counts far enough to make it longer.
const COUNTER: &[u8; 18] = b"100000000000000000";
/// Extras of `incr`: the step, what to begin with, and "do not make one".
const INCR_EXTRAS: [u8; 20] = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

impl Dialect {
    /// Appends a request to read the items `numbers`. Of several the binary protocol is asked as its clients do it: quiet ones, of
    /// which only the found are answered, and a no-op behind them.
    pub fn get(self, items: &Items, numbers: &[u64], out: &mut Outgoing, expected: &mut VecDeque<Expect>) {
        let quiet = self == Dialect::Binary && numbers.len() > 1;
        let has_end = self == Dialect::Text || quiet;
        out.push(|out| {
            if self == Dialect::Text {
                out.extend_from_slice(b"get");
            }
            for number in numbers {
                match self {
                    Dialect::Text => {
                        out.push(b' ');
                        items.push_key(*number, out);
                    }
                    Dialect::Meta => {
                        out.extend_from_slice(b"mg ");
                        items.push_key(*number, out);
                        out.extend_from_slice(b" v\r\n");
                    }
                    Dialect::Binary => {
                        let opcode = if quiet { opcode::GETQ } else { opcode::GET };
                        frame(opcode, items.key_len(), 0, items.key_len(), *number, out);
                        items.push_key(*number, out);
                    }
                }
            }
            match self {
                Dialect::Text => out.extend_from_slice(b"\r\n"),
                Dialect::Binary if quiet => frame(opcode::NOOP, 0, 0, 0, 0, out),
                _ => {}
            }
        });
        for (at, number) in numbers.iter().enumerate() {
            let is_last = !has_end && at + 1 == numbers.len();
            expected.push_back(if is_last { Expect::LastValue(*number) } else { Expect::Value(*number) });
        }
        if has_end {
            expected.push_back(Expect::End);
        }
    }

    /// Appends a request to store an item.
    pub fn set(self, items: &Items, number: u64, out: &mut Outgoing, expected: &mut VecDeque<Expect>) {
        let value = items.value(number);
        self.before_value(items, number, items.value_len(number), out);
        out.push_value(number, &value);
        self.after_value(out, expected);
    }

    /// Appends a request to store a counter.
    pub fn set_counter(self, counters: &Items, number: u64, out: &mut Outgoing, expected: &mut VecDeque<Expect>) {
        self.before_value(counters, number, COUNTER.len(), out);
        out.push(|out| out.extend_from_slice(COUNTER));
        self.after_value(out, expected);
    }

    fn before_value(self, items: &Items, number: u64, length: usize, out: &mut Outgoing) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(length).as_bytes();
        out.push(|out| match self {
            Dialect::Text => {
                out.extend_from_slice(b"set ");
                items.push_key(number, out);
                out.extend_from_slice(b" 0 0 ");
                out.extend_from_slice(digits);
                out.extend_from_slice(b"\r\n");
            }
            Dialect::Meta => {
                out.extend_from_slice(b"ms ");
                items.push_key(number, out);
                out.push(b' ');
                out.extend_from_slice(digits);
                out.extend_from_slice(b"\r\n");
            }
            Dialect::Binary => {
                frame(opcode::SET, items.key_len(), 8, 8 + items.key_len() + length, number, out);
                out.extend_from_slice(&[0; 8]);
                items.push_key(number, out);
            }
        });
    }

    fn after_value(self, out: &mut Outgoing, expected: &mut VecDeque<Expect>) {
        if self != Dialect::Binary {
            out.push(|out| out.extend_from_slice(b"\r\n"));
        }
        expected.push_back(Expect::Done(Kind::Set));
    }

    /// Appends a request of one of the kinds that need no more than a key.
    pub fn simple(self, kind: Kind, items: &Items, number: u64, out: &mut Outgoing, expected: &mut VecDeque<Expect>) {
        let (before, after): (&[u8], &[u8]) = match (self, kind) {
            (Dialect::Text, Kind::Touch) => (b"touch ", b" 0\r\n"),
            (Dialect::Text, Kind::Incr) => (b"incr ", b" 1\r\n"),
            (Dialect::Text, _) => (b"delete ", b"\r\n"),
            (Dialect::Meta, Kind::Touch) => (b"mg ", b" T0\r\n"),
            (Dialect::Meta, Kind::Incr) => (b"ma ", b"\r\n"),
            (Dialect::Meta, _) => (b"md ", b"\r\n"),
            (Dialect::Binary, _) => (b"", b""),
        };
        out.push(|out| {
            if self == Dialect::Binary {
                let (opcode, extras): (u8, &[u8]) = match kind {
                    Kind::Touch => (opcode::TOUCH, &[0; 4]),
                    Kind::Incr => (opcode::INCR, &INCR_EXTRAS),
                    _ => (opcode::DELETE, &[]),
                };
                frame(opcode, items.key_len(), extras.len(), extras.len() + items.key_len(), number, out);
                out.extend_from_slice(extras);
            }
            out.extend_from_slice(before);
            items.push_key(number, out);
            out.extend_from_slice(after);
        });
        expected.push_back(Expect::Done(kind));
    }
}

/// Appends the header of a request; its opaque is the item's number.
fn frame(opcode: u8, key_len: usize, extras_len: usize, body_len: usize, number: u64, out: &mut Vec<u8>) {
    let [high, low] = (key_len as u16).to_be_bytes();
    out.extend_from_slice(&[0x80, opcode, high, low, extras_len as u8, 0, 0, 0]);
    out.extend_from_slice(&(body_len as u32).to_be_bytes());
    out.extend_from_slice(&(number as u32).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
}
