//! Whatever bytes come, there is an answer: parsing never panics and keeps its promises, and every reply can be
//! spelled.

use super::command::{Command, ParseOptions, Parsed, Scratch, Spelling, parse};
use super::limits::{DECODED_KEY_MAX, KEY_MAX, VALUE_LEN_MAX};
use super::reply::{Error, Hit, Inspected, Reply, Written};
use super::request::{Key, Request};
use super::text::{self, NextKey};
use super::{encode, meta};

/// Marsaglia's xorshift: enough chance for a test, and the same every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const COMMANDS: &[&str] = &[
    "get",
    "gets",
    "gat",
    "gats",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "cas",
    "touch",
    "delete",
    "incr",
    "decr",
    "mg",
    "ms",
    "md",
    "ma",
    "me",
    "mn",
    "stats",
    "flush_all",
    "verbosity",
    "shutdown",
    "lru",
    "lru_crawler",
    "slabs",
    "cache_memlimit",
    "watch",
    "version",
    "quit",
    "extstore",
    "refresh_certs",
    "debugtime",
    "bogus",
    "",
    "GET",
];

const WORDS: &[&str] = &[
    "k",
    "noreply",
    "0",
    "1",
    "-1",
    "-",
    "2147483645",
    "2147483646",
    "4294967296",
    "18446744073709551615",
    "Zm9v",
    "b",
    "v",
    "q",
    "k",
    "s",
    "t",
    "T30",
    "T",
    "N5",
    "MA",
    "M",
    "Oabc",
    "I",
    "x",
    "C0",
    "E1",
    "HTTP/1.1",
    "!",
    "",
    " ",
    "\t",
    "\0",
    "\r",
    "F1",
    "D9",
    "J",
    "R-3",
    "=",
    "é",
];

/// A line that is often nearly right, sometimes mutilated, sometimes noise.
fn line(chance: &mut Chance) -> Vec<u8> {
    let mut line = chance.one_of(COMMANDS).as_bytes().to_vec();
    let most = if chance.below(8) == 0 { 30 } else { 8 };
    for _ in 0..chance.below(most) {
        line.extend_from_slice(b" ");
        match chance.below(40) {
            0 => line.extend_from_slice(&vec![b'A'; 240 + chance.below(20)]),
            1 => (0..chance.below(40)).for_each(|_| line.push(chance.byte())),
            _ => line.extend_from_slice(chance.one_of(WORDS).as_bytes()),
        }
    }
    for _ in 0..chance.below(4) * chance.below(2) {
        line.insert(chance.below(line.len() + 1), chance.byte());
    }
    line.retain(|&byte| byte != b'\n');
    line
}

fn replies() -> Vec<Reply<'static>> {
    let hit = Hit { size: usize::MAX, cas: u64::MAX, ttl_before: i64::MIN, ttl_after: i64::MAX, ..Hit::default() };
    let all = Hit { value: true, won: true, token_sent: true, stale: true, base64_key: true, created: true, ..hit };
    let item = Inspected { ttl: -1, idle: 0, cas: 1, fetched: true, class: 1, size: 1, base64_key: true };
    vec![
        Reply::Hit(hit),
        Reply::Hit(all),
        Reply::Hit(Hit { number: Some(u64::MAX), ..hit }),
        Reply::Miss,
        Reply::Stored(Written::default()),
        Reply::NotStored(Written::default()),
        Reply::Exists(Written::default()),
        Reply::NotFound(Written::default()),
        Reply::Deleted,
        Reply::Touched,
        Reply::Inspected(item),
        Reply::Ok,
        Reply::Reset,
        Reply::Noop,
        Reply::Version,
        Reply::Lines(b"STAT x 1\r\nEND\r\n"),
        Reply::Nothing,
        Reply::Error(Error::Unknown),
    ]
}

/// Every reply to a command is whole lines, and nothing else than a hit announces a value.
fn check_replies(command: &Command<'_>) {
    for reply in replies() {
        let mut out = b"before\r\n".to_vec();
        let body = encode(&mut out, &command.spelling, command.request.key(), &reply);
        assert!(out.starts_with(b"before\r\n") && out.ends_with(b"\r\n"), "{command:?} {reply:?}");
        assert!(body == encode::Body::None || matches!(reply, Reply::Hit(_)));
    }
}

fn check_keys(rest: &[u8]) {
    assert!(!rest.is_empty());
    let too_long = text::any_key_too_long(rest);
    let (mut at, mut keys) = (0, Vec::new());
    loop {
        match text::next_key(&rest[at..], true) {
            NextKey::Key(key, consumed) => {
                assert!((1..=KEY_MAX).contains(&key.len()) && !key.contains(&b' '));
                at += consumed;
                keys.push(key);
            }
            NextKey::TooLong => return assert!(too_long),
            NextKey::End => break,
            NextKey::NeedMore { .. } => panic!("a whole list needs no more"),
        }
    }
    assert!(!too_long && !keys.is_empty());
    let expected: Vec<&[u8]> = rest.split(|&byte| byte == b' ').filter(|key| !key.is_empty()).collect();
    assert_eq!(keys, expected);
}

#[test]
fn every_line_has_an_outcome_that_keeps_its_promises() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut room = [0; DECODED_KEY_MAX];
    let mut seen = [0; 4];
    for _ in 0..60_000 {
        let line = line(&mut chance);
        let options = ParseOptions { debug_commands: chance.below(2) == 0 };
        match parse(&line, &mut Scratch::new(&mut room), options) {
            Parsed::Command(command) => {
                seen[0] += 1;
                let key = command.request.key();
                let keyless = matches!(command.request, Request::Admin(_) | Request::Noop);
                assert!(key.bytes().len() <= KEY_MAX && key.bytes().is_empty() == keyless);
                if let Request::Store(store) = &command.request {
                    assert!(store.value_len <= usize::try_from(VALUE_LEN_MAX).unwrap());
                }
                check_replies(&command);
            }
            Parsed::Keys(list) => {
                seen[1] += 1;
                check_keys(list.rest);
            }
            Parsed::Refused(refused) => {
                seen[2] += 1;
                assert!(refused.swallow == 0 || (2..=usize::try_from(i32::MAX).unwrap()).contains(&refused.swallow));
            }
            Parsed::Close => seen[3] += 1,
        }
    }
    assert!(seen.iter().all(|&count| count > 100), "the lines should reach every outcome: {seen:?}");
}

#[test]
fn a_key_list_is_the_same_however_it_is_cut() {
    let rest = [b" a  bb ", &[b'k'; 250][..], b" c   dd"].concat();
    let whole: Vec<&[u8]> = rest.split(|&byte| byte == b' ').filter(|key| !key.is_empty()).collect();
    for piece in 1..rest.len() {
        let (mut at, mut end, mut keys) = (0, 0, Vec::new());
        loop {
            match text::next_key(&rest[at..end], end == rest.len()) {
                NextKey::Key(key, consumed) => {
                    keys.push(key);
                    at += consumed;
                }
                NextKey::NeedMore { consumed } => {
                    at += consumed;
                    end = rest.len().min(end + piece);
                }
                NextKey::End => break,
                NextKey::TooLong => panic!("no key of {} is too long", rest.escape_ascii()),
            }
        }
        assert_eq!(keys, whole);
    }
}

#[test]
fn no_command_is_in_the_tables_twice() {
    for table in [text::COMMANDS, meta::COMMANDS] {
        for (at, row) in table.iter().enumerate() {
            assert!(table.iter().skip(at + 1).all(|other| !other.same_name(row)));
        }
    }
}

#[test]
fn several_base64_keys_share_the_room() {
    let mut room = [0; 2 * DECODED_KEY_MAX];
    let mut scratch = Scratch::new(&mut room);
    let options = ParseOptions::default();
    let first = parse(b"mg Zm9v b", &mut scratch, options);
    assert!(scratch.has_room());
    let second = parse(b"mg YmFy b", &mut scratch, options);
    let key = |parsed: &Parsed<'_>| match parsed {
        Parsed::Command(command) => command.request.key().bytes().to_vec(),
        parsed => panic!("{parsed:?}"),
    };
    assert_eq!((key(&first), key(&second)), (b"foo".to_vec(), b"bar".to_vec()));
}

#[test]
fn a_reply_is_appended_behind_what_is_there() {
    let mut out = b"END\r\n".to_vec();
    let body = encode(&mut out, &Spelling::TEXT, Key::NONE, &Reply::Version);
    assert_eq!((&out[..], body), (&b"END\r\nVERSION 1.6.45\r\n"[..], encode::Body::None));
}
