//! The flag words of a meta command, read in one pass and judged in memcached's order (section 5.1, checks 2 to 7 and
//! 9).

use crate::protocol::base64;
use crate::protocol::command::Scratch;
use crate::protocol::limits::{KEY_MAX, META_WORDS_MAX, OPAQUE_MAX};
use crate::protocol::reply::Error;
use crate::protocol::request::{Key, TypedExptime};
use crate::protocol::token::{Words, parse_s32, parse_u32, parse_u64};

/// What the flags said. Which of it means something is for the command to know.
#[derive(Clone, Debug)]
pub(super) struct Flags<'a> {
    /// One bit for each letter that occurred.
    seen: u64,
    /// The key, decoded if `b` says so.
    pub(super) key: Key<'a>,
    /// `T`
    pub(super) exptime: Option<TypedExptime>,
    /// `N`
    pub(super) vivify: Option<TypedExptime>,
    /// `T` stands behind `N`; flags act in order.
    pub(super) vivified_then_touched: bool,
    /// `R`
    pub(super) recache: Option<i32>,
    /// `R` stands behind `T`.
    pub(super) touched_then_recached: bool,
    /// `C`
    pub(super) compare: Option<u64>,
    /// `E`
    pub(super) new_cas: Option<u64>,
    /// `J`
    pub(super) initial: Option<u64>,
    /// `D`
    pub(super) delta: Option<u64>,
    /// `F`
    pub(super) client_flags: Option<u32>,
    /// First letter of `M`, 0 when nothing follows it.
    pub(super) mode: Option<u8>,
    /// The opaque is longer than a reply may carry back.
    pub(super) opaque_too_long: bool,
}

/// What is wrong with the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The line cannot be a meta command: checked before anything else, and `ms` swallows nothing.
    Line,
    /// A flag or the key: `ms` swallows its data.
    Flag(Error),
}

impl<'a> Flags<'a> {
    /// Reads the flags in `words`; `before` words of the line came before them.
    pub(super) fn read(
        key: &'a [u8],
        words: Words<'a>,
        before: usize,
        scratch: &mut Scratch<'a>,
    ) -> Result<Flags<'a>, Wrong> {
        let mut flags = Flags::none(key);
        let mut count = before;
        let mut bad = None;
        let mut stopped = false;
        for word in words {
            let letter = word.first().copied().unwrap_or_default();
            if !matches!(letter, 0x41..=0x7a | b'0'..=b'9') {
                return Err(Wrong::Line);
            }
            count += 1;
            // After a duplicate or unknown flag, or too many, the words are only looked at for the check above.
            if stopped || count > META_WORDS_MAX {
                continue;
            }
            match flags.take(letter, word.get(1..).unwrap_or_default(), scratch) {
                Ok(()) => {}
                Err(Bad::Argument(error)) => bad = Some(error),
                Err(Bad::Stop(error)) => (bad, stopped) = (Some(error), true),
            }
        }
        if key.len() > KEY_MAX {
            return Err(Wrong::Flag(Error::BAD_FORMAT));
        }
        if count > META_WORDS_MAX {
            return Err(Wrong::Flag(Error::Client("options flags are too long")));
        }
        match bad {
            Some(error) => Err(Wrong::Flag(error)),
            None => Ok(flags),
        }
    }

    /// Whether `letter` is among the flags.
    pub(super) const fn has(&self, letter: u8) -> bool {
        self.seen & bit(letter) != 0
    }

    const fn none(key: &'a [u8]) -> Flags<'a> {
        Flags {
            seen: 0,
            key: Key::plain(key),
            exptime: None,
            vivify: None,
            vivified_then_touched: false,
            recache: None,
            touched_then_recached: false,
            compare: None,
            new_cas: None,
            initial: None,
            delta: None,
            client_flags: None,
            mode: None,
            opaque_too_long: false,
        }
    }

    fn take(&mut self, letter: u8, argument: &[u8], scratch: &mut Scratch<'a>) -> Result<(), Bad> {
        if self.has(letter) {
            return Err(Bad::Stop(Error::Client("duplicate flag")));
        }
        self.seen |= bit(letter);
        match letter {
            b'T' => {
                self.vivified_then_touched = self.has(b'N');
                self.exptime = Some(token(parse_s32(argument))?.into());
            }
            b'N' => self.vivify = Some(token(parse_s32(argument))?.into()),
            b'R' => {
                self.touched_then_recached = self.has(b'T');
                self.recache = Some(token(parse_s32(argument))?);
            }
            b'C' => self.compare = Some(token(parse_u64(argument))?),
            b'E' => self.new_cas = Some(token(parse_u64(argument))?),
            b'J' => self.initial = Some(parse_u64(argument).ok_or(Bad::argument("invalid numeric initial value"))?),
            b'D' => self.delta = Some(parse_u64(argument).ok_or(Bad::argument("invalid numeric delta value"))?),
            b'F' => self.client_flags = Some(parse_u32(argument).ok_or(Bad::Argument(Error::BAD_FORMAT))?),
            b'M' => self.mode = Some(argument.first().copied().unwrap_or(0)),
            b'O' => self.opaque_too_long = argument.len() >= OPAQUE_MAX,
            b'b' => self.decode_key(scratch)?,
            b'I' | b'L' | b'P' | b'c' | b'f' | b'h' | b'k' | b'l' | b'q' | b's' | b't' | b'u' | b'v' | b'x' => {}
            _ => return Err(Bad::Stop(Error::Client("invalid flag"))),
        }
        Ok(())
    }

    fn decode_key(&mut self, scratch: &mut Scratch<'a>) -> Result<(), Bad> {
        let encoded = self.key.bytes();
        if encoded.len() > KEY_MAX {
            // Refused for its length when all flags have been seen.
            return Ok(());
        }
        if !scratch.has_room() {
            return Err(Bad::Argument(Error::Server("out of memory decoding key")));
        }
        let len = base64::decode(encoded, scratch.free()).ok_or(Bad::argument("error decoding key"))?;
        self.key = Key::decoded(scratch.take(len));
        Ok(())
    }
}

/// Why a flag was not taken.
enum Bad {
    /// Its argument: the other flags are still read, and the last complaint is the one that is sent.
    Argument(Error),
    /// The flag itself: nothing more is read.
    Stop(Error),
}

impl Bad {
    const fn argument(text: &'static str) -> Bad {
        Bad::Argument(Error::Client(text))
    }
}

/// The complaint about a bad number of `N`, `T`, `R`, `C` and `E`.
fn token<T>(number: Option<T>) -> Result<T, Bad> {
    number.ok_or(Bad::argument("bad token in command line format"))
}

/// A bit for each byte from `@` to DEL; digits, which are no flags, have none.
const fn bit(letter: u8) -> u64 {
    match letter {
        0x40..=0x7f => 1 << (letter - 0x40),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(key: &'a [u8], flags: &'a [u8], room: &'a mut [u8]) -> Result<Flags<'a>, Wrong> {
        Flags::read(key, Words::behind_command(flags), 2, &mut Scratch::new(room))
    }

    fn wrong(key: &[u8], flags: &[u8]) -> Option<Wrong> {
        read(key, flags, &mut [0; 250]).err()
    }

    fn client(text: &'static str) -> Option<Wrong> {
        Some(Wrong::Flag(Error::Client(text)))
    }

    #[test]
    fn every_flag_is_known_and_no_other_letter() {
        for letter in 0..=u8::MAX {
            let expected = match letter {
                b' ' => None,
                b'N' | b'T' | b'R' | b'C' | b'E' => client("bad token in command line format"),
                b'J' => client("invalid numeric initial value"),
                b'D' => client("invalid numeric delta value"),
                b'F' => client("bad command line format"),
                b'b' => client("error decoding key"),
                letter if b"OPLkstcfvhuqxMIl".contains(&letter) => None,
                b'0'..=b'9' | 0x41..=0x7a => client("invalid flag"),
                _ => Some(Wrong::Line),
            };
            assert_eq!(wrong(b"key", &[letter]), expected, "{}", letter.escape_ascii());
        }
    }

    #[test]
    fn arguments_are_read() {
        let mut room = [0; 250];
        let flags = read(b"Zm9v", b"b T-1 N30 R5 C1 E18446744073709551615 J2 D3 F4294967295 MAppend Oabc q", &mut room)
            .unwrap();
        assert_eq!(flags.key, Key::decoded(b"foo"));
        assert_eq!((flags.exptime, flags.vivify, flags.recache), (Some(-1), Some(30), Some(5)));
        assert_eq!((flags.compare, flags.new_cas), (Some(1), Some(u64::MAX)));
        assert_eq!((flags.initial, flags.delta), (Some(2), Some(3)));
        assert_eq!((flags.client_flags, flags.mode), (Some(u32::MAX), Some(b'A')));
        assert!(flags.has(b'q') && !flags.has(b'v') && !flags.opaque_too_long);
    }

    #[test]
    fn complaints_come_in_memcacheds_order() {
        let long_key = [b'k'; 251];
        let many = b"k ".repeat(19);
        for (key, flags, expected) in [
            // An impossible flag before everything else, wherever it stands.
            (&long_key[..], &b"k k !"[..], Some(Wrong::Line)),
            (b"key", b"Y \xff", Some(Wrong::Line)),
            // Then a long key, then too many words, then the flags.
            (&long_key, &many, client("bad command line format")),
            (&long_key, b"b", client("bad command line format")),
            (b"key", &many, client("options flags are too long")),
            (b"key", b"k k Y", client("duplicate flag")),
            (b"key", b"Y k k", client("invalid flag")),
            (b"key", b"k K", client("invalid flag")),
            // A bad argument does not stop the reading, and the last one is sent.
            (b"key", b"T Jx Dx", client("invalid numeric delta value")),
            (b"key", b"Dx J1 Tx", client("bad token in command line format")),
            (b"key", b"Tx b", client("error decoding key")),
            (b"key", b"b Tx", client("bad token in command line format")),
            (b"key", b"Tx k k", client("duplicate flag")),
            (b"key", b"k k Tx", client("duplicate flag")),
            (b"key", b"F4294967296", client("bad command line format")),
            (b"key", b"v1 kfoo P L9 q", None),
        ] {
            assert_eq!(wrong(key, flags), expected, "{}", flags.escape_ascii());
        }
    }

    #[test]
    fn eighteen_flags_behind_a_key_are_not_too_many() {
        assert_eq!(wrong(b"key", b"k s t c f v h u q x M I l P L O T1 N1"), None);
        assert_eq!(wrong(b"key", b"k s t c f v h u q x M I l P L O T1 N1 R1"), client("options flags are too long"));
    }

    #[test]
    fn an_opaque_may_have_31_bytes() {
        let opaque = [&b"O"[..], &[b'o'; 32]].concat();
        assert!(!read(b"key", &opaque[..32], &mut []).unwrap().opaque_too_long);
        assert!(read(b"key", &opaque, &mut []).unwrap().opaque_too_long);
    }

    #[test]
    fn the_order_of_t_n_and_r_is_remembered() {
        for (words, expected) in [
            (&b"N30"[..], (false, false)),
            (b"N30 T60 R5", (true, true)),
            (b"R5 T60 N30", (false, false)),
            (b"T60 v R5", (false, true)),
        ] {
            let flags = read(b"key", words, &mut []).unwrap();
            assert_eq!((flags.vivified_then_touched, flags.touched_then_recached), expected);
        }
    }

    #[test]
    fn a_key_without_room_to_decode_is_refused() {
        let error = Error::Server("out of memory decoding key");
        assert_eq!(read(b"Zm9v", b"b", &mut [0; 100]).err(), Some(Wrong::Flag(error)));
    }
}
