//! The lines that nearly all lines are, told in a few instructions each: `get` with one key, `set` with four short words, `incr` and
//! `decr` by a short number. What they say is what the table's parsers say ([`super::parse`]); they only say it sooner, and say nothing
//! about any other line.

use super::parse::stores;
use crate::protocol::command::Command;
use crate::protocol::limits::KEY_MAX;
use crate::protocol::request::{Arith, Key, StoreMode};
use crate::protocol::token::printable_len;

/// The key of a line that is `get`, one key and CR LF, and the length of the line.
#[inline]
#[must_use]
pub fn lone_key(input: &[u8]) -> Option<(&[u8], usize)> {
    let rest = input.strip_prefix(b"get ")?;
    let len = printable_len(rest);
    let (key, behind) = rest.split_at(len);
    ((1..=KEY_MAX).contains(&len) && behind.starts_with(b"\r\n")).then_some((key, b"get \r\n".len() + len))
}

/// A line that is `set`, a key, three plain numbers and CR LF; the length of the value, and that of the line.
#[inline]
#[must_use]
pub fn plain_set(input: &[u8]) -> Option<(Command<'_>, usize, usize)> {
    let rest = input.strip_prefix(b"set ")?;
    let key_len = printable_len(rest);
    if key_len == 0 || key_len > KEY_MAX {
        return None;
    }
    let (key, rest) = rest.split_at(key_len);
    let (flags, rest) = number(rest)?;
    let (exptime, rest) = number(rest)?;
    let (value_len, rest) = number(rest)?;
    if !rest.starts_with(b"\r\n") {
        return None;
    }
    let line_len = input.len() - rest.len() + 2;
    let value_len = value_len as usize;
    Some((stores(key, StoreMode::Set, flags, exptime.into(), value_len, None, false), value_len, line_len))
}

/// `incr` or `decr` of a key by a plain number, to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The key.
    pub key: &'a [u8],
    /// `decr`.
    pub decrement: bool,
    /// By how much.
    pub delta: u32,
}

impl<'a> Step<'a> {
    /// What it asks.
    #[must_use]
    pub fn request(&self) -> Arith<'a> {
        Arith::of(Key::plain(self.key), self.decrement, self.delta.into())
    }
}

/// A line that is `incr` or `decr`, a key, a plain number and CR LF; and its length.
#[inline]
#[must_use]
pub fn plain_step(input: &[u8]) -> Option<(Step<'_>, usize)> {
    let (verb, rest) = input.split_first_chunk()?;
    let decrement = match verb {
        b"incr " => false,
        b"decr " => true,
        _ => return None,
    };
    let key_len = printable_len(rest);
    if key_len == 0 || key_len > KEY_MAX {
        return None;
    }
    let (key, rest) = rest.split_at(key_len);
    let (delta, rest) = number(rest)?;
    rest.starts_with(b"\r\n").then(|| (Step { key, decrement, delta }, input.len() - rest.len() + 2))
}

/// A space and a number of at most nine digits, which fits whatever it stands for; and what follows.
#[inline]
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.strip_prefix(b" ")?;
    let mut value = 0;
    for (at, byte) in digits.iter().enumerate().take(DIGITS_MAX + 1) {
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 if at < DIGITS_MAX => value = value * 10 + u32::from(digit),
            _ if at > 0 => return Some((value, &digits[at..])),
            _ => return None,
        }
    }
    None
}

const DIGITS_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ParseOptions, Parsed, Request, Scratch, Spelling, parse};

    #[test]
    fn a_lone_key_is_told_from_everything_else() {
        assert_eq!(lone_key(b"get key\r\nget"), Some((&b"key"[..], 9)));
        let longest = [b"get ", &[b'k'; 250][..], b"\r\n"].concat();
        assert_eq!(lone_key(&longest), Some((&longest[4..254], 256)));
        let too_long = [b"get ", &[b'k'; 251][..], b"\r\n"].concat();
        let others: [&[u8]; 9] = [
            &too_long,
            b"get key\n",
            b"get key",
            b"get key\r",
            b"get a b\r\n",
            b"get \r\n",
            b"get  a\r\n",
            b"gets a\r\n",
            b"get a\t\r\n",
        ];
        for line in others {
            assert_eq!(lone_key(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_plain_step_is_what_the_general_parser_says() {
        let mut taken = 0;
        for verb in [&b"incr"[..], b"decr", b"INCR", b"incx", b"incr "] {
            for delta in
                [&b"0"[..], b"1", b"007", b"999999999", b"1000000000", b"18446744073709551615", b"-1", b"+1", b"", b"x"]
            {
                for end in [&b"\r\n"[..], b"\n", b" \r\n", b" noreply\r\n", b"\r", b""] {
                    let input = [verb, b" key ", delta, end].concat();
                    let Some((step, line_len)) = plain_step(&input) else { continue };
                    taken += 1;
                    assert_eq!(line_len, input.len());
                    let general =
                        match parse(&input[..line_len - 1], &mut Scratch::new(&mut []), ParseOptions::default()) {
                            Parsed::Command(general) => general,
                            other => panic!("{other:?} for {}", input.escape_ascii()),
                        };
                    let ours = Command { request: Request::Arith(step.request()), spelling: Spelling::TEXT };
                    assert_eq!(ours, general, "{}", input.escape_ascii());
                }
            }
        }
        assert_eq!(taken, 2 * 4, "two verbs, four plain numbers");
        let longest = [b"incr ", &[b'k'; 250][..], b" 1\r\n"].concat();
        assert!(plain_step(&longest).is_some());
        let too_long = [b"incr ", &[b'k'; 251][..], b" 1\r\n"].concat();
        for line in [&too_long[..], b"incr", b"incr k", b"incr  1\r\n", b"incr k 1 2\r\n", b"incr k\t 1\r\n"] {
            assert!(plain_step(line).is_none(), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_plain_set_is_what_the_general_parser_says() {
        let numbers =
            [&b"0"[..], b"7", b"007", b"2592001", b"999999999", b"1000000000", b"-1", b"", b"x", b"1x", b" 1"];
        let mut taken = 0;
        for flags in numbers {
            for exptime in numbers {
                for len in numbers {
                    for end in [&b"\r\n"[..], b"\n", b" \r\n", b" noreply\r\n", b"\r"] {
                        let input = [b"set key ", flags, b" ", exptime, b" ", len, end].concat();
                        let Some((command, value_len, line_len)) = plain_set(&input) else { continue };
                        taken += 1;
                        assert_eq!(line_len, input.len());
                        let line = &input[..line_len - 1];
                        let options = ParseOptions::default();
                        let general = match parse(line, &mut Scratch::new(&mut []), options) {
                            Parsed::Command(general) => general,
                            other => panic!("{other:?} for {}", input.escape_ascii()),
                        };
                        assert_eq!(command, general, "{}", input.escape_ascii());
                        assert!(matches!(general.request, Request::Store(store) if store.value_len == value_len));
                    }
                }
            }
        }
        assert_eq!(taken, 5 * 5 * 5, "three numbers, five of them plain");
        for line in
            [&b"set  k 0 0 1\r\n"[..], b"set k 0 0\r\n", b"set k\t 0 0 1\r\n", b"set k 0 0 1", b"sets k 0 0 1\r\n"]
        {
            assert!(plain_set(line).is_none(), "{}", line.escape_ascii());
        }
    }
}
