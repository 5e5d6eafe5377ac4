//! One line to the parser. Whatever it is, it becomes a request within the limits, a list of keys, or an error.

use memhold::protocol::limits::{DECODED_KEY_MAX, KEY_MAX, VALUE_LEN_MAX};
use memhold::protocol::request::Request;
use memhold::protocol::text::{NextKey, any_key_too_long, next_key};
use memhold::protocol::{ParseOptions, Parsed, Refused, Scratch, parse};

/// The first byte chooses the options; the rest, up to a line feed, is the line.
pub fn run(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let options = ParseOptions { debug_commands: choice & 1 != 0 };
    let mut room = [0; DECODED_KEY_MAX];
    match parse(line, &mut Scratch::new(&mut room), options) {
        Parsed::Command(command) => {
            let key = command.request.key();
            let keyless = matches!(command.request, Request::Admin(_) | Request::Noop);
            assert!(key.bytes().len() <= KEY_MAX && key.bytes().is_empty() == keyless, "{command:?}");
            if let Request::Store(store) = &command.request {
                assert!(store.value_len <= VALUE_LEN_MAX as usize, "{command:?}");
            }
        }
        Parsed::Keys(list) => keys(list.rest),
        Parsed::Refused(Refused { swallow, .. }) => assert!(swallow <= VALUE_LEN_MAX as usize + 2),
        Parsed::Close => {}
    }
}

/// A list of keys gives each word once, or says beforehand that one is too long.
fn keys(mut rest: &[u8]) {
    let expected: Vec<&[u8]> = rest.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
    let too_long = any_key_too_long(rest);
    let mut found = Vec::new();
    loop {
        match next_key(rest, true) {
            NextKey::Key(key, consumed) => {
                found.push(key);
                rest = &rest[consumed..];
            }
            NextKey::TooLong => return assert!(too_long),
            NextKey::End => break,
            NextKey::NeedMore { .. } => panic!("a whole list needs no more"),
        }
    }
    assert!(!too_long && !found.is_empty());
    assert_eq!(found, expected);
}
