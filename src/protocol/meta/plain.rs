//! `mg` with a key and nothing but questions: what nearly every `mg` is, told in a few instructions and without looking twice at a byte.

use crate::protocol::command::{MetaVerb, Spelling};
use crate::protocol::limits::KEY_MAX;
use crate::protocol::request::{Get, Key};
use crate::protocol::token::printable_len;

/// An `mg` that changes nothing: its flags are single letters that ask, or `q`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaGet<'a> {
    /// The key.
    pub key: &'a [u8],
    flags: &'a [u8],
    seen: u32,
}

/// The letters that only ask: the value, flags, CAS, size, time left, key, whether it was fetched, idle time; and `q`.
const QUESTIONS: u32 =
    bit(b'v') | bit(b'f') | bit(b'c') | bit(b's') | bit(b't') | bit(b'k') | bit(b'h') | bit(b'l') | bit(b'q');

const fn bit(letter: u8) -> u32 {
    1 << (letter & 0x1f)
}

/// Reads the line that `input` begins with, and tells its length. `None` says nothing about it: the general parser may still take it.
#[inline]
#[must_use]
pub fn plain_get(input: &[u8]) -> Option<(MetaGet<'_>, usize)> {
    let rest = input.strip_prefix(b"mg ")?;
    let key_len = printable_len(rest);
    if key_len == 0 || key_len > KEY_MAX {
        return None;
    }
    let (key, mut at) = (&rest[..key_len], key_len);
    let mut seen = 0;
    while let Some(&[b' ', letter]) = rest.get(at..at + 2) {
        let flag = if letter.is_ascii_lowercase() { bit(letter) } else { 0 };
        if flag & QUESTIONS & !seen == 0 {
            return None;
        }
        seen |= flag;
        at += 2;
    }
    if rest.get(at..at + 2) != Some(b"\r\n") {
        return None;
    }
    let flags = rest.get(key_len + 1..at).unwrap_or_default();
    Some((MetaGet { key, flags, seen }, b"mg ".len() + at + 2))
}

impl<'a> MetaGet<'a> {
    /// What it asks.
    #[inline]
    #[must_use]
    pub const fn request(&self) -> Get<'a> {
        Get { may_win: true, value: self.has(b'v'), ..Get::of(Key::plain(self.key)) }
    }

    /// How it is answered.
    #[inline]
    #[must_use]
    pub const fn spelling(&self) -> Spelling<'a> {
        Spelling::Meta { verb: MetaVerb::Get, flags: self.flags, quiet: self.has(b'q'), value: self.has(b'v') }
    }

    const fn has(&self, letter: u8) -> bool {
        self.seen & bit(letter) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Command, ParseOptions, Parsed, Request, Scratch, parse};

    /// What the general parser makes of the first line.
    fn general(input: &[u8]) -> Option<Command<'_>> {
        let line = input.split(|&byte| byte == b'\n').next()?;
        match parse(line, &mut Scratch::new(&mut []), ParseOptions::default()) {
            Parsed::Command(command) => Some(command),
            _ => None,
        }
    }

    #[test]
    fn a_plain_get_is_what_the_general_parser_says() {
        let letters =
            [&b" v"[..], b" f", b" c", b" s", b" t", b" k", b" h", b" l", b" q", b" x", b" u", b" O1", b"  v", b" "];
        let mut taken = 0;
        for one in letters {
            for two in letters {
                for end in [&b"\r\n"[..], b"\n", b" \r\n", b"\r"] {
                    for key in [&b"key"[..], b"k", b""] {
                        let input = [b"mg ", key, one, two, end].concat();
                        let Some((get, len)) = plain_get(&input) else { continue };
                        taken += 1;
                        assert_eq!(len, input.len());
                        let command = general(&input).expect("a command");
                        assert_eq!(command.request, Request::Get(get.request()), "{}", input.escape_ascii());
                        assert_eq!(command.spelling, get.spelling(), "{}", input.escape_ascii());
                    }
                }
            }
        }
        assert_eq!(taken, 2 * 9 * 8, "two different questions about two keys");
    }

    #[test]
    fn a_key_may_have_250_bytes_and_no_control_characters() {
        let key = [b'k'; 251];
        assert!(plain_get(&[b"mg ", &key[..250], b" v\r\n"].concat()).is_some());
        assert!(plain_get(b"mg k\r\n").is_some());
        for line in
            [&[b"mg ", &key[..], b" v\r\n"].concat()[..], b"mg a\tb v\r\n", b"mg k", b"mg k v", b"mg", b"mg k v\r"]
        {
            assert_eq!(plain_get(line), None, "{}", line.escape_ascii());
        }
    }
}
