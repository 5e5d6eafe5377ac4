//! Replies as they come in, in whatever pieces: each is checked against what was asked, every value to its last byte, and counted.
//!
//! Nothing is put together but the head of a reply (a line, or the header of a frame) that was cut: a value is compared piece by piece
//! where it was read.

use super::dialect::{Dialect, opcode};
use super::items::Items;
use super::mix::Kind;
use std::collections::VecDeque;

/// What is still to come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The value of an item, or a sign that there is none, or nothing if there is none.
    Value(u64),
    /// The same as the end of its request: then there is a sign.
    LastValue(u64),
    /// The end of a request to read.
    End,
    /// That a request of this kind was done, or that there is no such item.
    Done(Kind),
}

/// What was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of each kind, in the order of [`Kind::ALL`].
    pub answered: [u64; Kind::ALL.len()],
    /// Keys that were found.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
    /// What the server refused to store, for lack of memory or because it is too large.
    pub refused: u64,
    /// Requests to touch, to count or to delete that found no item.
    pub absent: u64,
}

impl Counts {
    /// Adds what was answered elsewhere.
    pub fn add(&mut self, other: &Counts) {
        self.answered.iter_mut().zip(other.answered).for_each(|(sum, part)| *sum += part);
        self.hits += other.hits;
        self.misses += other.misses;
        self.refused += other.refused;
        self.absent += other.absent;
    }

    fn answer(&mut self, kind: Kind) {
        self.answered[kind as usize] += 1;
    }
}

/// A reply that is not the one to the request: the start of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

/// Bytes of a frame's header.
const HEADER_LEN: usize = 24;
/// Bytes of the longest line: `VALUE`, a key, two numbers.
const LINE_MAX: usize = 1024;
/// Statuses of binary replies (section 6.3): done; no such item; a value that is too large, and no memory for it.
const DONE: [u8; 2] = [0, 0];
const NOT_FOUND: [u8; 2] = [0, 1];
const REFUSED: [[u8; 2]; 2] = [[0, 3], [0, 0x82]];

/// One connection's replies.
#[derive(Default)]
pub struct Replies {
    /// What is still to come.
    pub expected: VecDeque<Expect>,
    /// The start of a head that has not come whole.
    partial: Vec<u8>,
    body: Option<Body>,
}

/// What follows a head.
struct Body {
    /// Whose value it is; none for a body nobody looks at.
    item: Option<u64>,
    /// Bytes before the value.
    skip: usize,
    value_len: usize,
    /// Bytes in all, from the first skipped one to the CR LF behind the value.
    len: usize,
    /// Bytes of it that have come.
    at: usize,
    /// What is answered by it.
    answers: Option<Kind>,
}

impl Replies {
    /// Whether everything that was asked is answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.expected.is_empty() && self.body.is_none()
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// When it is no answer to what was asked, or holds another value than was stored.
    pub fn read(
        &mut self,
        dialect: Dialect,
        items: &Items,
        mut input: &[u8],
        counts: &mut Counts,
    ) -> Result<(), Wrong> {
        while !input.is_empty() {
            if let Some(body) = &mut self.body {
                let (piece, rest) = input.split_at((body.len - body.at).min(input.len()));
                body.check(items, piece)?;
                body.at += piece.len();
                input = rest;
                if body.at == body.len {
                    counts.hits += u64::from(body.item.is_some());
                    body.answers.into_iter().for_each(|kind| counts.answer(kind));
                    self.body = None;
                }
                continue;
            }
            let end = match dialect {
                Dialect::Binary => Some(HEADER_LEN - self.partial.len()).filter(|end| *end <= input.len()),
                _ => memchr::memchr(b'\n', input).map(|at| at + 1),
            };
            let Some(end) = end else {
                self.partial.extend_from_slice(input);
                return if self.partial.len() > LINE_MAX { Err(wrong(&self.partial)) } else { Ok(()) };
            };
            let (head, rest) = input.split_at(end);
            input = rest;
            self.body = if self.partial.is_empty() {
                self.head(dialect, items, head, counts)?
            } else {
                self.partial.extend_from_slice(head);
                let head = std::mem::take(&mut self.partial);
                self.head(dialect, items, &head, counts)?
            };
        }
        Ok(())
    }

    /// Understands a head. Returns what follows it.
    fn head(
        &mut self,
        dialect: Dialect,
        items: &Items,
        head: &[u8],
        counts: &mut Counts,
    ) -> Result<Option<Body>, Wrong> {
        if dialect == Dialect::Binary {
            return self.frame(items, head, counts);
        }
        let line = head.strip_suffix(b"\r\n").ok_or_else(|| wrong(head))?;
        if let Some(rest) = line.strip_prefix(b"VALUE ") {
            let (key, rest) = rest.split_at_checked(items.key_len()).ok_or_else(|| wrong(head))?;
            let length = rest.strip_prefix(b" 0 ").and_then(number).ok_or_else(|| wrong(head))?;
            // Keys that are skipped were not found.
            while let Some(Expect::Value(item)) = self.expected.pop_front() {
                if items.is_key(item, key) {
                    return body(items, item, 0, length, 2, None).map(Some);
                }
                counts.misses += 1;
            }
            return Err(wrong(head));
        }
        if let Some(length) = line.strip_prefix(b"VA ") {
            let length = number(length).ok_or_else(|| wrong(head))?;
            return match self.expected.pop_front() {
                Some(Expect::Value(item)) => body(items, item, 0, length, 2, None).map(Some),
                Some(Expect::LastValue(item)) => body(items, item, 0, length, 2, Some(Kind::Get)).map(Some),
                _ => Err(wrong(head)),
            };
        }
        self.line(line, counts).then_some(None).ok_or_else(|| wrong(head))
    }

    /// Understands a line without a value behind it. Whether it can.
    fn line(&mut self, line: &[u8], counts: &mut Counts) -> bool {
        if line == b"END" {
            return self.end(counts);
        }
        let is_refusal = line.starts_with(b"SERVER_ERROR ");
        match (self.expected.pop_front(), line) {
            (Some(Expect::Value(_)), b"EN") => counts.misses += 1,
            (Some(Expect::LastValue(_)), b"EN") => {
                counts.misses += 1;
                counts.answer(Kind::Get);
            }
            (Some(Expect::Done(kind @ (Kind::Set | Kind::Incr))), _) if is_refusal => {
                counts.refused += 1;
                counts.answer(kind);
            }
            (Some(Expect::Done(kind)), line) if is_done(kind, line) => counts.answer(kind),
            (Some(Expect::Done(kind)), b"NOT_FOUND" | b"NF" | b"EN") if may_be_absent(kind) => {
                counts.absent += 1;
                counts.answer(kind);
            }
            _ => return false,
        }
        true
    }

    /// Understands the end of a request to read. Whether one was due.
    fn end(&mut self, counts: &mut Counts) -> bool {
        while let Some(Expect::Value(_)) = self.expected.front() {
            self.expected.pop_front();
            counts.misses += 1;
        }
        counts.answer(Kind::Get);
        self.expected.pop_front() == Some(Expect::End)
    }

    fn frame(&mut self, items: &Items, head: &[u8], counts: &mut Counts) -> Result<Option<Body>, Wrong> {
        let header: &[u8; HEADER_LEN] = head.try_into().map_err(|_| wrong(head))?;
        let [0x81, opcode, _, _, extras_len, _, status @ ..] = *header else { return Err(wrong(head)) };
        let wrong = || Wrong(format!("a frame of opcode {opcode:#04x} with status {:#04x}", status[1]));
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (status, body_len, opaque) = ([status[0], status[1]], word(8) as usize, word(12));
        let expected = match opcode {
            opcode::NOOP => return if self.end(counts) { Ok(None) } else { Err(wrong()) },
            // What is skipped was not found.
            opcode::GETQ => loop {
                match self.expected.pop_front() {
                    Some(Expect::Value(item)) if item as u32 != opaque => counts.misses += 1,
                    other => break other,
                }
            },
            _ => self.expected.pop_front(),
        };
        let (hit, skip) = (status == DONE, usize::from(extras_len));
        let answered = match expected {
            Some(Expect::Value(item) | Expect::LastValue(item)) if hit => {
                let answers = matches!(expected, Some(Expect::LastValue(_))).then_some(Kind::Get);
                let length = body_len.checked_sub(skip).ok_or_else(wrong)?;
                return body(items, item, skip, length, 0, answers).map(Some);
            }
            Some(Expect::LastValue(_)) if status == NOT_FOUND => {
                counts.misses += 1;
                Kind::Get
            }
            Some(Expect::Done(kind)) if opcode_of(kind) == opcode => {
                match kind {
                    _ if hit => {}
                    _ if status == NOT_FOUND && may_be_absent(kind) => counts.absent += 1,
                    Kind::Set | Kind::Incr if REFUSED.contains(&status) => counts.refused += 1,
                    _ => return Err(wrong()),
                }
                kind
            }
            _ => return Err(wrong()),
        };
        counts.answer(answered);
        let ignored = Body { item: None, skip: 0, value_len: 0, len: body_len, at: 0, answers: None };
        Ok(Some(ignored).filter(|body| body.len > 0))
    }
}

impl Body {
    /// Looks at the next piece.
    fn check(&self, items: &Items, piece: &[u8]) -> Result<(), Wrong> {
        let Some(item) = self.item else { return Ok(()) };
        // Most come whole.
        let from = self.skip.saturating_sub(self.at).min(piece.len());
        let value_at = (self.at + from).saturating_sub(self.skip);
        let (value, end) = piece[from..].split_at(self.value_len.saturating_sub(value_at).min(piece.len() - from));
        let end_at = (self.at + piece.len() - end.len()).saturating_sub(self.skip + self.value_len);
        if items.is_value(item, value_at.min(self.value_len), value) && b"\r\n"[end_at.min(2)..].starts_with(end) {
            return Ok(());
        }
        let mut key = Vec::new();
        items.push_key(item, &mut key);
        let (key, Wrong(value)) = (String::from_utf8_lossy(&key).into_owned(), wrong(piece));
        Err(Wrong(format!("for {key} another value than was stored: {value}")))
    }
}

/// A value of `length` bytes, if that is how long the item's is.
fn body(
    items: &Items,
    item: u64,
    skip: usize,
    length: usize,
    tail: usize,
    answers: Option<Kind>,
) -> Result<Body, Wrong> {
    if length != items.value_len(item) {
        let mut key = Vec::new();
        items.push_key(item, &mut key);
        let key = String::from_utf8_lossy(&key).into_owned();
        return Err(Wrong(format!("for {key} another value than was stored: one of {length} bytes")));
    }
    Ok(Body { item: Some(item), skip, value_len: length, len: skip + length + tail, at: 0, answers })
}

/// Whether it needs an item that is there, and may be told that there is none.
fn may_be_absent(kind: Kind) -> bool {
    matches!(kind, Kind::Touch | Kind::Incr | Kind::Delete)
}

/// Whether a line of text or meta says that such a request was done.
fn is_done(kind: Kind, line: &[u8]) -> bool {
    match kind {
        Kind::Get => false,
        Kind::Set => matches!(line, b"STORED" | b"HD"),
        Kind::Touch => matches!(line, b"TOUCHED" | b"HD"),
        Kind::Incr => line == b"HD" || !line.is_empty() && line.iter().all(u8::is_ascii_digit),
        Kind::Delete => matches!(line, b"DELETED" | b"HD"),
    }
}

fn opcode_of(kind: Kind) -> u8 {
    match kind {
        Kind::Get => opcode::GET,
        Kind::Set => opcode::SET,
        Kind::Touch => opcode::TOUCH,
        Kind::Incr => opcode::INCR,
        Kind::Delete => opcode::DELETE,
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + usize::from(digit - b'0')))
}

fn wrong(input: &[u8]) -> Wrong {
    let shown = String::from_utf8_lossy(&input[..input.len().min(100)]);
    Wrong(shown.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::items::Shape;
    use super::super::outgoing::Outgoing;
    use super::*;

    const DIALECTS: [Dialect; 3] = [Dialect::Text, Dialect::Meta, Dialect::Binary];

    fn items() -> Items {
        Items::new(Shape { head: *b"memhold:", count: 10, key_len: 24, value_len: (10, 60), skew: 0.0 })
    }

    fn frame(opcode: u8, status: u8, extras_len: u8, opaque: u64, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0x81, opcode, 0, 0, extras_len, 0, 0, status];
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&(opaque as u32).to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        [&out, body].concat()
    }

    /// What a server says to `get` of items 1 to 3 when it has not the second, `get` of the third alone, and each other kind for one.
    fn answer(dialect: Dialect, items: &Items) -> Vec<u8> {
        let found = |number| {
            let (mut key, value) = (Vec::new(), items.value(number));
            items.push_key(number, &mut key);
            let (key, value) = (String::from_utf8(key).unwrap(), [value.core(), value.noise].concat());
            match dialect {
                Dialect::Text => [format!("VALUE {key} 0 {}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat(),
                Dialect::Meta => [format!("VA {}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat(),
                Dialect::Binary => frame(opcode::GETQ, 0, 4, number, &[&[0; 4], &value[..]].concat()),
            }
        };
        let mut alone = found(3);
        match dialect {
            Dialect::Text => [found(1), found(3), b"END\r\n".to_vec(), alone]
                .concat()
                .into_iter()
                .chain(*b"END\r\nSTORED\r\nTOUCHED\r\n100000000000000001\r\nNOT_FOUND\r\n")
                .collect(),
            Dialect::Meta => {
                [found(1), b"EN\r\n".to_vec(), found(3), alone, b"HD\r\nHD\r\nHD\r\nNF\r\n".to_vec()].concat()
            }
            Dialect::Binary => {
                alone[1] = opcode::GET;
                [
                    found(1),
                    found(3),
                    frame(opcode::NOOP, 0, 0, 0, b""),
                    alone,
                    frame(opcode::SET, 0, 0, 4, b""),
                    frame(opcode::TOUCH, 0, 4, 4, &[0; 4]),
                    frame(opcode::INCR, 0, 0, 4, &[7; 8]),
                    frame(opcode::DELETE, 1, 0, 4, b"Not found"),
                ]
                .concat()
            }
        }
    }

    /// Reads all of `input`, which comes in pieces that end at `cuts`.
    fn read(dialect: Dialect, input: &[u8], cuts: &[usize], items: &Items) -> Result<(Counts, bool), Wrong> {
        let (mut requests, mut replies, mut counts) = (Outgoing::default(), Replies::default(), Counts::default());
        dialect.get(items, &[1, 2, 3], &mut requests, &mut replies.expected);
        dialect.get(items, &[3], &mut requests, &mut replies.expected);
        dialect.set(items, 4, &mut requests, &mut replies.expected);
        for kind in [Kind::Touch, Kind::Incr, Kind::Delete] {
            dialect.simple(kind, items, 4, &mut requests, &mut replies.expected);
        }
        let mut at = 0;
        for end in cuts.iter().copied().chain([input.len()]) {
            replies.read(dialect, items, &input[at..end], &mut counts)?;
            at = end;
        }
        Ok((counts, replies.is_done()))
    }

    #[test]
    fn replies_are_counted_wherever_they_are_cut() {
        let items = items();
        let expected = Counts { answered: [2, 1, 1, 1, 1], hits: 3, misses: 1, refused: 0, absent: 1 };
        for dialect in DIALECTS {
            let input = answer(dialect, &items);
            for cut in 0..input.len() {
                assert_eq!(read(dialect, &input, &[cut], &items), Ok((expected, true)), "{dialect:?} cut at {cut}");
            }
            let everywhere: Vec<usize> = (0..input.len()).collect();
            assert_eq!(read(dialect, &input, &everywhere, &items), Ok((expected, true)), "{dialect:?}");
        }
    }

    #[test]
    fn a_value_that_is_another_is_noticed() {
        let items = items();
        for dialect in DIALECTS {
            let input = answer(dialect, &items);
            let value = items.value(3);
            let stored = [value.core(), value.noise].concat();
            let at = input.windows(stored.len()).position(|window| window == stored).unwrap();
            for place in at..at + stored.len() {
                let mut changed = input.clone();
                changed[place] ^= 1;
                let Err(Wrong(said)) = read(dialect, &changed, &[], &items) else { panic!("{dialect:?} at {place}") };
                assert!(said.contains("another value than was stored"), "{said}");
                assert!(read(dialect, &changed, &[place], &items).is_err(), "{dialect:?} at {place}, in pieces");
            }
        }
    }

    #[test]
    fn whatever_is_no_answer_is_refused() {
        let items = items();
        for (dialect, wrong) in [
            (Dialect::Text, &b"ERROR\r\n"[..]),
            (Dialect::Text, b"VALUE memhold:0000000000000000 0 10\r\n"),
            (Dialect::Text, b"STORED\r\n"),
            (Dialect::Text, &[b'x'; 2000]),
            (Dialect::Meta, b"HD\r\n"),
            (Dialect::Meta, b"VA x\r\n"),
            (Dialect::Binary, &[0x80; HEADER_LEN]),
            (Dialect::Binary, &frame(opcode::GET, 0x81, 0, 0, b"Unknown command")),
        ] {
            assert!(read(dialect, wrong, &[], &items).is_err(), "{dialect:?} {}", wrong.escape_ascii());
        }
        // That a password is missing is not for lack of memory.
        let (mut requests, mut replies, mut counts) = (Outgoing::default(), Replies::default(), Counts::default());
        Dialect::Binary.set(&items, 1, &mut requests, &mut replies.expected);
        let input = frame(opcode::SET, 0x20, 0, 1, b"Auth failure.");
        let said = replies.read(Dialect::Binary, &items, &input, &mut counts).unwrap_err();
        assert_eq!(said.0, "a frame of opcode 0x01 with status 0x20");
    }

    #[test]
    fn what_the_server_has_no_memory_for_is_counted_as_refused() {
        let items = items();
        for (dialect, input) in [
            (Dialect::Text, b"SERVER_ERROR out of memory storing object\r\n".to_vec()),
            (Dialect::Binary, frame(opcode::SET, 0x82, 0, 1, b"Out of memory")),
        ] {
            let (mut requests, mut replies, mut counts) = (Outgoing::default(), Replies::default(), Counts::default());
            dialect.set(&items, 1, &mut requests, &mut replies.expected);
            replies.read(dialect, &items, &input, &mut counts).unwrap();
            assert_eq!((counts.refused, counts.answered, replies.is_done()), (1, [0, 1, 0, 0, 0], true));
        }
    }
}
