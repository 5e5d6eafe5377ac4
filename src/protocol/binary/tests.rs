//! Frames as section 6 has them: what each asks, in which order it is judged, and how each reply is spelled.

use super::opcodes::{ROWS, Row};
use super::*;
use crate::protocol::reply::{Error, Hit, Reply, Written};
use crate::protocol::request::{Admin, Arith, Auth, Delete, Get, Key, Request, Store, StoreMode};
use crate::protocol::{Body, Command, Spelling, encode};

const OPAQUE: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
const OPEN: Access = Access { sasl: false, locked: false };
const SASL: Access = Access { sasl: true, locked: false };
const LOCKED: Access = Access { sasl: true, locked: true };

/// A frame whose lengths are what they should be.
fn frame(opcode: u8, extras: &[u8], key: &[u8], value: &[u8], cas: u64) -> Vec<u8> {
    let body = extras.len() + key.len() + value.len();
    let mut bytes = header(opcode, extras.len() as u8, key.len() as u16, body as u32);
    bytes[16..24].copy_from_slice(&cas.to_be_bytes());
    [&bytes[..], extras, key, value].concat()
}

fn header(opcode: u8, extras: u8, key: u16, body: u32) -> Vec<u8> {
    let mut bytes = vec![REQUEST_MAGIC, opcode];
    bytes.extend(key.to_be_bytes());
    // Data type and vbucket are not looked at.
    bytes.extend([extras, 0xff, 0xff, 0xff]);
    bytes.extend(body.to_be_bytes());
    bytes.extend(OPAQUE);
    bytes.extend([0; 8]);
    bytes
}

fn spelling(opcode: u8) -> Spelling<'static> {
    Spelling::Binary { opcode, opaque: OPAQUE, detailed: false }
}

/// What an opcode and its quiet form ask.
#[track_caller]
fn asks(opcodes: &[u8], extras: &[u8], key: &[u8], value: &[u8], cas: u64, request: &Request<'_>) {
    for &opcode in opcodes {
        let bytes = frame(opcode, extras, key, value, cas);
        let command = Command { request: request.clone(), spelling: spelling(opcode) };
        let expected = Parsed { frame: Frame::Command(command), head: bytes.len() - value.len() };
        assert_eq!(parse(&bytes, OPEN), expected, "opcode {opcode:#x}");
    }
}

fn refusal(bytes: &[u8], access: Access) -> (Status, usize, bool) {
    match parse(bytes, access) {
        Parsed { frame: Frame::Refused(refused), head } => (refused.status, head + refused.swallow, refused.close),
        parsed => panic!("{} is not refused: {parsed:?}", bytes.escape_ascii()),
    }
}

fn get(touch: Option<i64>, value: bool) -> Request<'static> {
    Request::Get(Get {
        key: Key::plain(b"key"),
        touch,
        counts_as_touch: touch.is_some(),
        vivify: None,
        touch_is_last: false,
        recache: None,
        recache_touched: false,
        may_win: false,
        new_cas: None,
        unless_cas: None,
        value,
        no_bump: false,
    })
}

fn store(mode: StoreMode, compare: Option<u64>, refusal_removes: bool) -> Request<'static> {
    Request::Store(Store {
        key: Key::plain(b"key"),
        mode,
        flags: 0x0102_0304,
        exptime: 0xffff_ffff,
        value_len: 5,
        compare,
        new_cas: None,
        invalidate: false,
        vivify: None,
        refusal_removes,
        counts_when_whole: true,
    })
}

#[test]
fn a_read_carries_its_key_and_what_goes_back() {
    for opcode in [0x00, 0x09, 0x0c, 0x0d] {
        let bytes = frame(opcode, b"", b"a key\0\n", b"", 7);
        let read = Read { key: b"a key\0\n", opcode, opaque: OPAQUE };
        assert_eq!(parse(&bytes, OPEN), Parsed { frame: Frame::Read(read), head: bytes.len() });
    }
    asks(&[0x1c], b"\0\0\0\x09", b"key", b"", 0, &get(Some(9), false));
    asks(&[0x1d, 0x1e, 0x23, 0x24], b"\xff\xff\xff\xff", b"key", b"", 0, &get(Some(0xffff_ffff), true));
}

#[test]
fn with_a_cas_every_kind_of_storing_compares_and_swaps() {
    let extras = b"\x01\x02\x03\x04\xff\xff\xff\xff";
    asks(&[0x01, 0x11], extras, b"key", b"value", 0, &store(StoreMode::Set, None, true));
    asks(&[0x02, 0x12], extras, b"key", b"value", 0, &store(StoreMode::Add, None, false));
    asks(&[0x03, 0x13], extras, b"key", b"value", 0, &store(StoreMode::Replace, None, false));
    asks(&[0x01, 0x11], extras, b"key", b"value", 8, &store(StoreMode::Set, Some(8), true));
    asks(&[0x02, 0x12, 0x03, 0x13], extras, b"key", b"value", 8, &store(StoreMode::Set, Some(8), false));
    for (opcodes, mode) in [([0x0e, 0x19], StoreMode::Append), ([0x0f, 0x1a], StoreMode::Prepend)] {
        let Request::Store(joining) = store(mode, Some(8), false) else { unreachable!() };
        asks(&opcodes, b"", b"key", b"value", 8, &Request::Store(Store { flags: 0, exptime: 0, ..joining }));
    }
}

#[test]
fn arithmetic_creates_unless_its_expiry_forbids_it() {
    let extras = |exptime: u32| [&1_u64.to_be_bytes()[..], &2_u64.to_be_bytes(), &exptime.to_be_bytes()].concat();
    let arith = |decrement, vivify, compare| {
        Request::Arith(Arith {
            key: Key::plain(b"key"),
            decrement,
            delta: 1,
            vivify,
            exptime_is_last: false,
            initial: 2,
            exptime: None,
            compare,
            new_cas: None,
        })
    };
    asks(&[0x05, 0x15], &extras(60), b"key", b"", 0, &arith(false, Some(60), None));
    asks(&[0x05, 0x15], &extras(u32::MAX), b"key", b"", 3, &arith(false, None, Some(3)));
    asks(&[0x06, 0x16], &extras(0), b"key", b"", 0, &arith(true, Some(0), None));
}

#[test]
fn what_needs_no_more_than_a_header_is_asked_by_it() {
    asks(&[0x07, 0x17], b"", b"", b"", 0, &Request::Admin(Admin::Quit));
    asks(&[0x08, 0x18], b"", b"", b"", 0, &Request::Admin(Admin::FlushAll(Some(0))));
    asks(&[0x08, 0x18], b"\0\0\0\x0a", b"", b"", 0, &Request::Admin(Admin::FlushAll(Some(10))));
    asks(&[0x0a], b"", b"", b"", 0, &Request::Noop);
    asks(&[0x0b], b"", b"", b"", 0, &Request::Admin(Admin::Version));
    let delete = |compare| {
        let key = Key::plain(b"key");
        Delete {
            key,
            compare,
            new_cas: None,
            invalidate: false,
            clear: false,
            exptime: None,
            flags: 0,
            mismatch_is_miss: false,
            told_as: None,
        }
    };
    asks(&[0x04, 0x14], b"", b"key", b"", 0, &Request::Delete(delete(None)));
    asks(&[0x04, 0x14], b"", b"key", b"", 5, &Request::Delete(delete(Some(5))));
}

#[test]
fn statistics_match_by_their_beginning_where_memcacheds_do() {
    for (key, words, detail) in [
        (&b""[..], &b""[..], false),
        (b"items", b"items", false),
        (b"slabs", b"slabs", false),
        (b"sizes", b"sizes", false),
        (b"resetXYZ", b"reset", false),
        (b"settings!", b"settings", false),
        (b"detail on", b"detail on", false),
        (b"detail off", b"detail off", false),
        (b"detail dumper", b"detail dump", true),
    ] {
        let bytes = frame(0x10, b"", key, b"", 0);
        let spelling = Spelling::Binary { opcode: 0x10, opaque: OPAQUE, detailed: detail };
        let command = Command { request: Request::Admin(Admin::Stats(words)), spelling };
        assert_eq!(parse(&bytes, OPEN), Parsed { frame: Frame::Command(command), head: bytes.len() });
    }
    for key in [&b"conns"[..], b"cachedump 1 1", b"extstore", b"detail", b"detail x", b"itemsX", b"rese", b"\xff"] {
        let bytes = frame(0x10, b"", key, b"", 0);
        assert_eq!(refusal(&bytes, OPEN), (Status::NotFound, bytes.len(), false), "{}", key.escape_ascii());
    }
}

/// A frame that `row` takes.
fn well_formed(row: &Row, opcode: u8) -> Vec<u8> {
    let (extras, key): (usize, &[u8]) = match row.name {
        "set" | "add" | "replace" => (8, b"key"),
        "increment" | "decrement" => (20, b"key"),
        "touch" | "gat" | "gatk" => (4, b"key"),
        "quit" | "flush" | "noop" | "version" | "stat" | "SASL list mechs" => (0, b""),
        _ => (0, b"key"),
    };
    frame(opcode, &vec![0; extras], key, b"", 0)
}

fn both(row: &Row) -> impl Iterator<Item = u8> {
    [Some(row.opcode), row.quiet].into_iter().flatten()
}

#[test]
fn every_opcode_takes_its_own_shape_and_no_other() {
    for row in ROWS {
        for opcode in both(row) {
            let right = well_formed(row, opcode);
            assert!(!matches!(parse(&right, SASL).frame, Frame::Refused(_)), "{}", row.name);
            let (extras, key, body) = (right[4], u16::from_be_bytes([right[2], right[3]]), right[11]);
            // One byte more or less of extras.
            let mut wrong = vec![(extras + 1, key, u32::from(body) + 1)];
            if extras > 0 {
                wrong.push((extras - 1, key, u32::from(body) - 1));
            }
            // A key where there is none, or none where there has to be one.
            match row.name {
                "stat" => {}
                _ if key == 0 => wrong.push((extras, 1, u32::from(body) + 1)),
                _ => wrong.push((extras, 0, u32::from(extras))),
            }
            // A value where there is none.
            if !matches!(row.name, "set" | "add" | "replace" | "append" | "prepend" | "SASL auth" | "SASL step") {
                wrong.push((extras, key, u32::from(body) + 1));
            }
            for (extras, key, body) in wrong {
                let mut bytes = header(opcode, extras, key, body);
                bytes.resize(bytes.len() + body as usize, 0);
                assert_eq!(refusal(&bytes, SASL), (Status::Invalid, bytes.len(), true), "{} {bytes:?}", row.name);
            }
        }
    }
}

#[test]
fn no_opcode_has_two_meanings_and_the_rest_are_unknown() {
    let mut known: Vec<u8> = ROWS.iter().flat_map(both).collect();
    known.sort_unstable();
    let all = known.len();
    known.dedup();
    assert_eq!(known.len(), all);
    for opcode in (0..=u8::MAX).filter(|opcode| !known.contains(opcode)) {
        let bytes = frame(opcode, b"\0", b"key", b"value", 0);
        assert_eq!(refusal(&bytes, OPEN), (Status::UnknownCommand, bytes.len(), false), "{opcode:#x}");
    }
}

#[test]
fn nothing_is_judged_before_header_extras_and_key_are_there() {
    let bytes = frame(0x05, &[0; 20], b"key", b"", 0);
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length], OPEN), Parsed { frame: Frame::NeedMore, head: 0 }, "{length}");
    }
    let mut short = header(0x05, 20, 3, 0);
    assert_eq!(parse(&short, OPEN).frame, Frame::NeedMore);
    short.resize(24 + 23, 0);
    assert_eq!(refusal(&short, OPEN).0, Status::UnknownCommand);
    // What no read buffer holds is not waited for.
    assert_eq!(refusal(&header(0x00, 0, 20_000, 20_000), OPEN).0, Status::Invalid);
    assert_eq!(parse(b"get k\r\nget k\r\nget k\r\nge", OPEN).frame, Frame::NeedMore);
    assert_eq!(parse(b"get k\r\nget k\r\nget k\r\nget", OPEN).frame, Frame::Close);
}

#[test]
fn the_first_check_that_fails_answers() {
    let with_key = |bytes: Vec<u8>, length: usize| [bytes, vec![b'k'; length]].concat();
    // Key longer than the body, before anything else.
    assert_eq!(refusal(&with_key(header(0xee, 0, 251, 250), 251), LOCKED).0, Status::UnknownCommand);
    assert_eq!(refusal(&with_key(header(0xee, 1, 1, 1), 2), LOCKED).0, Status::UnknownCommand);
    // A body beyond a GiB, before authentication.
    assert_eq!(refusal(&header(0x0b, 0, 0, (1 << 30) + 1), LOCKED), (Status::Invalid, 24 + (1 << 30) + 1, true));
    // Authentication, before the key.
    assert_eq!(refusal(&with_key(header(0x00, 0, 251, 251), 251), LOCKED), (Status::Auth, 24 + 251, true));
    assert_eq!(refusal(&header(0xee, 0, 0, 0), LOCKED).0, Status::Auth);
    // The key, before the opcode.
    assert_eq!(refusal(&with_key(header(0xee, 0, 251, 251), 251), OPEN), (Status::Invalid, 24 + 251, true));
    // SASL's shape, before it is found to be off.
    assert_eq!(refusal(&header(0x21, 0, 0, 0), OPEN).0, Status::Invalid);
    assert_eq!(refusal(&frame(0x21, b"", b"PLAIN", b"xyz", 0), OPEN), (Status::UnknownCommand, 32, false));
}

#[test]
fn before_authentication_only_sasl_and_version_are_to_be_had() {
    for row in ROWS {
        for opcode in both(row) {
            let bytes = well_formed(row, opcode);
            let free = row.name.starts_with("SASL") || row.name == "version";
            match parse(&bytes, LOCKED).frame {
                Frame::Refused(Refused { status: Status::Auth, close: true, .. }) => assert!(!free, "{}", row.name),
                frame => assert!(free, "{}: {frame:?}", row.name),
            }
        }
    }
}

#[test]
fn sasl_comes_whole_or_not_at_all() {
    let bytes = frame(0x21, b"", b"PLAIN", b"\0ann\0secret", 0);
    for length in 24..bytes.len() {
        assert_eq!(parse(&bytes[..length], LOCKED).frame, Frame::NeedMore);
    }
    let auth = Auth::Start { mechanism: b"PLAIN", data: b"\0ann\0secret" };
    assert_eq!(parse(&bytes, LOCKED), Parsed { frame: Frame::Auth(auth, spelling(0x21)), head: bytes.len() });
    let step = frame(0x22, b"", b"PLAIN", b"x", 0);
    assert_eq!(parse(&step, LOCKED).frame, Frame::Auth(Auth::Step { data: b"x" }, spelling(0x22)));
    assert_eq!(parse(&header(0x20, 0, 0, 0), LOCKED).frame, Frame::Auth(Auth::Mechanisms, spelling(0x20)));
    let long_name = frame(0x21, b"", &[b'm'; 33], b"data", 0);
    assert_eq!(refusal(&long_name, LOCKED), (Status::Invalid, long_name.len(), false));
    let mut overlong = header(0x21, 0, 5, 5 + AUTH_DATA_MAX as u32 + 1);
    overlong.extend(b"PLAIN");
    let expected = Frame::Auth(Auth::Overlong { len: AUTH_DATA_MAX + 1 }, spelling(0x21));
    assert_eq!(parse(&overlong, LOCKED), Parsed { frame: expected, head: overlong.len() });
}

#[test]
fn a_password_is_not_part_of_what_can_be_printed() {
    let printed = format!("{:?}", parse(&frame(0x21, b"", b"PLAIN", b"\0ann\0secret", 0), LOCKED));
    assert!(!printed.contains("secret") && !printed.contains("115, 101, 99"), "{printed}");
}

fn spelled(opcode: u8, reply: &Reply<'_>) -> (Vec<u8>, Body) {
    let mut out = Vec::new();
    let body = encode(&mut out, &spelling(opcode), Key::plain(b"key"), reply);
    (out, body)
}

/// A response of these parts.
fn response(opcode: u8, status: u16, extras: &[u8], key: &[u8], value: &[u8], cas: u64) -> Vec<u8> {
    let mut bytes = frame(opcode, extras, key, value, cas);
    bytes[0] = RESPONSE_MAGIC;
    bytes[5] = 0;
    bytes[6..8].copy_from_slice(&status.to_be_bytes());
    bytes
}

#[test]
fn every_error_has_its_status_and_text_quiet_or_not() {
    let not_found = Reply::NotFound(Written::default());
    let not_stored = Reply::NotStored(Written::default());
    let exists = Reply::Exists(Written::default());
    let cases: &[(&[u8], &Reply<'_>, u16, &str)] = &[
        (&[0x03, 0x13, 0x04, 0x14, 0x05, 0x15, 0x16], &not_found, 0x01, "Not found"),
        (&[0x00, 0x1c, 0x1d], &Reply::Miss, 0x01, "Not found"),
        (&[0x01, 0x11, 0x14, 0x19], &exists, 0x02, "Data exists for key."),
        (&[0x02, 0x12], &not_stored, 0x02, "Data exists for key."),
        (&[0x03, 0x13], &not_stored, 0x01, "Not found"),
        (&[0x0e, 0x19, 0x0f, 0x1a], &not_stored, 0x05, "Not stored."),
        (&[0x01, 0x11], &Reply::Error(Error::TOO_LARGE), 0x03, "Too large."),
        (&[0x01, 0x11], &Reply::Error(Error::NO_MEMORY_TO_STORE), 0x82, "Out of memory allocating item"),
        (&[0x05, 0x15], &Reply::Error(Error::NO_MEMORY_TO_REWRITE), 0x82, "Out of memory incrementing value"),
        (&[0x05, 0x15], &Reply::Error(Error::NO_MEMORY_TO_CREATE), 0x82, "Out of memory allocating new item"),
        (&[0x05, 0x16], &Reply::Error(Error::NOT_A_NUMBER), 0x06, "Non-numeric server-side value for incr or decr"),
        (&[0x08, 0x18], &Reply::Error(Error::FLUSH_FORBIDDEN), 0x20, "Auth failure."),
        (&[0x21, 0x22], &Reply::Error(Error::NOT_AUTHENTICATED), 0x20, "Auth failure."),
        (&[0x21], &Reply::Challenge, 0x21, ""),
        (&[0x10], &Reply::Error(Error::Unknown), 0x01, "Not found"),
    ];
    for (opcodes, reply, status, text) in cases {
        for &opcode in *opcodes {
            let expected = response(opcode, *status, b"", b"", text.as_bytes(), 0);
            assert_eq!(spelled(opcode, reply), (expected, Body::None), "{opcode:#x} {reply:?}");
        }
    }
}

#[test]
fn quiet_opcodes_keep_back_success_but_not_hits() {
    let hit = Reply::Hit(Hit { size: 3, flags: 0x0102_0304, cas: 9, value: true, ..Hit::default() });
    for opcode in [0x1d, 0x1e] {
        let mut expected = response(opcode, 0, b"\x01\x02\x03\x04", b"", b"abc", 9);
        expected.truncate(expected.len() - 3);
        assert_eq!(spelled(opcode, &hit), (expected, Body::Bare));
    }
    for opcode in [0x23, 0x24] {
        let mut expected = response(opcode, 0, b"\x01\x02\x03\x04", b"key", b"abc", 9);
        expected.truncate(expected.len() - 3);
        assert_eq!(spelled(opcode, &hit), (expected, Body::Bare));
    }
    let touched = Reply::Hit(Hit { flags: 5, cas: 9, ..Hit::default() });
    assert_eq!(spelled(0x1c, &touched), (response(0x1c, 0, b"\0\0\0\x05", b"", b"", 9), Body::None));
    assert_eq!(spelled(0x23, &Reply::Miss), (response(0x23, 1, b"", b"key", b"", 0), Body::None));
    let number = Reply::Hit(Hit { number: Some(258), cas: 4, value: true, ..Hit::default() });
    assert_eq!(spelled(0x05, &number), (response(0x05, 0, b"", b"", b"\0\0\0\0\0\0\x01\x02", 4), Body::None));
    let stored = Reply::Stored(Written { cas: 6, size: 1 });
    assert_eq!(spelled(0x01, &stored), (response(0x01, 0, b"", b"", b"", 6), Body::None));
    for (opcode, reply) in [(0x04, Reply::Deleted), (0x08, Reply::Ok), (0x0a, Reply::Noop), (0x07, Reply::Nothing)] {
        assert_eq!(spelled(opcode, &reply), (response(opcode, 0, b"", b"", b"", 0), Body::None));
    }
    assert_eq!(spelled(0x0b, &Reply::Version).0, response(0x0b, 0, b"", b"", b"1.6.45", 0));
    assert_eq!(spelled(0x20, &Reply::Mechanisms).0, response(0x20, 0, b"", b"", b"PLAIN", 0));
    assert_eq!(spelled(0x21, &Reply::Authenticated).0, response(0x21, 0, b"", b"", b"Authenticated", 0));
    for (opcode, reply) in [
        (0x11, stored),
        (0x14, Reply::Deleted),
        (0x15, number),
        (0x17, Reply::Nothing),
        (0x18, Reply::Ok),
        (0x1e, Reply::Miss),
        (0x24, Reply::Miss),
    ] {
        assert_eq!(spelled(opcode, &reply), (Vec::new(), Body::None), "{opcode:#x}");
    }
}

#[test]
fn a_plain_read_is_answered_like_any_other() {
    for (opcode, key) in [(0x00, &b""[..]), (0x09, b""), (0x0c, b"key"), (0x0d, b"key")] {
        let read = Read { key: b"key", opcode, opaque: OPAQUE };
        let (mut hit, mut miss) = (Vec::new(), Vec::new());
        push_hit(&mut hit, &read, 7, 2, 3);
        let expected = response(opcode, 0, b"\0\0\0\x07", key, b"ab", 3);
        assert_eq!(hit, expected[..expected.len() - 2]);
        push_miss(&mut miss, &read);
        assert_eq!(miss, if opcode & 1 == 1 { Vec::new() } else { spelled(opcode, &Reply::Miss).0 });
    }
}

#[test]
fn a_statistic_is_a_response_and_an_empty_one_ends_them() {
    let reply = Reply::Lines(b"STAT pid 7\r\nSTAT empty \r\nSTAT a b c\r\nEND\r\n");
    let expected = [
        response(0x10, 0, b"", b"pid", b"7", 0),
        response(0x10, 0, b"", b"empty", b"", 0),
        response(0x10, 0, b"", b"a", b"b c", 0),
        response(0x10, 0, b"", b"", b"", 0),
    ];
    assert_eq!(spelled(0x10, &reply).0, expected.concat());
    let mut out = Vec::new();
    let dump = b"PREFIX a get 1 hit 1 set 0 del 0\r\nEND\r\n";
    let spelling = Spelling::Binary { opcode: 0x10, opaque: OPAQUE, detailed: true };
    assert_eq!(encode(&mut out, &spelling, Key::NONE, &Reply::Lines(dump)), Body::None);
    let expected = [response(0x10, 0, b"", b"detailed", dump, 0), response(0x10, 0, b"", b"", b"", 0)];
    assert_eq!(out, expected.concat());
}
