//! Words of a line and the strict numbers in them (sections 2.1 and 2.3).
//!
//! Only the space separates words, several count as one, and no more than [`WORDS_MAX`] are looked at. Nothing is
//! copied. The lenient numbers of the classic storage lines are in [`super::number`].

use super::limits::WORDS_MAX;

/// The words of a line that are still to be looked at.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a [u8],
    /// How many more words count.
    left: usize,
}

impl<'a> Words<'a> {
    /// All words of `line`.
    #[must_use]
    pub const fn of(line: &'a [u8]) -> Words<'a> {
        Words { rest: line, left: WORDS_MAX }
    }

    /// The words behind the command word, which is one of those that count.
    #[must_use]
    pub const fn behind_command(rest: &'a [u8]) -> Words<'a> {
        Words { rest, left: WORDS_MAX - 1 }
    }

    /// The bytes that have not been looked at.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The words that are left, as they stand in the line, from the first byte of the first to the last byte of the
    /// last.
    #[must_use]
    pub fn span(mut self) -> &'a [u8] {
        let rest = skip_spaces(self.rest);
        self.rest = rest;
        let mut end = 0;
        while self.next().is_some() {
            end = rest.len() - self.rest.len();
        }
        rest.get(..end).unwrap_or_default()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let rest = skip_spaces(self.rest);
        if rest.is_empty() {
            self.rest = rest;
            return None;
        }
        let (word, rest) = split_word(rest);
        self.rest = rest;
        self.left -= 1;
        Some(word)
    }
}

/// `bytes` without the spaces in front.
#[inline]
#[must_use]
pub fn skip_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Cuts in front of the first space: the word, and what follows it.
#[inline]
#[must_use]
pub fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(word_len(bytes))
}

/// Length of the word that `bytes` begins with.
#[inline]
fn word_len(bytes: &[u8]) -> usize {
    position(
        bytes,
        |byte| byte == b' ',
        |eight| {
            // Spaces become zero bytes.
            let bytes = eight ^ (ONES * 0x20);
            bytes.wrapping_sub(ONES) & !bytes & HIGH_BITS
        },
    )
}

/// Bytes before the first that is a space or a control character.
#[inline]
pub(super) fn printable_len(bytes: &[u8]) -> usize {
    position(bytes, |byte| byte <= b' ', |eight| eight.wrapping_sub(ONES * 0x21) & !eight & HIGH_BITS)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = ONES * 0x80;

/// Where the first byte is that `is_it` accepts, or the length. `marks` does the same for eight bytes as one number: the lowest high bit
/// it leaves is that of the first such byte. Words are short, and memchr's way into its vector code alone costs as much as looking
/// at 32 bytes this way: sixteen at once, which the compiler makes one comparison of, and the last ones by eight.
#[inline(always)]
fn position(bytes: &[u8], is_it: impl Fn(u8) -> bool, marks: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    while let Some(sixteen) = bytes[at..].first_chunk::<16>() {
        if sixteen.iter().fold(false, |any, &byte| any | is_it(byte)) {
            break;
        }
        at += 16;
    }
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let marks = marks(u64::from_le_bytes(*eight));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|&byte| is_it(byte)).unwrap_or(bytes.len() - at)
}

/// Longest word of a 32-bit number, its sign included.
const DIGITS_32_MAX: usize = 11;
/// Longest word of a 64-bit number.
const DIGITS_64_MAX: usize = 22;

/// A u32: digits only, at most 11 characters.
#[must_use]
pub fn parse_u32(word: &[u8]) -> Option<u32> {
    u32::try_from(short_digits(word)?).ok()
}

/// An s32: digits, with a `-` in front if negative, at most 11 characters together. A lone `-` is 0, as in memcached.
#[must_use]
pub fn parse_s32(word: &[u8]) -> Option<i32> {
    let value = match word {
        [b'-'] => 0,
        [b'-', digits @ ..] if digits.len() < DIGITS_32_MAX => -short_digits(digits)?,
        digits => short_digits(digits)?,
    };
    i32::try_from(value).ok()
}

/// A u64: digits only, at most 22 characters.
#[must_use]
pub fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > DIGITS_64_MAX {
        return None;
    }
    word.iter().try_fold(0_u64, |value, &byte| value.checked_mul(10)?.checked_add(u64::from(digit(byte)?)))
}

/// At most eleven digits, which cannot overflow 64 bits.
fn short_digits(word: &[u8]) -> Option<i64> {
    if word.is_empty() || word.len() > DIGITS_32_MAX {
        return None;
    }
    word.iter().try_fold(0, |value, &byte| Some(value * 10 + i64::from(digit(byte)?)))
}

/// The value of a decimal digit.
pub(super) const fn digit(byte: u8) -> Option<u8> {
    match byte.wrapping_sub(b'0') {
        value @ 0..=9 => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Vec<&[u8]> {
        Words::of(line).collect()
    }

    #[test]
    fn only_spaces_separate_words_and_several_count_as_one() {
        assert_eq!(words(b"get  a   b "), [&b"get"[..], b"a", b"b"]);
        assert_eq!(words(b"get\ta\0b"), [&b"get\ta\0b"[..]]);
        assert_eq!(words(b"   "), [b""; 0]);
        assert_eq!(words(b""), [b""; 0]);
    }

    #[test]
    fn long_words_end_where_they_end() {
        // Bytes next to the space in value, and with its high bit, must not be taken for it.
        for byte in [b'k', 0x1f, 0x21, 0xa0, 0, 0xff] {
            for len in 1..40 {
                let word = vec![byte; len];
                assert_eq!(words(&word), [&word[..]]);
                let line = [&word[..], b" x  ", &word].concat();
                assert_eq!(words(&line), [&word[..], b"x", &word]);
            }
        }
    }

    #[test]
    fn no_more_than_23_words_are_looked_at() {
        let line = b"w ".repeat(30);
        assert_eq!(words(&line).len(), 23);
        assert_eq!(Words::behind_command(&line).count(), 22);
        assert_eq!(Words::behind_command(&line).span().len(), 43);
    }

    #[test]
    fn a_span_has_no_spaces_around_it() {
        let mut some = Words::of(b"lru  tune 1  2 ");
        assert_eq!(some.next(), Some(&b"lru"[..]));
        assert_eq!(some.clone().span(), b"tune 1  2");
        assert_eq!(Words::of(b"   ").span(), b"");
        assert_eq!(some.rest(), b"  tune 1  2 ");
    }

    #[test]
    fn strict_numbers_of_32_bits() {
        for (word, unsigned, signed) in [
            (&b"0"[..], Some(0), Some(0)),
            (b"00000000042", Some(42), Some(42)),
            (b"000000000042", None, None),
            (b"2147483647", Some(2_147_483_647), Some(2_147_483_647)),
            (b"2147483648", Some(2_147_483_648), None),
            (b"4294967295", Some(4_294_967_295), None),
            (b"4294967296", None, None),
            (b"99999999999", None, None),
            (b"-2147483648", None, Some(-2_147_483_648)),
            (b"-2147483649", None, None),
            (b"-0", None, Some(0)),
            (b"-", None, Some(0)),
            (b"-00000000001", None, None),
            (b"--1", None, None),
            (b"+1", None, None),
            (b"", None, None),
            (b"0x10", None, None),
            (b"1a", None, None),
            (b"1\t", None, None),
        ] {
            assert_eq!(parse_u32(word), unsigned, "{}", word.escape_ascii());
            assert_eq!(parse_s32(word), signed, "{}", word.escape_ascii());
        }
    }

    #[test]
    fn strict_numbers_of_64_bits() {
        for (word, expected) in [
            (&b"0"[..], Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"0018446744073709551615", Some(u64::MAX)),
            (b"00018446744073709551615", None),
            (b"99999999999999999999", None),
            (b"-1", None),
            (b"-", None),
            (b"+1", None),
            (b"", None),
            (b"12 ", None),
        ] {
            assert_eq!(parse_u64(word), expected, "{}", word.escape_ascii());
        }
    }
}
