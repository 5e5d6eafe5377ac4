//! The lenient numbers, read as C's `strtoull` family does: inside values (section 3.6) and in the flags and exptime of
//! the classic storage lines (section 2.3). Everything else is strict and in [`super::token`].

use super::token::digit;

/// The number that a stored value begins with, if `incr` and `decr` may work on it: it ends at white space, at a NUL
/// (as the peer has it) or at the end of the value. A number below zero is refused, `-0` is 0.
#[must_use]
#[inline]
pub fn parse_stored(value: &[u8]) -> Option<u64> {
    plain_digits(value).or_else(|| parse_lenient(value))
}

fn parse_lenient(value: &[u8]) -> Option<u64> {
    let scanned = scan(value)?;
    matches!(scanned.end, None | Some(0)).then_some(())?;
    scanned.unsigned()
}

/// `<flags>` of a classic storage line, cut to 32 bits.
#[must_use]
pub fn parse_lenient_flags(word: &[u8]) -> Option<u32> {
    if let Some(value) = few_digits(word) {
        return Some(value);
    }
    let scanned = scan(word)?;
    scanned.end.is_none().then_some(())?;
    #[expect(clippy::cast_possible_truncation, reason = "section 2.3: 4294967301 is stored as 5")]
    scanned.unsigned().map(|value| value as u32)
}

/// `<exptime>` of a classic storage line, cut to 32 bits.
#[must_use]
pub fn parse_lenient_exptime(word: &[u8]) -> Option<i32> {
    if let Some(value) = few_digits(word) {
        return i32::try_from(value).ok();
    }
    let scanned = scan(word)?;
    scanned.end.is_none().then_some(())?;
    let magnitude = i128::from(scanned.magnitude);
    let value = i64::try_from(if scanned.negative { -magnitude } else { magnitude }).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "section 2.3: 4294967296 becomes 0, 2147483648 negative")]
    Some(value as i32)
}

/// What nearly everybody sends: one to nine digits and nothing else, which fit whatever they are.
#[inline]
fn few_digits(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 9 {
        return None;
    }
    word.iter().try_fold(0, |value, &byte| Some(value * 10 + u32::from(digit(byte)?)))
}

/// Up to nineteen digits and nothing else, which fit 64 bits whatever they are; eight at a time.
#[inline]
fn plain_digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    let (words, rest) = value.as_chunks();
    let number = words.iter().try_fold(0, |number, &word| Some(number * 100_000_000 + eight_digits(word)?))?;
    rest.iter().try_fold(number, |number, &byte| Some(number * 10 + u64::from(digit(byte)?)))
}

/// The number that eight digits are: digits are joined to pairs, those to fours, and these to eight.
#[inline]
fn eight_digits(digits: [u8; 8]) -> Option<u64> {
    const EVERY_OTHER: u64 = 0x00ff_00ff_00ff_00ff;
    const TWO_OF_FOUR: u64 = 0x0000_ffff_0000_ffff;
    let digits = u64::from_le_bytes(digits) ^ 0x3030_3030_3030_3030;
    // What is no digit has a bit in its upper half, or has one when six is added.
    if (digits | digits.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let pairs = (digits & EVERY_OTHER) * 10 + (digits >> 8 & EVERY_OTHER);
    let fours = (pairs & TWO_OF_FOUR) * 100 + (pairs >> 16 & TWO_OF_FOUR);
    Some((fours & 0xffff_ffff) * 10_000 + (fours >> 32))
}

/// A number with optional white space and sign in front.
struct Scanned {
    negative: bool,
    magnitude: u64,
    /// The byte that ended it; `None` for white space and the end of the bytes.
    end: Option<u8>,
}

impl Scanned {
    /// What `strtoull` makes of it: a minus negates modulo 2^64, and only a result that is then negative as a signed
    /// number is refused. So `-1` fails, `-0` is 0, and `-18446744073709551615` is 1.
    const fn unsigned(&self) -> Option<u64> {
        if !self.negative {
            return Some(self.magnitude);
        }
        let value = self.magnitude.wrapping_neg();
        if value.cast_signed() < 0 { None } else { Some(value) }
    }
}

/// Reads white space, a sign and at least one digit. `None` when there is no number or it does not fit 64 bits.
fn scan(bytes: &[u8]) -> Option<Scanned> {
    let start = bytes.iter().position(|&byte| !is_space(byte))?;
    let bytes = bytes.get(start..)?;
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut magnitude = u64::from(digit(*digits.first()?)?);
    for &byte in digits.iter().skip(1) {
        let Some(value) = digit(byte) else {
            let end = if is_space(byte) { None } else { Some(byte) };
            return Some(Scanned { negative, magnitude, end });
        };
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(value))?;
    }
    Some(Scanned { negative, magnitude, end: None })
}

/// C's `isspace`.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_number_ends_at_white_space_or_at_the_end() {
        for (value, expected) in [
            (&b"5"[..], Some(5)),
            (b"5 abc", Some(5)),
            (b"5\tabc", Some(5)),
            (b"5\r\n", Some(5)),
            (b"5\0abc", Some(5)),
            (b"5abc", None),
            (b"5.0", None),
            (b"0x10", None),
            (b"  5", Some(5)),
            (b"\t\n5", Some(5)),
            (b"+5", Some(5)),
            (b" +5  ", Some(5)),
            (b"- 5", None),
            (b"+-5", None),
            (b"-5", None),
            (b"-0", Some(0)),
            (b"-18446744073709551615", Some(1)),
            (b"00000000000000000000000000007", Some(7)),
            (b"1234567", Some(1_234_567)),
            (b"12345678", Some(12_345_678)),
            (b"1234567890123456789", Some(1_234_567_890_123_456_789)),
            (b"9999999999999999999", Some(9_999_999_999_999_999_999)),
            (b"1234567/", None),
            (b"123:5678", None),
            (b"1234567 12345678", Some(1_234_567)),
            (b"12345678\xb0", None),
            (b"\xfa2345678", None),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"99999999999999999999999", None),
            (b"", None),
            (b"   ", None),
            (b"+", None),
            (b"-", None),
            (b"abc", None),
        ] {
            assert_eq!(parse_stored(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn classic_flags_and_exptime_are_cut_to_32_bits() {
        for (word, flags, exptime) in [
            (&b"0"[..], Some(0), Some(0)),
            (b"5", Some(5), Some(5)),
            (b"+5", Some(5), Some(5)),
            (b"\t5", Some(5), Some(5)),
            (b"5\tx", Some(5), Some(5)),
            (b"4294967301", Some(5), Some(5)),
            (b"4294967296", Some(0), Some(0)),
            (b"2147483648", Some(2_147_483_648), Some(i32::MIN)),
            (b"-1", None, Some(-1)),
            (b"-0", Some(0), Some(0)),
            (b"9223372036854775807", Some(u32::MAX), Some(-1)),
            (b"9223372036854775808", Some(0), None),
            (b"-9223372036854775808", None, Some(0)),
            (b"-9223372036854775809", Some(u32::MAX), None),
            (b"18446744073709551616", None, None),
            (b"0x10", None, None),
            (b"5a", None, None),
            (b"5\0", None, None),
            (b"a", None, None),
            (b"", None, None),
            (b"\t", None, None),
        ] {
            assert_eq!(parse_lenient_flags(word), flags, "flags {}", word.escape_ascii());
            assert_eq!(parse_lenient_exptime(word), exptime, "exptime {}", word.escape_ascii());
        }
    }
}
