//! Numbers of the command line: C's lenient `atoi` and `atof` where memcached uses them (section 9), strict ones
//! elsewhere.

/// C's `atoi`: white space, a sign, digits; the rest is ignored, nothing counts as 0, too much wraps to 32 bits.
#[must_use]
pub fn atoi(text: &[u8]) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "what glibc's atoi does: strtol, cut to an int")]
    let value = strtol(text, 10) as i32;
    value
}

/// C's `strtol` in base 10 or 8: saturates at the ends of a `long`.
#[must_use]
pub fn strtol(text: &[u8], base: u8) -> i64 {
    let (negative, digits) = match skip_space(text) {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut value: i64 = 0;
    for digit in digits.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|&digit| digit < base) {
        // Counted downwards, since the negative range is the larger one.
        value = value.saturating_mul(i64::from(base)).saturating_sub(i64::from(digit));
    }
    if negative { value } else { value.checked_neg().unwrap_or(i64::MAX) }
}

/// C's `atof` for decimal numbers: the longest beginning that is one, 0 without.
#[must_use]
pub fn atof(text: &[u8]) -> f64 {
    let text = skip_space(text);
    (1..=text.len().min(64)).rev().find_map(|len| decimal(&text[..len])).unwrap_or(0.0)
}

/// An unsigned 32-bit number, the whole word (section 2.3).
#[must_use]
pub fn whole(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 11 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A decimal fraction, the whole word.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<f64> {
    // Rust also takes `inf` and `nan`; no option means anything by them.
    let numeric = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E');
    if !text.iter().all(numeric) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The text without white space in front.
#[must_use]
pub fn skip_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atoi_reads_what_c_reads() {
        let cases: &[(&str, i32)] = &[
            ("11211", 11211),
            (" \t12", 12),
            ("-1", -1),
            ("+7", 7),
            ("12abc", 12),
            ("abc", 0),
            ("", 0),
            ("-", 0),
            ("0x10", 0),
            ("4294967296", 0),
            ("2147483648", i32::MIN),
            ("99999999999999999999", -1),
            ("-99999999999999999999", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(atoi(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(strtol(b"0777", 8), 0o777);
        assert_eq!(strtol(b"789", 8), 7);
    }

    #[test]
    fn atof_reads_the_longest_beginning_that_is_a_number() {
        let cases: &[(&str, f64)] = &[
            ("1.25", 1.25),
            (" 2", 2.0),
            ("1.5x", 1.5),
            ("1e1", 10.0),
            ("1ex", 1.0),
            ("x", 0.0),
            ("", 0.0),
            ("-1", -1.0),
        ];
        for (text, expected) in cases {
            assert!((atof(text.as_bytes()) - expected).abs() < f64::EPSILON, "{text:?}");
        }
    }

    #[test]
    fn strict_numbers_take_the_whole_word_or_nothing() {
        assert_eq!(whole(b"4294967295"), Some(u32::MAX));
        for bad in ["", "4294967296", "+5", "-5", "5 ", " 5", "x", "000000000001"] {
            assert_eq!(whole(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decimal(b"0.01"), Some(0.01));
        for bad in ["", "abc", "nan", "inf", "0.1x", "1e999"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
