//! The key lists of `get`, `gets`, `gat` and `gats`. A `get` line has no greatest length (section 2.1), so its keys can
//! be taken from the piece of it that is there.

use crate::protocol::command::{KeyList, Reading};
use crate::protocol::limits::{KEY_MAX, LEADING_SPACES_MAX};
use crate::protocol::token::{skip_spaces, split_word};

/// The next key of a key list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextKey<'a> {
    /// A key, and how many bytes of the list are done with.
    Key(&'a [u8], usize),
    /// The piece ends before the key does (or in spaces): drop `consumed` bytes, keep the rest, come back with more.
    NeedMore {
        /// Spaces that need not be kept.
        consumed: usize,
    },
    /// A key is longer than 250 bytes.
    TooLong,
    /// No further key.
    End,
}

/// Takes the next key of `rest`. `complete` says that `rest` goes up to the end of the line, its CR already dropped.
///
/// What [`NextKey::NeedMore`] leaves to keep is at most 251 bytes: a whole key and a CR.
#[must_use]
pub fn next_key(rest: &[u8], complete: bool) -> NextKey<'_> {
    let keys = skip_spaces(rest);
    let spaces = rest.len() - keys.len();
    let (key, behind) = split_word(keys);
    let ended = complete || !behind.is_empty();
    // A CR that is the last byte so far may belong to the end of the line.
    let certain = if ended { key } else { key.strip_suffix(b"\r").unwrap_or(key) };
    if certain.len() > KEY_MAX {
        NextKey::TooLong
    } else if !ended {
        NextKey::NeedMore { consumed: spaces }
    } else if key.is_empty() {
        NextKey::End
    } else {
        NextKey::Key(key, spaces + key.len())
    }
}

/// Whether a key of a whole list is longer than 250 bytes. Looks at as few bytes as that takes: from the place where a key would be
/// too long back to the nearest space.
#[must_use]
pub fn any_key_too_long(mut rest: &[u8]) -> bool {
    while let Some((reach, _)) = rest.split_at_checked(KEY_MAX + 1) {
        match memchr::memrchr(b' ', reach) {
            Some(space) => rest = &rest[space + 1..],
            None => return true,
        }
    }
    false
}

/// Whether a line that has not ended may grow beyond [`LINE_MAX`](crate::protocol::limits::LINE_MAX): it starts, after
/// at most 100 spaces, with `get ` or `gets ` (section 2.1).
#[must_use]
pub fn may_be_long(prefix: &[u8]) -> bool {
    let line = skip_spaces(prefix);
    prefix.len() - line.len() <= LEADING_SPACES_MAX && (line.starts_with(b"get ") || line.starts_with(b"gets "))
}

/// How to go on with an unfinished line that [`may_be_long`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLine<'a> {
    /// A key list; its `rest` is the piece that is there. Go on with [`next_key`], not complete. A list that ends
    /// without any key is `CLIENT_ERROR bad command line format`.
    Keys(KeyList<'a>),
    /// Leading spaces make it an unknown command: skip to its LF, then answer `ERROR`.
    Unknown,
}

/// Begins a line of which only the start is there; `None` when it must not be that long: close.
#[must_use]
pub fn begin_long(prefix: &[u8]) -> Option<LongLine<'_>> {
    if !may_be_long(prefix) {
        return None;
    }
    let (command, rest) = split_word(prefix);
    match command {
        b"get" => Some(LongLine::Keys(KeyList { reading: Reading::GET, rest })),
        b"gets" => Some(LongLine::Keys(KeyList { reading: Reading::GETS, rest })),
        _ => Some(LongLine::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_whole_line_come_one_by_one() {
        let line = b"  a  bc d ";
        let (mut at, mut keys) = (0, Vec::new());
        while let NextKey::Key(key, consumed) = next_key(&line[at..], true) {
            keys.push(key);
            at += consumed;
        }
        assert_eq!(keys, [&b"a"[..], b"bc", b"d"]);
        assert_eq!(next_key(&line[at..], true), NextKey::End);
        assert_eq!(next_key(b"", true), NextKey::End);
    }

    #[test]
    fn a_piece_gives_only_keys_that_have_ended() {
        assert_eq!(next_key(b" ab cd", false), NextKey::Key(b"ab", 3));
        assert_eq!(next_key(b" cd", false), NextKey::NeedMore { consumed: 1 });
        assert_eq!(next_key(b"    ", false), NextKey::NeedMore { consumed: 4 });
        assert_eq!(next_key(b"", false), NextKey::NeedMore { consumed: 0 });
        assert_eq!(next_key(b"cd\r", false), NextKey::NeedMore { consumed: 0 });
    }

    #[test]
    fn a_key_of_251_bytes_is_too_long() {
        let key = [b'k'; 251];
        assert_eq!(next_key(&key[..250], true), NextKey::Key(&key[..250], 250));
        assert_eq!(next_key(&key, true), NextKey::TooLong);
        assert_eq!(next_key(&key[..250], false), NextKey::NeedMore { consumed: 0 });
        assert_eq!(next_key(&key, false), NextKey::TooLong);
        let with_return = [&key[..250], b"\r"].concat();
        assert_eq!(next_key(&with_return, false), NextKey::NeedMore { consumed: 0 });
        assert_eq!(next_key(&with_return, true), NextKey::TooLong);
        assert_eq!(next_key(&[&key[..], b" "].concat(), false), NextKey::TooLong);
    }

    #[test]
    fn one_long_key_anywhere_is_found() {
        let (long, good) = ([b'k'; 251], [b'k'; 250]);
        for (list, expected) in [
            (vec![&good[..]], false),
            (vec![&long[..]], true),
            (vec![&good[..], &good[..], b"", b""], false),
            (vec![b"", b"a", &long[..]], true),
            (vec![&long[..], b"b"], true),
            (vec![&good[..], &long[..], &good[..]], true),
        ] {
            assert_eq!(any_key_too_long(&list.join(&b' ')), expected);
        }
    }

    #[test]
    fn only_get_and_gets_may_be_long() {
        for (prefix, expected) in [
            (b"get k".to_vec(), true),
            (b"gets k".to_vec(), true),
            (b"get".to_vec(), false),
            (b"gat 0 k".to_vec(), false),
            (b"set k".to_vec(), false),
            (b"getx k".to_vec(), false),
            ([&b" ".repeat(100)[..], b"get k"].concat(), true),
            ([&b" ".repeat(101)[..], b"get k"].concat(), false),
        ] {
            assert_eq!(may_be_long(&prefix), expected, "{}", prefix.escape_ascii());
            assert_eq!(begin_long(&prefix).is_some(), expected);
        }
    }

    #[test]
    fn a_long_line_begins_with_its_key_list() {
        let list = |reading, rest| Some(LongLine::Keys(KeyList { reading, rest }));
        assert_eq!(begin_long(b"get a b"), list(Reading::GET, b" a b"));
        assert_eq!(begin_long(b"gets a b"), list(Reading::GETS, b" a b"));
        assert_eq!(begin_long(b" get a b"), Some(LongLine::Unknown));
    }
}
