//! The words behind an administration command, and what they mean.
//!
//! Sub-commands match by any non-empty prefix, first match in memcached's order (section 4.3).

use crate::protocol::token::{parse_s32, parse_u32};

/// At most this many words are looked at; further ones are counted but not kept.
const KEPT: usize = 8;

/// The words of a line.
pub(super) struct Words<'a> {
    kept: [&'a [u8]; KEPT],
    count: usize,
}

impl<'a> Words<'a> {
    /// Splits at spaces.
    pub fn of(line: &'a [u8]) -> Words<'a> {
        let mut words = Words { kept: [b""; KEPT], count: 0 };
        for word in line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
            if let Some(place) = words.kept.get_mut(words.count) {
                *place = word;
            }
            words.count += 1;
        }
        words
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The word at `at`, empty if there is none.
    pub fn at(&self, at: usize) -> &'a [u8] {
        self.kept.get(at).copied().unwrap_or_default()
    }

    /// Whether the word at `at` is `full` or a prefix of it.
    pub fn is(&self, at: usize, full: &str) -> bool {
        let word = self.at(at);
        !word.is_empty() && full.as_bytes().starts_with(word)
    }

    /// The word as a u32 (section 2.3).
    pub fn whole(&self, at: usize) -> Option<u32> {
        parse_u32(self.at(at))
    }

    /// The word as an s32 (section 2.3).
    pub fn signed(&self, at: usize) -> Option<i32> {
        parse_s32(self.at(at))
    }

    /// The word as an s64 (`debugtime`).
    pub fn long(&self, at: usize) -> Option<i64> {
        std::str::from_utf8(self.at(at)).ok()?.parse().ok()
    }

    /// The word as a decimal fraction; exponents and `nan` parse (section 2.3).
    pub fn float(&self, at: usize) -> Option<f64> {
        let word = self.at(at);
        if word.len() > 31 { None } else { std::str::from_utf8(word).ok()?.parse().ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_runs_of_spaces() {
        let words = Words::of(b"  automove  1 ");
        assert_eq!((words.count(), words.at(0), words.at(1), words.at(2)), (2, &b"automove"[..], &b"1"[..], &b""[..]));
    }

    #[test]
    fn any_prefix_matches_but_not_the_empty_one() {
        let words = Words::of(b"au");
        assert!(words.is(0, "automove"));
        assert!(!words.is(0, "a"));
        assert!(!words.is(1, "automove"));
    }

    #[test]
    fn fractions_may_have_exponents() {
        assert_eq!(Words::of(b"5e-1").float(0), Some(0.5));
        assert_eq!(Words::of(b"x").float(0), None);
    }
}
