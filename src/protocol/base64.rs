//! Base64 of keys, as the meta flag `b` has it (section 5.1): the standard alphabet with `=` padding, decoded with more
//! indulgence than the standard asks for, because memcached does and a key must mean the same to both.

/// The sixty-four digits.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Marks a byte outside of the alphabet.
const SKIP: u8 = 0x80;
/// What each byte stands for. `=` counts as a digit of value 0.
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut values = [SKIP; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values[b'=' as usize] = 0;
    values
}

/// Decodes into the front of `out` and says how many bytes it took: at most three for every four of `encoded`, at least
/// one.
///
/// Bytes outside of the alphabet are skipped. What is left must be whole groups of four, at least one; the first group
/// with a `=` in it, wherever it stands there, is the last that counts. `None` when that is not so, when a group has
/// more than two `=`, or when `out` is too short.
#[must_use]
pub fn decode(encoded: &[u8], out: &mut [u8]) -> Option<usize> {
    let digits = encoded.iter().filter(|&&byte| value(byte) != SKIP).count();
    if digits == 0 || digits % 4 != 0 {
        return None;
    }
    let mut decoded = 0;
    let (mut group, mut filled, mut padding) = (0_u32, 0, 0);
    for &byte in encoded.iter().filter(|&&byte| value(byte) != SKIP) {
        group = group << 6 | u32::from(value(byte));
        filled += 1;
        padding += usize::from(byte == b'=');
        if filled < 4 {
            continue;
        }
        let [_, bytes @ ..] = group.to_be_bytes();
        let bytes = bytes.get(..3 - padding.min(3)).filter(|bytes| !bytes.is_empty())?;
        out.get_mut(decoded..decoded + bytes.len())?.copy_from_slice(bytes);
        decoded += bytes.len();
        if padding > 0 {
            break;
        }
        (group, filled) = (0, 0);
    }
    Some(decoded)
}

/// Appends `bytes` in base64 to `out`.
pub fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut digits = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        for unused in digits.iter_mut().skip(group.len() + 1) {
            *unused = b'=';
        }
        out.extend_from_slice(&digits);
    }
}

const fn value(byte: u8) -> u8 {
    VALUES[byte as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoded: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; 300];
        decode(encoded, &mut out).map(|len| out[..len].to_vec())
    }

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, bytes);
        out
    }

    #[test]
    fn every_length_comes_back_from_its_base64() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for len in 1..=bytes.len() {
            assert_eq!(decoded(&encoded(&bytes[..len])).as_deref(), Some(&bytes[..len]));
        }
    }

    #[test]
    fn encoding_is_the_standard_one() {
        for (bytes, expected) in [
            (&b""[..], &b""[..]),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"\xff\xfe\xfd~", b"//79fg=="),
        ] {
            assert_eq!(encoded(bytes), expected);
        }
    }

    #[test]
    fn decoding_is_as_indulgent_as_the_peer() {
        // All of these were asked of a real memcached.
        for (text, expected) in [
            (&b"Zm9v"[..], Some(&b"foo"[..])),
            (b"Z!m9v", Some(b"foo")),
            (b"Zm9v\xff\0-_", Some(b"foo")),
            (b"=Zm9", Some(b"\x01\x99")),
            (b"Z=9=", Some(b"d")),
            (b"Zm8=Zm9v", Some(b"fo")),
            (b"Zm9", None),
            (b"foo", None),
            (b"Zm9v=", None),
            (b"Z===", None),
            (b"====", None),
            (b"!!!!", None),
            (b"", None),
        ] {
            assert_eq!(decoded(text).as_deref(), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_short_buffer_is_refused_not_overrun() {
        assert_eq!(decode(b"Zm9v", &mut [0; 2]), None);
        assert_eq!(decode(b"Zm8=", &mut [0; 2]), Some(2));
    }
}
