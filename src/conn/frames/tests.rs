//! Conversations in the binary protocol (sections 6 and 7.1), cut anywhere.

use crate::conn::Next;
use crate::conn::testing::{Talk, however_cut_bytes};
use crate::protocol::binary::opcodes::ROWS;
use crate::settings::Settings;
use crate::store::Lookup;

/// A request with an opaque of its own.
fn ask(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    ask_cas(opcode, extras, key, value, 0)
}

fn ask_cas(opcode: u8, extras: &[u8], key: &[u8], value: &[u8], cas: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, opcode];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0, 0, 0]);
    bytes.extend(((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
    bytes.extend([opcode, 1, 2, 3]);
    bytes.extend(cas.to_be_bytes());
    [&bytes[..], extras, key, value].concat()
}

fn set(key: &[u8], value: &[u8]) -> Vec<u8> {
    ask(0x01, &[0; 8], key, value)
}

/// Responses in short: opcode, status, extras, key, value; the opaque is checked, a CAS is shown as `cas` if there is one.
fn read(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0], 0x81, "{}", bytes.escape_ascii());
        let number = |at: usize, len: usize| bytes[at..at + len].iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let (opcode, key, extras, status, body) = (bytes[1], number(2, 2), number(4, 1), number(6, 2), number(8, 4));
        assert_eq!(bytes[12..16], [opcode, 1, 2, 3], "the opaque of another request");
        let cas = if number(16, 8) == 0 { "" } else { " cas" };
        let (whole, rest) = bytes.split_at(24 + body);
        let (extras, rest_of) = whole[24..].split_at(extras);
        let (key, value) = rest_of.split_at(key);
        let [extras, key, value] = [extras, key, value].map(|part| part.escape_ascii().to_string());
        all.push(format!("{opcode:02x} {status:02x} [{extras}|{key}|{value}]{cas}"));
        bytes = rest;
    }
    all
}

#[track_caller]
fn held(conversation: &[Vec<u8>], expected: &[&str]) {
    let bytes = however_cut_bytes(&Settings::default(), &conversation.concat());
    assert_eq!(read(&bytes), expected);
}

#[test]
fn storing_and_reading_is_the_same_however_it_is_cut() {
    held(
        &[
            ask(0x01, b"\0\0\0\x07\0\0\0\0", b"key", b"value"),
            ask(0x00, b"", b"key", b""),
            ask(0x0c, b"", b"key", b""),
            ask(0x09, b"", b"none", b""),
            ask(0x0d, b"", b"none", b""),
            ask(0x00, b"", b"none", b""),
            ask(0x0c, b"", b"none", b""),
            ask(0x09, b"", b"key", b""),
            ask(0x0d, b"", b"key", b""),
            ask(0x02, &[0; 8], b"key", b"x"),
            ask(0x03, &[0; 8], b"none", b"x"),
            ask(0x11, &[0; 8], b"a b\n", b""),
            ask(0x19, b"", b"a b\n", b"cd"),
            ask(0x0f, b"", b"a b\n", b"ab"),
            ask(0x1a, b"", b"none", b"ab"),
            ask(0x00, b"", b"a b\n", b""),
            ask(0x14, b"", b"key", b""),
            ask(0x04, b"", b"key", b""),
            ask(0x0a, b"", b"", b""),
        ],
        &[
            "01 00 [||] cas",
            r"00 00 [\x00\x00\x00\x07||value] cas",
            r"0c 00 [\x00\x00\x00\x07|key|value] cas",
            "00 01 [||Not found]",
            "0c 01 [|none|]",
            r"09 00 [\x00\x00\x00\x07||value] cas",
            r"0d 00 [\x00\x00\x00\x07|key|value] cas",
            "02 02 [||Data exists for key.]",
            "03 01 [||Not found]",
            "0f 00 [||] cas",
            "1a 05 [||Not stored.]",
            r"00 00 [\x00\x00\x00\x00||abcd] cas",
            "04 01 [||Not found]",
            "0a 00 [||]",
        ],
    );
}

#[test]
fn numbers_and_expiries_are_the_same_however_they_are_cut() {
    let delta = |delta: u64, initial: u64, exptime: u32| {
        [&delta.to_be_bytes()[..], &initial.to_be_bytes(), &exptime.to_be_bytes()].concat()
    };
    held(
        &[
            ask(0x05, &delta(1, 10, u32::MAX), b"n", b""),
            ask(0x05, &delta(1, 10, 0), b"n", b""),
            ask(0x05, &delta(1, 0, 0), b"n", b""),
            ask(0x16, &delta(100, 0, 0), b"n", b""),
            ask(0x06, &delta(1, 0, 0), b"n", b""),
            ask(0x00, b"", b"n", b""),
            set(b"word", b"abc"),
            ask(0x15, &delta(1, 0, 0), b"word", b""),
            ask(0x1c, b"\0\0\0\x0a", b"n", b""),
            ask(0x1c, b"\0\0\0\x0a", b"none", b""),
            ask(0x1e, b"\0\0\0\x0a", b"none", b""),
            ask(0x24, b"\0\0\0\x0a", b"n", b""),
            ask(0x23, b"\0\0\0\x0a", b"none", b""),
            ask(0x08, b"", b"", b""),
            ask(0x1d, b"\0\0\0\0", b"n", b""),
        ],
        &[
            "05 01 [||Not found]",
            r"05 00 [||\x00\x00\x00\x00\x00\x00\x00\n] cas",
            r"05 00 [||\x00\x00\x00\x00\x00\x00\x00\x0b] cas",
            r"06 00 [||\x00\x00\x00\x00\x00\x00\x00\x00] cas",
            r"00 00 [\x00\x00\x00\x00||0 ] cas",
            "01 00 [||] cas",
            "15 06 [||Non-numeric server-side value for incr or decr]",
            r"1c 00 [\x00\x00\x00\x00||] cas",
            "1c 01 [||Not found]",
            r"24 00 [\x00\x00\x00\x00|n|0 ] cas",
            "23 01 [|none|]",
            "08 00 [||]",
            "1d 01 [||Not found]",
        ],
    );
}

#[test]
fn an_unknown_opcode_loses_its_body_once_and_the_conversation_goes_on() {
    held(
        &[
            ask(0x1b, b"ex", b"key", b"value"),
            ask(0x30, b"", b"", b""),
            ask(0x21, b"", b"PLAIN", b"x"),
            ask(0x0a, b"", b"", b""),
        ],
        &["1b 81 [||Unknown command]", "30 81 [||Unknown command]", "21 81 [||Unknown command]", "0a 00 [||]"],
    );
}

#[test]
fn a_wrong_shape_is_answered_behind_what_was_asked_before_and_then_it_is_over() {
    for (wrong, answer) in [
        (ask(0x00, b"", b"", b""), "00 04 [||Invalid arguments]"),
        (ask(0x1d, &[0; 4], b"k", b"value"), "1d 04 [||Invalid arguments]"),
        (ask(0x10, b"", b"items", b"value"), "10 04 [||Invalid arguments]"),
        (ask(0x00, b"", &[b'k'; 251], b""), "00 04 [||Invalid arguments]"),
    ] {
        held(&[set(b"k", b"v"), wrong, set(b"k", b"v")], &["01 00 [||] cas", answer]);
    }
    held(&[set(b"k", b"v"), b"get k\r\nget k\r\nget k\r\nget k\r\n".to_vec()], &["01 00 [||] cas"]);
    held(&[set(b"k", b"v"), ask(0x17, b"", b"", b""), set(b"k", b"v")], &["01 00 [||] cas"]);
    held(&[ask(0x07, b"", b"", b""), set(b"k", b"v")], &["07 00 [||]"]);
}

#[test]
fn a_long_value_goes_straight_into_item_memory_and_comes_back() {
    let value: Vec<u8> = (0..200_000).map(|n| (n % 251) as u8).collect();
    let mut talk = Talk::new();
    for piece in set(b"long", &value).chunks(70_000) {
        talk.exchange(piece);
    }
    let answer = talk.exchange(ask(0x00, b"", b"long", b""));
    assert_eq!(answer.len(), 24 + 4 + value.len());
    assert_eq!(answer[28..], value);
    held(
        &[set(b"long", &value[..3000]), ask(0x0e, b"", b"long", &value[..2000]), ask(0x0a, b"", b"", b"")],
        &["01 00 [||] cas", "0e 00 [||] cas", "0a 00 [||]"],
    );
}

#[test]
fn what_is_too_large_is_skipped_and_a_set_leaves_nothing_outdated() {
    let settings = Settings { item_size_max_bytes: 2048, ..Settings::default() };
    let value = [b'v'; 4000];
    let conversation = [
        set(b"set", b"old"),
        set(b"add", b"old"),
        set(b"set", &value),
        ask(0x02, &[0; 8], b"add", &value),
        ask_cas(0x01, &[0; 8], b"none", &value, 77),
        ask(0x00, b"", b"set", b""),
        ask(0x00, b"", b"add", b""),
    ];
    assert_eq!(
        read(&however_cut_bytes(&settings, &conversation.concat())),
        [
            "01 00 [||] cas",
            "01 00 [||] cas",
            "01 03 [||Too large.]",
            "02 03 [||Too large.]",
            "01 03 [||Too large.]",
            "00 01 [||Not found]",
            r"00 00 [\x00\x00\x00\x00||old] cas",
        ]
    );
}

#[test]
fn a_cas_makes_every_change_conditional() {
    let mut talk = Talk::new();
    let cas = |answer: &[u8]| u64::from_be_bytes(*answer[16..].first_chunk().unwrap());
    let first = cas(&talk.exchange(set(b"k", b"1")));
    for opcode in [0x01, 0x02, 0x03] {
        let other = talk.exchange(ask_cas(opcode, &[0; 8], b"k", b"2", first + 99));
        assert_eq!(read(&other), [format!("{opcode:02x} 02 [||Data exists for key.]")]);
        let missing = talk.exchange(ask_cas(opcode, &[0; 8], b"none", b"2", 1));
        assert_eq!(read(&missing), [format!("{opcode:02x} 01 [||Not found]")]);
    }
    let delta = [&1_u64.to_be_bytes()[..], &[0; 12]].concat();
    for (opcode, extras) in [(0x0e, &[][..]), (0x0f, &[]), (0x04, &[]), (0x05, &delta), (0x06, &delta)] {
        let value: &[u8] = if opcode > 0x06 { b"x" } else { b"" };
        let other = talk.exchange(ask_cas(opcode, extras, b"k", value, first + 99));
        assert_eq!(read(&other), [format!("{opcode:02x} 02 [||Data exists for key.]")]);
    }
    // Equal, add stores over what is there.
    let second = cas(&talk.exchange(ask_cas(0x02, &[0; 8], b"k", b"5", first)));
    let third = cas(&talk.exchange(ask_cas(0x05, &delta, b"k", b"", second)));
    assert!(first < second && second < third);
    let touched = cas(&talk.exchange(ask(0x1c, &[0; 4], b"k", b"")));
    assert_eq!(touched, third, "touch changes no CAS");
    assert_eq!(read(&talk.exchange(ask_cas(0x04, b"", b"k", b"", third))), ["04 00 [||]"]);
}

#[test]
fn statistics_count_the_binary_forms_like_the_text_ones() {
    let mut talk = Talk::new();
    let delta = [&1_u64.to_be_bytes()[..], &[0; 12]].concat();
    talk.exchange(ask(0x10, b"", b"detail on", b""));
    for request in [
        set(b"a:k", b"1"),
        ask(0x00, b"", b"a:k", b""),
        ask(0x09, b"", b"a:x", b""),
        ask(0x1d, &[0; 4], b"a:k", b""),
        ask(0x1c, &[0; 4], b"a:k", b""),
        ask(0x1c, &[0; 4], b"a:x", b""),
        ask(0x05, &delta, b"a:k", b""),
        ask_cas(0x04, b"", b"a:k", b"", 1),
        ask(0x04, b"", b"a:k", b""),
        ask(0x04, b"", b"a:k", b""),
        ask(0x08, b"", b"", b""),
    ] {
        talk.exchange(request);
    }
    let general = read(&talk.exchange(ask(0x10, b"", b"", b"")));
    for (name, value) in [
        ("cmd_set", 1),
        ("cmd_get", 2),
        ("get_hits", 1),
        ("get_misses", 1),
        ("cmd_touch", 3),
        ("touch_hits", 2),
        ("touch_misses", 1),
        ("incr_hits", 1),
        ("delete_hits", 1),
        // A CAS that differs counts as nothing here, other than in meta.
        ("delete_misses", 1),
        ("cmd_flush", 1),
    ] {
        let line = format!("10 00 [|{name}|{value}]");
        assert!(general.contains(&line), "{line} is not among {general:?}");
    }
    assert_eq!(general.last().unwrap(), "10 00 [||]");
    let detail = read(&talk.exchange(ask(0x10, b"", b"detail dump", b"")));
    assert_eq!(detail, [r"10 00 [|detailed|PREFIX a get 5 hit 3 set 1 del 3\r\nEND\r\n]", "10 00 [||]"]);
    assert_eq!(read(&talk.exchange(ask(0x10, b"", b"reset", b""))), ["10 00 [||]"]);
    assert!(read(&talk.exchange(ask(0x10, b"", b"", b""))).contains(&"10 00 [|cmd_set|0]".to_owned()));
}

fn sasl() -> Settings {
    Settings { sasl: true, ..Settings::default() }
}

const AUTHENTICATED: &str = "21 00 [||Authenticated]";
const REFUSED: &str = "21 20 [||Auth failure.]";

fn plain(data: &[u8]) -> Vec<u8> {
    ask(0x21, b"", b"PLAIN", data)
}

#[test]
fn the_right_password_opens_everything_however_it_is_cut() {
    let conversation = [
        ask(0x20, b"", b"", b""),
        ask(0x0b, b"", b"", b""),
        plain(b"\0ann\0secret"),
        set(b"k", b"v"),
        ask(0x00, b"", b"k", b""),
    ];
    assert_eq!(
        read(&however_cut_bytes(&sasl(), &conversation.concat())),
        ["20 00 [||PLAIN]", "0b 00 [||1.6.45]", AUTHENTICATED, "01 00 [||] cas", r"00 00 [\x00\x00\x00\x00||v] cas",]
    );
}

#[test]
fn a_wrong_password_opens_nothing_however_often_it_is_tried() {
    for tries in 1..4 {
        let mut conversation = vec![plain(b"\0ann\0wrong"); tries];
        conversation.extend([set(b"k", b"v"), ask(0x0a, b"", b"", b"")]);
        let mut expected = vec![REFUSED; tries];
        expected.push("01 20 [||Auth failure.]");
        assert_eq!(read(&however_cut_bytes(&sasl(), &conversation.concat())), expected);
    }
    let conversation = [plain(b"\0ann\0wrong"), plain(b"\0ann\0secret"), ask(0x0a, b"", b"", b"")];
    let answers = read(&however_cut_bytes(&sasl(), &conversation.concat()));
    assert_eq!(answers, [REFUSED, AUTHENTICATED, "0a 00 [||]"]);
}

#[test]
fn asking_anything_of_sasl_again_ends_the_authentication() {
    for again in [
        ask(0x20, b"", b"", b""),
        plain(b"\0ann\0wrong"),
        ask(0x21, b"", b"CRAM-MD5", b"\0ann\0secret"),
        ask(0x22, b"", b"PLAIN", b"\0ann\0secret"),
        plain(b""),
        plain(&[b'x'; 20_000]),
    ] {
        let conversation = [plain(b"\0ann\0secret"), ask(0x0a, b"", b"", b""), again, ask(0x0a, b"", b"", b"")];
        let answers = read(&however_cut_bytes(&sasl(), &conversation.concat()));
        assert_eq!(answers[..2], [AUTHENTICATED, "0a 00 [||]"]);
        assert_eq!(answers[3..], ["0a 20 [||Auth failure.]"]);
    }
}

#[test]
fn without_data_there_is_a_challenge_which_a_step_answers_once() {
    let step = |data: &[u8]| ask(0x22, b"", b"PLAIN", data);
    for (conversation, expected) in [
        (vec![plain(b""), step(b"\0ann\0secret")], ["21 21 [||]", "22 00 [||Authenticated]"]),
        (vec![plain(b""), step(b"\0ann\0wrong")], ["21 21 [||]", "22 20 [||Auth failure.]"]),
        (vec![step(b"\0ann\0secret"), step(b"\0ann\0secret")], ["22 20 [||Auth failure.]"; 2]),
    ] {
        assert_eq!(read(&however_cut_bytes(&sasl(), &conversation.concat())), expected);
    }
    let long_name = ask(0x21, b"", &[b'M'; 33], b"\0ann\0secret");
    assert_eq!(read(&however_cut_bytes(&sasl(), &long_name)), ["21 04 [||Invalid arguments]"]);
}

#[test]
fn attempts_are_counted() {
    let mut talk = Talk::with(sasl());
    talk.exchange([plain(b"\0ann\0wrong"), plain(b""), ask(0x22, b"", b"P", b"x"), plain(b"\0ann\0secret")].concat());
    let general = read(&talk.exchange(ask(0x10, b"", b"", b"")));
    for line in ["10 00 [|auth_cmds|3]", "10 00 [|auth_errors|2]"] {
        assert!(general.contains(&line.to_owned()), "{line}");
    }
}

#[test]
fn before_authentication_no_opcode_and_no_text_command_reads_or_changes_anything() {
    let mut talk = Talk::with(sasl());
    talk.exchange([plain(b"\0ann\0secret"), set(b"k", b"5")].concat());
    let intact = |talk: &Talk, what: &str| {
        for (key, there) in [(&b"k"[..], true), (b"new", false)] {
            let found = talk.store.lookup(key, talk.store.hash(key), talk.now, |found| match found {
                Lookup::Found(entry) => entry.value_start() == b"5" && entry.exptime() == 0 && !entry.fetched(),
                Lookup::Absent(_) => false,
            });
            assert_eq!(found, there, "after {what}");
        }
    };
    for opcode in 0..=u8::MAX {
        let row = ROWS.iter().find(|row| row.opcode == opcode || row.quiet == Some(opcode));
        if row.is_some_and(|row| row.name.starts_with("SASL") || row.name == "version") {
            continue;
        }
        for key in [&b""[..], b"k", b"new"] {
            for extras in [0, 4, 8, 20] {
                for value in [&b""[..], b"1"] {
                    talk.reconnect();
                    let answer = read(&talk.exchange(ask(opcode, &vec![0; extras], key, value)));
                    assert_eq!(answer, [format!("{opcode:02x} 20 [||Auth failure.]")]);
                    assert_eq!(talk.ended, Some(Next::Close));
                    intact(&talk, &format!("opcode {opcode:#x}"));
                }
            }
        }
    }
    for name in crate::protocol::command::names() {
        for words in ["k", "k 0", "k 5", "k 0 0 1\r\n9", "k 0 0 1 5\r\n9", "new 0 0 1\r\n9", "0 k", "k s1 v\r\n9", ""] {
            talk.reconnect();
            let line = format!("{name} {words}\r\n");
            assert_eq!(talk.say(line.repeat(8)), "", "{line}");
            assert_eq!(talk.ended, Some(Next::Close), "{line}");
            intact(&talk, &line);
        }
    }
}
