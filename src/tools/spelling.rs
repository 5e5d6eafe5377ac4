//! How the meta commands are told a key (section 5.1): as it is, or in base64 where it holds what ends a word.

use crate::protocol::base64;
use crate::protocol::limits::KEY_MAX;

/// Writes `key` to `out`, in base64 if `base64` asks for it or nothing else is possible. Returns whether it is in base64; `None`,
/// with nothing written, when no meta command can name it.
pub fn key(key: &[u8], base64: bool, out: &mut Vec<u8>) -> Option<bool> {
    // Control characters are allowed in words, but there is no reason to try.
    let plain = !key.is_empty() && key.len() <= KEY_MAX && !key.iter().any(|byte| *byte <= b' ' || *byte == 0x7f);
    let in_base64 = key.len().div_ceil(3) * 4 <= KEY_MAX && !key.is_empty();
    match (plain, in_base64) {
        (true, _) if !base64 || !in_base64 => {
            out.extend_from_slice(key);
            Some(false)
        }
        (_, true) => {
            base64::encode(out, key);
            Some(true)
        }
        _ => None,
    }
}

/// Decodes `%xx` of a `metadump` line into `out`, which is emptied before. Whether it was well-formed.
pub fn percent_decode(encoded: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return false };
        // Two digits of 16.
        out.push((high * 16 + low) as u8);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(bytes: &[u8], base64: bool) -> Option<(Vec<u8>, bool)> {
        let mut out = Vec::new();
        key(bytes, base64, &mut out).map(|base64| (out, base64))
    }

    #[test]
    fn a_key_is_base64_when_it_was_or_must_be() {
        assert_eq!(spelled(b"a\xff", false), Some((b"a\xff".to_vec(), false)));
        assert_eq!(spelled(b"foo", true), Some((b"Zm9v".to_vec(), true)));
        assert_eq!(spelled(b"a b", false), Some((b"YSBi".to_vec(), true)));
        assert_eq!(spelled(&[b'\n'; 186], false).map(|(out, _)| out.len()), Some(248));
        assert_eq!(spelled(&[b'\n'; 187], false), None);
        assert_eq!(spelled(&[b'a'; 250], true), Some((vec![b'a'; 250], false)));
        assert_eq!(spelled(&[b'a'; 251], false), None);
        assert_eq!(spelled(b"", true), None);
    }

    #[test]
    fn percent_signs_are_decoded() {
        let mut out = b"before".to_vec();
        assert!(percent_decode(b"a%20%fF%00%25", &mut out));
        assert_eq!(out, b"a \xff\0%");
        for wrong in [&b"%"[..], b"%2", b"%g0", b"%0g"] {
            assert!(!percent_decode(wrong, &mut out));
        }
    }
}
