//! Keys of a fixed length made from numbers, and values that name their key.
//!
//! A value begins with its key, as far as it is long enough, so that a reply with another item's value is noticed.

use super::random::mix;

/// The length of the keys of all scenarios, in bytes.
pub const KEY_LEN: usize = 32;

/// The key of an item in the scenarios.
pub type Key = [u8; KEY_LEN];

/// The key of `number` among those that share `prefix`.
pub fn key(prefix: [u8; 8], number: u64) -> Key {
    key_of_len(prefix, number)
}

/// The same in another length: the prefix, then hexadecimal digits.
///
/// # Panics
///
/// When `LEN` is below 24.
pub fn key_of_len<const LEN: usize>(prefix: [u8; 8], number: u64) -> [u8; LEN] {
    let mut key = [b'0'; LEN];
    key[..8].copy_from_slice(&prefix);
    // Sixteen digits of a scrambled number are unique already; a longer key is filled with its own digits again.
    let scrambled = mix(number);
    for (place, byte) in key[8..].iter_mut().enumerate() {
        let digit = (scrambled >> (4 * (place % 16))) & 15;
        *byte = b"0123456789abcdef"[digit as usize];
    }
    assert!(LEN >= 24, "shorter keys would not be unique");
    key
}

/// Appends the value of `key`, `len` bytes.
pub fn push_value(out: &mut Vec<u8>, key: &[u8], len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(mark(key, len));
    out.resize(end, b'v');
}

/// What a value of `len` bytes begins with.
pub fn mark(key: &[u8], len: usize) -> &[u8] {
    &key[..key.len().min(len)]
}
