//! Requests of a run in each of the three protocols, and their replies read and checked.

use super::items::Items;
use std::collections::VecDeque;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `get`, `set`
    Text,
    /// `mg`, `ms`
    Meta,
    /// Opcodes 0 and 1.
    Binary,
}

/// What is still to come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The value of an item, or that there is none; whether it ends its request.
    Value(u64, bool),
    /// The end of a text `get`.
    End,
    /// That a value was stored.
    Stored,
    /// That an item has a new expiry, or that there is none.
    Touched,
}

/// What was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests to read, with one key or several.
    pub gets: u64,
    /// Keys that were found.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
    /// Requests to store.
    pub sets: u64,
    /// Of these, those that the server refused for lack of memory.
    pub refused: u64,
    /// Requests to touch; items that are not there are among them.
    pub touches: u64,
}

/// A reply that is not the one to the request: the start of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

const HEADER_LEN: usize = 24;
const OPCODE_TOUCH: u8 = 0x1c;

impl Dialect {
    /// Appends a request for the items `numbers`.
    pub fn get(self, numbers: &[u64], out: &mut Vec<u8>, expected: &mut VecDeque<Expect>) {
        if self == Dialect::Text {
            out.extend_from_slice(b"get");
        }
        for (at, number) in numbers.iter().enumerate() {
            let key = Items::key(*number);
            match self {
                Dialect::Text => {
                    out.push(b' ');
                    out.extend_from_slice(&key);
                }
                Dialect::Meta => {
                    out.extend_from_slice(b"mg ");
                    out.extend_from_slice(&key);
                    out.extend_from_slice(b" v\r\n");
                }
                Dialect::Binary => {
                    frame(0, 0, key.len(), out);
                    out.extend_from_slice(&key);
                }
            }
            expected.push_back(Expect::Value(*number, self != Dialect::Text && at + 1 == numbers.len()));
        }
        if self == Dialect::Text {
            out.extend_from_slice(b"\r\n");
            expected.push_back(Expect::End);
        }
    }

    /// Appends a request to store an item.
    pub fn set(self, number: u64, items: &Items, out: &mut Vec<u8>, expected: &mut VecDeque<Expect>) {
        let (key, length) = (Items::key(number), items.value_len(number));
        let digits = itoa::Buffer::new().format(length).to_owned();
        match self {
            Dialect::Text => {
                out.extend_from_slice(b"set ");
                out.extend_from_slice(&key);
                out.extend_from_slice(b" 0 0 ");
                out.extend_from_slice(digits.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Dialect::Meta => {
                out.extend_from_slice(b"ms ");
                out.extend_from_slice(&key);
                out.push(b' ');
                out.extend_from_slice(digits.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Dialect::Binary => {
                frame(1, 8, 8 + key.len() + length, out);
                out.extend_from_slice(&[0; 8]);
                out.extend_from_slice(&key);
            }
        }
        items.push_value(number, out);
        if self != Dialect::Binary {
            out.extend_from_slice(b"\r\n");
        }
        expected.push_back(Expect::Stored);
    }

    /// Appends a request that gives an item a new expiry, which is none.
    pub fn touch(self, number: u64, out: &mut Vec<u8>, expected: &mut VecDeque<Expect>) {
        let key = Items::key(number);
        let (before, after): (&[u8], &[u8]) = match self {
            Dialect::Text => (b"touch ", b" 0\r\n"),
            Dialect::Meta => (b"mg ", b" T0\r\n"),
            Dialect::Binary => {
                frame(OPCODE_TOUCH, 4, 4 + key.len(), out);
                (&[0; 4], b"")
            }
        };
        for piece in [before, &key, after] {
            out.extend_from_slice(piece);
        }
        expected.push_back(Expect::Touched);
    }

    /// Reads one reply from `input` and takes what it answers off `expected`. Returns its length; `None` when it is not there whole.
    ///
    /// # Errors
    /// When it is no answer to what was asked, or holds another value than was stored.
    pub fn reply(
        self,
        input: &[u8],
        items: &Items,
        expected: &mut VecDeque<Expect>,
        tally: &mut Tally,
    ) -> Result<Option<usize>, Wrong> {
        match self {
            Dialect::Binary => binary_reply(input, items, expected, tally),
            _ => line_reply(input, items, expected, tally),
        }
    }
}

/// A reply of the text or meta protocol.
fn line_reply(
    input: &[u8],
    items: &Items,
    expected: &mut VecDeque<Expect>,
    tally: &mut Tally,
) -> Result<Option<usize>, Wrong> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let line = input[..end].strip_suffix(b"\r").ok_or_else(|| wrong(input))?;
    let after = end + 1;
    let mut words = line.split(|byte| *byte == b' ');
    match words.next().unwrap_or_default() {
        b"VALUE" => {
            let key = words.next();
            let length = number(words.nth(1)).ok_or_else(|| wrong(input))?;
            let Some(value) = data(input, after, length) else { return Ok(None) };
            // Keys that are skipped were not found.
            while let Some(Expect::Value(number, false)) = expected.pop_front() {
                if key == Some(&Items::key(number)[..]) {
                    found(number, value, items, tally)?;
                    return Ok(Some(after + length + 2));
                }
                tally.misses += 1;
            }
            Err(wrong(input))
        }
        b"END" => {
            while let Some(Expect::Value(..)) = expected.front() {
                expected.pop_front();
                tally.misses += 1;
            }
            if expected.pop_front() != Some(Expect::End) {
                return Err(wrong(input));
            }
            tally.gets += 1;
            Ok(Some(after))
        }
        b"VA" => {
            let length = number(words.next()).ok_or_else(|| wrong(input))?;
            let Some(value) = data(input, after, length) else { return Ok(None) };
            let Some(Expect::Value(number, last)) = expected.pop_front() else { return Err(wrong(input)) };
            found(number, value, items, tally)?;
            tally.gets += u64::from(last);
            Ok(Some(after + length + 2))
        }
        b"TOUCHED" | b"NOT_FOUND" | b"HD" | b"EN" if expected.front() == Some(&Expect::Touched) => {
            expected.pop_front();
            tally.touches += 1;
            Ok(Some(after))
        }
        b"EN" => {
            let Some(Expect::Value(_, last)) = expected.pop_front() else { return Err(wrong(input)) };
            tally.misses += 1;
            tally.gets += u64::from(last);
            Ok(Some(after))
        }
        word @ (b"STORED" | b"HD" | b"SERVER_ERROR") => {
            if expected.pop_front() != Some(Expect::Stored) {
                return Err(wrong(input));
            }
            tally.sets += 1;
            tally.refused += u64::from(word == b"SERVER_ERROR");
            Ok(Some(after))
        }
        _ => Err(wrong(input)),
    }
}

fn binary_reply(
    input: &[u8],
    items: &Items,
    expected: &mut VecDeque<Expect>,
    tally: &mut Tally,
) -> Result<Option<usize>, Wrong> {
    let Some((header, rest)) = input.split_at_checked(HEADER_LEN) else { return Ok(None) };
    let body_len = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if header[0] != 0x81 {
        return Err(wrong(input));
    }
    let Some(body) = rest.get(..body_len) else { return Ok(None) };
    match (expected.pop_front(), header[6..8] == [0, 0], header[1]) {
        (Some(Expect::Value(number, last)), hit, 0) => {
            if hit {
                found(number, body.get(usize::from(header[4])..).unwrap_or_default(), items, tally)?;
            } else if header[6..8] == [0, 1] {
                tally.misses += 1;
            } else {
                return Err(wrong(body));
            }
            tally.gets += u64::from(last);
        }
        (Some(Expect::Stored), stored, 1) => {
            tally.sets += 1;
            tally.refused += u64::from(!stored);
        }
        (Some(Expect::Touched), hit, OPCODE_TOUCH) if hit || header[6..8] == [0, 1] => tally.touches += 1,
        _ => return Err(wrong(body)),
    }
    Ok(Some(HEADER_LEN + body_len))
}

/// Counts a value that came, if it is the right one.
fn found(number: u64, value: &[u8], items: &Items, tally: &mut Tally) -> Result<(), Wrong> {
    if !items.is_value(number, value) {
        let key = String::from_utf8_lossy(&Items::key(number)).into_owned();
        let Wrong(value) = wrong(value);
        return Err(Wrong(format!("for {key} another value than was stored: {value}")));
    }
    tally.hits += 1;
    Ok(())
}

/// The data block of `length` bytes that begins at `at`, when it is there with its CR LF.
fn data(input: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    input.get(at..at.checked_add(length)?.checked_add(2)?).map(|data| &data[..length])
}

fn number(word: Option<&[u8]>) -> Option<usize> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

/// A request's header with a key of the usual length.
fn frame(opcode: u8, extras_len: u8, body_len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, opcode, 0, super::items::KEY_LEN as u8, extras_len, 0, 0, 0]);
    out.extend_from_slice(&(body_len as u32).to_be_bytes());
    out.extend_from_slice(&[0; 12]);
}

fn wrong(input: &[u8]) -> Wrong {
    let shown = String::from_utf8_lossy(&input[..input.len().min(100)]);
    Wrong(shown.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(items: &Items, number: u64) -> Vec<u8> {
        let mut value = Vec::new();
        items.push_value(number, &mut value);
        value
    }

    /// What a server says to `get` of items 1 to 3 when it has not the second, and to `set` and `touch` of one.
    fn answer(dialect: Dialect, items: &Items) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [1, 3] {
            let (key, value) = (Items::key(number), value(items, number));
            match dialect {
                Dialect::Text => {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    out.extend_from_slice(format!("VALUE {key} 0 {}\r\n", value.len()).as_bytes());
                }
                Dialect::Meta => out.extend_from_slice(format!("VA {}\r\n", value.len()).as_bytes()),
                Dialect::Binary => {
                    out.extend_from_slice(&[0x81, 0, 0, 0, 4, 0, 0, 0]);
                    out.extend_from_slice(&(value.len() as u32 + 4).to_be_bytes());
                    out.extend_from_slice(&[0; 12 + 4]);
                }
            }
            out.extend_from_slice(&value);
            if dialect != Dialect::Binary {
                out.extend_from_slice(b"\r\n");
            }
            match (dialect, number) {
                (Dialect::Meta, 1) => out.extend_from_slice(b"EN\r\n"),
                (Dialect::Binary, 1) => {
                    out.extend_from_slice(&[0x81, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9]);
                    out.extend_from_slice(&[0; 12]);
                    out.extend_from_slice(b"Not found");
                }
                _ => {}
            }
        }
        out.extend_from_slice(match dialect {
            Dialect::Text => b"END\r\nSTORED\r\n",
            Dialect::Meta => b"HD\r\n",
            Dialect::Binary => &[0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        });
        out.extend_from_slice(match dialect {
            Dialect::Text => b"TOUCHED\r\n",
            Dialect::Meta => b"HD\r\n",
            Dialect::Binary => &[0x81, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        });
        out
    }

    /// Reads all of `input`, which comes in two pieces.
    fn read(dialect: Dialect, input: &[u8], cut: usize, items: &Items) -> Result<(Tally, usize), Wrong> {
        let (mut requests, mut expected, mut tally) = (Vec::new(), VecDeque::new(), Tally::default());
        dialect.get(&[1, 2, 3], &mut requests, &mut expected);
        dialect.set(4, items, &mut requests, &mut expected);
        dialect.touch(4, &mut requests, &mut expected);
        let mut at = 0;
        for end in [cut, input.len()] {
            while let Some(length) = dialect.reply(&input[at..end], items, &mut expected, &mut tally)? {
                at += length;
            }
        }
        Ok((tally, expected.len()))
    }

    #[test]
    fn replies_are_counted_wherever_they_are_cut() {
        let items = Items::new(10, 10, 60, 0.0);
        for dialect in [Dialect::Text, Dialect::Meta, Dialect::Binary] {
            let input = answer(dialect, &items);
            for cut in 0..input.len() {
                let counted = read(dialect, &input, cut, &items);
                let expected = Tally { gets: 1, hits: 2, misses: 1, sets: 1, refused: 0, touches: 1 };
                assert_eq!(counted, Ok((expected, 0)), "{dialect:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_value_that_is_another_is_noticed() {
        let items = Items::new(10, 10, 60, 0.0);
        for dialect in [Dialect::Text, Dialect::Meta, Dialect::Binary] {
            let input = answer(dialect, &items);
            let stored = value(&items, 3);
            let at = input.windows(stored.len()).position(|window| window == stored).unwrap();
            for place in at..at + stored.len() {
                let mut changed = input.clone();
                changed[place] ^= 4;
                assert!(read(dialect, &changed, 0, &items).is_err(), "{dialect:?}");
            }
        }
    }

    #[test]
    fn what_was_not_asked_for_is_noticed() {
        let items = Items::new(10, 10, 60, 0.0);
        for input in [&b"ERROR\r\n"[..], b"STORED\r\n", b"VALUE other 0 1\r\nx\r\n", b"VA x\r\n", b"\n"] {
            assert!(read(Dialect::Text, input, 0, &items).is_err());
        }
        assert!(read(Dialect::Binary, &[0x80; 24], 0, &items).is_err());
    }
}
