//! The meta commands as section 5 has them: what a line asks, and how each reply is spelled.

use crate::protocol::command::{Command, ParseOptions, Parsed, Refused, Scratch, Spelling, parse};
use crate::protocol::encode::{Body, encode};
use crate::protocol::reply::{Error, Hit, Inspected, Reply, Written};
use crate::protocol::request::{Arith, Delete, Get, Key, Request, Store, StoreMode};

/// Parses `line` and shows the command to `look`.
fn with_command<R>(line: &[u8], look: impl FnOnce(Command<'_>) -> R) -> R {
    let mut room = [0; 200];
    match parse(line, &mut Scratch::new(&mut room), ParseOptions::default()) {
        Parsed::Command(command) => look(command),
        parsed => panic!("{} became {parsed:?}", line.escape_ascii()),
    }
}

/// The error that `line` draws, and what is swallowed behind it.
fn refused(line: &[u8]) -> (String, usize) {
    let mut room = [0; 200];
    match parse(line, &mut Scratch::new(&mut room), ParseOptions::default()) {
        Parsed::Refused(Refused { error, swallow, noreply: false }) => (error.to_string(), swallow),
        parsed => panic!("{} became {parsed:?}", line.escape_ascii()),
    }
}

/// Parses `line` and answers it with `reply`.
fn answered(line: &[u8], reply: &Reply<'_>) -> String {
    with_command(line, |command| {
        let mut out = Vec::new();
        let body = encode(&mut out, &command.spelling, command.request.key(), reply);
        if body == Body::Value {
            out.extend_from_slice(b"<value>");
        }
        String::from_utf8(out).unwrap()
    })
}

fn plain_get(key: Key<'_>) -> Get<'_> {
    Get {
        key,
        touch: None,
        counts_as_touch: false,
        vivify: None,
        touch_is_last: false,
        recache: None,
        recache_touched: false,
        may_win: true,
        new_cas: None,
        unless_cas: None,
        value: false,
        no_bump: false,
    }
}

fn plain_set(key: Key<'_>) -> Store<'_> {
    Store {
        key,
        mode: StoreMode::Set,
        flags: 0,
        exptime: 0,
        value_len: 2,
        compare: None,
        new_cas: None,
        invalidate: false,
        vivify: None,
        refusal_removes: true,
        counts_when_whole: false,
    }
}

fn plain_delete(key: Key<'_>) -> Delete<'_> {
    Delete {
        key,
        compare: None,
        new_cas: None,
        invalidate: false,
        clear: false,
        exptime: None,
        flags: 0,
        told_as: Some("md"),
        mismatch_is_miss: true,
    }
}

fn plain_arith(key: Key<'_>) -> Arith<'_> {
    Arith {
        key,
        decrement: false,
        delta: 1,
        vivify: None,
        exptime_is_last: false,
        initial: 0,
        exptime: None,
        compare: None,
        new_cas: None,
    }
}

#[test]
fn mg_asks_for_what_its_flags_say() {
    let foo = Key::plain(b"foo");
    for (line, expected) in [
        (&b"mg foo\r"[..], plain_get(foo)),
        (b"mg foo v", Get { value: true, ..plain_get(foo) }),
        (b"mg  foo  s  v ", Get { value: true, ..plain_get(foo) }),
        (b"mg foo s c t f l h k q Oabc u", Get { no_bump: true, ..plain_get(foo) }),
        (b"mg foo T30 C7", Get { touch: Some(30), unless_cas: Some(7), ..plain_get(foo) }),
        (b"mg foo N30 E0 R-5", Get { vivify: Some(30), new_cas: Some(0), recache: Some(-5), ..plain_get(foo) }),
        (b"mg foo T60 N30", Get { touch: Some(60), vivify: Some(30), ..plain_get(foo) }),
        (b"mg foo N30 T60", Get { touch: Some(60), vivify: Some(30), touch_is_last: true, ..plain_get(foo) }),
        (b"mg foo I x D5 J6 F7 Mwhat", plain_get(foo)),
        (b"mg Zm9v b", plain_get(Key::decoded(b"foo"))),
    ] {
        with_command(line, |command| {
            assert_eq!(command.request, Request::Get(expected), "{}", line.escape_ascii());
        });
    }
}

#[test]
fn ms_asks_for_what_its_flags_say() {
    let foo = Key::plain(b"foo");
    let mode = |mode| Store { mode, ..plain_set(foo) };
    for (line, expected) in [
        (&b"ms foo 2\r"[..], plain_set(foo)),
        (b"ms foo 2 T-1 F4294967295", Store { exptime: -1, flags: u32::MAX, ..plain_set(foo) }),
        (b"ms foo 2 MS", plain_set(foo)),
        (b"ms foo 2 ME", mode(StoreMode::Add)),
        (b"ms foo 2 MR", mode(StoreMode::Replace)),
        (b"ms foo 2 MAppend", mode(StoreMode::Append)),
        (b"ms foo 2 MP", mode(StoreMode::Prepend)),
        (b"ms foo 2 C7", Store { compare: Some(7), ..plain_set(foo) }),
        (b"ms foo 2 C0", Store { compare: Some(0), ..plain_set(foo) }),
        (b"ms foo 2 C7 ME", mode(StoreMode::Add)),
        (b"ms foo 2 C7 MA", Store { compare: Some(7), ..mode(StoreMode::Append) }),
        (b"ms foo 2 C0 MA", mode(StoreMode::Append)),
        (b"ms foo 2 C7 I", Store { compare: Some(7), invalidate: true, ..plain_set(foo) }),
        (b"ms foo 2 C7 I MR", Store { compare: Some(7), invalidate: true, ..mode(StoreMode::Replace) }),
        (b"ms foo 2 I", plain_set(foo)),
        (b"ms foo 2 C7 I MA", Store { compare: Some(7), ..mode(StoreMode::Append) }),
        (b"ms foo 2 C7 I ME", mode(StoreMode::Add)),
        (b"ms foo 2 E5", Store { new_cas: Some(5), ..plain_set(foo) }),
        (b"ms foo 2 E0", plain_set(foo)),
        (b"ms foo 2 N30", plain_set(foo)),
        (b"ms foo 2 N30 T5 MA", Store { vivify: Some(30), exptime: 5, ..mode(StoreMode::Append) }),
        (b"ms Zm9v 2 b", plain_set(Key::decoded(b"foo"))),
    ] {
        with_command(line, |command| {
            assert_eq!(command.request, Request::Store(expected), "{}", line.escape_ascii());
        });
    }
}

#[test]
fn md_asks_for_what_its_flags_say() {
    let foo = Key::plain(b"foo");
    for (line, expected) in [
        (&b"md foo"[..], plain_delete(foo)),
        (b"md foo T30 E5 F6 q", plain_delete(foo)),
        (b"md foo C0", Delete { compare: Some(0), ..plain_delete(foo) }),
        (b"md foo I T30 E0 F6", Delete { invalidate: true, exptime: Some(30), new_cas: Some(0), ..plain_delete(foo) }),
        (b"md foo x F6", Delete { clear: true, flags: 6, ..plain_delete(foo) }),
        (b"md foo x I T5", Delete { clear: true, invalidate: true, exptime: Some(5), ..plain_delete(foo) }),
        (b"md Zm9v b", plain_delete(Key::decoded(b"foo"))),
    ] {
        with_command(line, |command| {
            assert_eq!(command.request, Request::Delete(expected), "{}", line.escape_ascii());
        });
    }
}

#[test]
fn ma_asks_for_what_its_flags_say() {
    let foo = Key::plain(b"foo");
    for (line, expected) in [
        (&b"ma foo"[..], plain_arith(foo)),
        (b"ma foo D5", Arith { delta: 5, ..plain_arith(foo) }),
        (b"ma foo MI", plain_arith(foo)),
        (b"ma foo M+", plain_arith(foo)),
        (b"ma foo MD", Arith { decrement: true, ..plain_arith(foo) }),
        (b"ma foo M-", Arith { decrement: true, ..plain_arith(foo) }),
        (
            b"ma foo N30 J7 T60",
            Arith { vivify: Some(30), exptime_is_last: true, initial: 7, exptime: Some(60), ..plain_arith(foo) },
        ),
        (b"ma foo C0 E5", Arith { new_cas: Some(5), ..plain_arith(foo) }),
        (b"ma foo C7", Arith { compare: Some(7), ..plain_arith(foo) }),
    ] {
        with_command(line, |command| {
            assert_eq!(command.request, Request::Arith(expected), "{}", line.escape_ascii());
        });
    }
}

#[test]
fn me_needs_a_third_word_to_decode() {
    for (line, expected) in [
        (&b"me Zm9v"[..], Key::plain(b"Zm9v")),
        (b"me Zm9v b", Key::plain(b"Zm9v")),
        (b"me Zm9v bx x", Key::plain(b"Zm9v")),
        (b"me Zm9v b x", Key::decoded(b"foo")),
        (b"me foo !", Key::plain(b"foo")),
    ] {
        with_command(line, |command| assert_eq!(command.request, Request::Inspect(expected)));
    }
    with_command(b"mn x y !", |command| assert_eq!(command.request, Request::Noop));
    with_command(b"mn\r", |command| assert_eq!(command.request, Request::Noop));
}

#[test]
fn refusals_say_and_swallow_as_memcached_does() {
    let bad = "CLIENT_ERROR bad command line format";
    let long_key = "k".repeat(251);
    let long_opaque = format!("O{}", "o".repeat(32));
    for (line, error, swallow) in [
        ("mg\r", bad, 0),
        ("md\r", bad, 0),
        ("ma ", bad, 0),
        ("me \r", bad, 0),
        ("ms ", bad, 0),
        ("ms k", bad, 0),
        ("ms k S100", bad, 0),
        ("ms k -1", bad, 0),
        ("ms k 2147483646", bad, 0),
        ("mg k !", bad, 0),
        ("ms k 2 !", bad, 0),
        ("ma k !", bad, 0),
        ("ms k 2 k k !", bad, 0),
        ("ms k 2 Y", "CLIENT_ERROR invalid flag", 4),
        ("ms k 2 1", "CLIENT_ERROR invalid flag", 4),
        ("ms k 2 T", "CLIENT_ERROR bad token in command line format", 4),
        ("ms k 2 k k q", "CLIENT_ERROR duplicate flag", 4),
        ("ms k 2147483645 k k", "CLIENT_ERROR duplicate flag", 2_147_483_647),
        ("ms k 2 Mx", "CLIENT_ERROR invalid mode for ms M token", 4),
        ("ms k 2 M", "CLIENT_ERROR invalid mode for ms M token", 4),
        ("ms k 2 Me", "CLIENT_ERROR invalid mode for ms M token", 4),
        ("ms foo 2 b", "CLIENT_ERROR error decoding key", 4),
        ("mg foo b", "CLIENT_ERROR error decoding key", 0),
        ("md k F-1", bad, 0),
        ("ma k Mx", "CLIENT_ERROR invalid mode for ma M token", 0),
        ("ma k Mdecr", "CLIENT_ERROR invalid mode for ma M token", 0),
        ("ma k M", "CLIENT_ERROR invalid mode for ma M token", 0),
        ("ma k k k", "CLIENT_ERROR invalid or duplicate flag", 0),
        ("ma k Dx", "CLIENT_ERROR invalid or duplicate flag", 0),
        ("ma foo b", "CLIENT_ERROR invalid or duplicate flag", 0),
        ("me Zm9 b x", bad, 0),
    ] {
        assert_eq!(refused(line.as_bytes()), (error.into(), swallow), "{line}");
    }
    for (line, error, swallow) in [
        (format!("mg {long_key}"), bad, 0),
        (format!("mg {long_key} b"), bad, 0),
        (format!("ms {long_key} 2 k k"), bad, 4),
        (format!("ma {long_key}"), "CLIENT_ERROR invalid or duplicate flag", 0),
        (format!("me {long_key}"), bad, 0),
        (format!("mg k {long_opaque}"), "CLIENT_ERROR opaque token too long", 0),
        (format!("md k q {long_opaque}"), "CLIENT_ERROR opaque token too long", 0),
        (format!("ma k {long_opaque}"), "CLIENT_ERROR opaque token too long", 0),
        (format!("ms k 2 {long_opaque}"), "CLIENT_ERROR opaque token too long", 4),
        (format!("mg k{}", " k".repeat(19)), "CLIENT_ERROR options flags are too long", 0),
        (format!("ms k 2{}", " k".repeat(18)), "CLIENT_ERROR options flags are too long", 4),
        (format!("ms k 2{}", " k".repeat(17)), "CLIENT_ERROR duplicate flag", 4),
        (format!("ma k{}", " k".repeat(19)), "CLIENT_ERROR invalid or duplicate flag", 0),
    ] {
        assert_eq!(refused(line.as_bytes()), (error.into(), swallow), "{line}");
    }
}

fn hit() -> Hit {
    Hit {
        size: 5,
        flags: 6,
        cas: 7,
        ttl_before: 10,
        ttl_after: 60,
        idle: 3,
        fetched: true,
        value: false,
        ..Hit::default()
    }
}

#[test]
fn mg_returns_flags_in_the_clients_order() {
    let plain = Reply::Hit(hit());
    let valued = Reply::Hit(Hit { value: true, ..hit() });
    for (line, expected) in [
        (&b"mg foo"[..], "HD\r\n"),
        (b"mg foo q", "HD\r\n"),
        (b"mg foo s c t f l h k Oabc", "HD s5 c7 t10 f6 l3 h1 kfoo Oabc\r\n"),
        (b"mg foo Oabc k h  l f t c s ", "HD Oabc kfoo h1 l3 f6 t10 c7 s5\r\n"),
        (b"mg foo O t1 kx s9", "HD O t10 kfoo s5\r\n"),
        (b"mg foo t T60", "HD t10\r\n"),
        (b"mg foo T60 t", "HD t60\r\n"),
        (b"mg foo N60 t", "HD t10\r\n"),
        (b"mg foo u E1 R1 C1 I x D1 J1 F1 M P L", "HD\r\n"),
        (b"mg Zm9v k b", "HD kfoo\r\n"),
    ] {
        assert_eq!(answered(line, &plain), expected, "{}", line.escape_ascii());
    }
    assert_eq!(answered(b"mg foo v", &valued), "VA 5\r\n<value>");
    assert_eq!(answered(b"mg foo q v k s", &valued), "VA 5 kfoo s5\r\n<value>");
    assert_eq!(answered(b"mg foo v C7 f", &plain), "HD f6\r\n");
    let base64 = Reply::Hit(Hit { base64_key: true, ..hit() });
    assert_eq!(answered(b"mg foo k Ox", &base64), "HD kZm9v b Ox\r\n");
    assert_eq!(answered(b"mg Zm9v b k", &base64), "HD kZm9v b\r\n");
}

#[test]
fn marks_come_last_and_in_their_order() {
    for (won, token_sent, stale, expected) in [
        (true, false, false, "HD s5 W\r\n"),
        (false, true, false, "HD s5 Z\r\n"),
        (true, false, true, "HD s5 X W\r\n"),
        (false, true, true, "HD s5 Z X\r\n"),
    ] {
        let hit = Hit { won, token_sent, stale, ..hit() };
        assert_eq!(answered(b"mg foo s", &Reply::Hit(hit)), expected);
    }
}

#[test]
fn t_before_n_is_minus_one_on_an_item_that_n_made() {
    let made = Reply::Hit(Hit { created: true, won: true, ttl_before: 60, ttl_after: 90, ttl_created: 60, ..hit() });
    assert_eq!(answered(b"mg foo t N60", &made), "HD t-1 W\r\n");
    assert_eq!(answered(b"mg foo N60 t", &made), "HD t60 W\r\n");
    assert_eq!(answered(b"mg foo T90 t N60", &made), "HD t90 W\r\n");
    let counted = Reply::Hit(Hit { created: true, number: Some(0), ttl_created: 60, ..hit() });
    assert_eq!(answered(b"ma foo t N60", &counted), "HD t-1\r\n");
    assert_eq!(answered(b"ma foo N60 t", &counted), "HD t60\r\n");
}

#[test]
fn a_miss_returns_opaque_and_key() {
    let miss = &Reply::Miss;
    assert_eq!(answered(b"mg foo v s t", miss), "EN\r\n");
    assert_eq!(answered(b"mg foo v Oabc k", miss), "EN Oabc kfoo\r\n");
    assert_eq!(answered(b"mg Z!m9v k b Oabc", miss), "EN kZm9v b Oabc\r\n");
    assert_eq!(answered(b"mg foo q k", miss), "");
    assert_eq!(answered(b"me foo", miss), "EN\r\n");
}

#[test]
fn ms_returns_what_was_written() {
    let written = Written { cas: 7, size: 5 };
    for (line, reply, expected) in [
        (&b"ms foo 2"[..], Reply::Stored(written), "HD\r\n"),
        (b"ms foo 2 k Oabc c s t f T1", Reply::Stored(written), "HD kfoo Oabc c7 s5\r\n"),
        (b"ms Zm9v 2 s k b", Reply::Stored(written), "HD s5 kZm9v b\r\n"),
        (b"ms foo 2 q k", Reply::Stored(written), ""),
        (b"ms foo 2 q s", Reply::NotStored(Written { cas: 0, size: 2 }), "NS s2\r\n"),
        (b"ms foo 2 c", Reply::Exists(Written { cas: 0, size: 2 }), "EX c0\r\n"),
        (b"ms foo 2 q Ox", Reply::NotFound(written), "NF Ox\r\n"),
        (b"ms foo 2 q", Reply::Error(Error::BAD_DATA_CHUNK), "CLIENT_ERROR bad data chunk\r\n"),
    ] {
        assert_eq!(answered(line, &reply), expected, "{}", line.escape_ascii());
    }
}

#[test]
fn md_returns_opaque_and_key_with_every_code() {
    let written = Written { cas: 7, size: 5 };
    for (line, reply, expected) in [
        (&b"md foo k c s Oabc"[..], Reply::Deleted, "HD kfoo Oabc\r\n"),
        (b"md foo q k", Reply::Deleted, ""),
        (b"md foo x c", Reply::Stored(written), "HD\r\n"),
        (b"md foo q k", Reply::NotFound(written), "NF kfoo\r\n"),
        (b"md foo q k s", Reply::Exists(written), "EX kfoo\r\n"),
        (b"md foo k", Reply::NotStored(written), "NS kfoo\r\n"),
        (b"md foo q", Reply::Error(Error::Server("out of memory")), "SERVER_ERROR out of memory\r\n"),
    ] {
        assert_eq!(answered(line, &reply), expected, "{}", line.escape_ascii());
    }
}

#[test]
fn ma_returns_the_number_with_v() {
    let counted = Reply::Hit(Hit { number: Some(42), ..hit() });
    let written = Written::default();
    for (line, reply, expected) in [
        (&b"ma foo"[..], &counted, "HD\r\n"),
        (b"ma foo v", &counted, "VA 2\r\n42\r\n"),
        (b"ma foo v t c k Oabc s f h l", &counted, "VA 2 t10 c7 kfoo Oabc\r\n42\r\n"),
        (b"ma foo T60 t", &counted, "HD t60\r\n"),
        (b"ma Zm9v b k", &counted, "HD kZm9v b\r\n"),
        (b"ma foo q v k", &counted, ""),
        (b"ma foo q v k t c Ox", &Reply::NotFound(written), "NF kfoo Ox\r\n"),
        (b"ma foo q k c", &Reply::Exists(written), "EX kfoo\r\n"),
        (b"ma foo k", &Reply::NotStored(written), "NS kfoo\r\n"),
        (b"ma foo", &Reply::Miss, "NF\r\n"),
    ] {
        assert_eq!(answered(line, reply), expected, "{}", line.escape_ascii());
    }
}

#[test]
fn me_tells_everything_and_mn_is_mn() {
    let item = Inspected { ttl: -1, idle: 3, cas: 9, fetched: false, class: 1, size: 63, base64_key: false };
    let line = "ME foo exp=-1 la=3 cas=9 fetch=no cls=1 size=63\r\n";
    assert_eq!(answered(b"me foo", &Reply::Inspected(item)), line);
    let line = "ME Zm9v exp=10 la=3 cas=9 fetch=yes cls=1 size=63\r\n";
    let item = Inspected { ttl: 10, fetched: true, base64_key: true, ..item };
    assert_eq!(answered(b"me foo", &Reply::Inspected(item)), line);
    assert_eq!(answered(b"mn\r", &Reply::Noop), "MN\r\n");
}

#[test]
fn the_spelling_keeps_the_flags_as_written() {
    with_command(b"mg foo  v  Oabc q \r", |command| match command.spelling {
        Spelling::Meta { flags, quiet, value, .. } => {
            assert_eq!(flags, b"v  Oabc q ");
            assert!(quiet && value);
        }
        spelling => panic!("{spelling:?}"),
    });
}
