//! The classic commands as sections 2 to 4 have them, line by line.

use crate::protocol::command::{KeyList, ParseOptions, Parsed, Reading, Scratch, Spelling, parse};
use crate::protocol::encode::{Body, encode};
use crate::protocol::reply::{Error, Hit, Reply, Written};
use crate::protocol::request::{Admin, Key, Request, ShutdownMode, Store, StoreMode};

/// What became of a line, shortly.
#[derive(Debug, PartialEq)]
enum Outcome<'a> {
    /// A request; whether its one-line replies are suppressed.
    Asked(Request<'a>, bool),
    Keys(KeyList<'a>),
    /// An error, how much is swallowed, whether it is suppressed.
    Refused(String, usize, bool),
    Close,
}

fn outcome(line: &[u8], options: ParseOptions) -> Outcome<'_> {
    match parse(line, &mut Scratch::new(&mut []), options) {
        Parsed::Command(command) => match command.spelling {
            Spelling::Text { noreply, with_cas: false } => Outcome::Asked(command.request, noreply),
            spelling => panic!("{spelling:?}"),
        },
        Parsed::Keys(list) => Outcome::Keys(list),
        Parsed::Refused(refused) => Outcome::Refused(refused.error.to_string(), refused.swallow, refused.noreply),
        Parsed::Close => Outcome::Close,
    }
}

fn ask(line: &[u8]) -> Outcome<'_> {
    outcome(line, ParseOptions { debug_commands: false })
}

fn bad_format(swallow: usize, noreply: bool) -> Outcome<'static> {
    Outcome::Refused("CLIENT_ERROR bad command line format".into(), swallow, noreply)
}

fn refused(line: &'static str, noreply: bool) -> Outcome<'static> {
    Outcome::Refused(line.into(), 0, noreply)
}

fn check<'a>(table: impl IntoIterator<Item = (&'a [u8], Outcome<'a>)>) {
    for (line, expected) in table {
        assert_eq!(ask(line), expected, "{}", line.escape_ascii());
    }
}

fn plain_set(key: &[u8]) -> Store<'_> {
    Store {
        key: Key::plain(key),
        mode: StoreMode::Set,
        flags: 0,
        exptime: 0,
        value_len: 1,
        compare: None,
        new_cas: None,
        invalidate: false,
        vivify: None,
        refusal_removes: true,
        counts_when_whole: false,
    }
}

#[test]
fn lines_shorter_than_four_bytes_are_badly_formatted() {
    check([
        (&b""[..], bad_format(0, false)),
        (b"\r", bad_format(0, false)),
        (b"x\r", bad_format(0, false)),
        (b"mn", bad_format(0, false)),
        (b"xy\r", refused("ERROR", false)),
        (b"xyz", refused("ERROR", false)),
        (b"get", bad_format(0, false)),
    ]);
}

#[test]
fn unknown_commands_are_errors_and_noreply_hides_even_those() {
    check([
        (&b"bogus"[..], refused("ERROR", false)),
        (b"bogus noreply", refused("ERROR", true)),
        (b"bogus noreply x", refused("ERROR", false)),
        (b"GET k", refused("ERROR", false)),
        (b"get\tk", refused("ERROR", false)),
        (b"get\0 k", refused("ERROR", false)),
        (b"  get k", refused("ERROR", false)),
        (b"a_name_longer_than_any", refused("ERROR", false)),
        (b"misbehave", refused("ERROR", false)),
        (b"debugtime 5", refused("ERROR", false)),
        (b"GET / HTTP/1.1\r", Outcome::Close),
        (b"POST /x y HTTP/1.0", Outcome::Close),
        (b"GET / HTTP/1.1 x", refused("ERROR", false)),
    ]);
}

#[test]
fn only_the_first_23_words_can_be_noreply() {
    let mut line = b"bogus".to_vec();
    line.extend_from_slice(&b" x".repeat(21));
    line.extend_from_slice(b" noreply");
    assert_eq!(ask(&line), refused("ERROR", true));
    line.extend_from_slice(b" x");
    assert_eq!(ask(&line), refused("ERROR", true));
    let line = [&b"bogus"[..], &b" x".repeat(22), b" noreply"].concat();
    assert_eq!(ask(&line), refused("ERROR", false));
}

#[test]
fn storage_lines_become_stores() {
    let asked = |store, noreply| Outcome::Asked(Request::Store(store), noreply);
    check([
        (&b"set k 0 0 1\r"[..], asked(plain_set(b"k"), false)),
        (b"set  k 0  0 1  ", asked(plain_set(b"k"), false)),
        (b"set k 0 0 1 noreply", asked(plain_set(b"k"), true)),
        (b"set k 0 0 1 2 3", asked(plain_set(b"k"), false)),
        (b"set k 0 0 1 2 noreply", asked(plain_set(b"k"), true)),
        (b"set k 0 0 1 noreply 2", asked(plain_set(b"k"), false)),
        (b"set noreply 0 0 1", asked(plain_set(b"noreply"), false)),
        (b"set \0\xff\t 0 0 1", asked(plain_set(b"\0\xff\t"), false)),
        (b"set k 4294967301 4294967296 1", asked(Store { flags: 5, ..plain_set(b"k") }, false)),
        (
            b"set k +5 -1 2147483645",
            asked(Store { flags: 5, exptime: -1, value_len: 2_147_483_645, ..plain_set(b"k") }, false),
        ),
        (b"set k 0 2147483648 -", asked(Store { exptime: -2_147_483_648, value_len: 0, ..plain_set(b"k") }, false)),
        (b"add k 0 0 1", asked(Store { mode: StoreMode::Add, refusal_removes: false, ..plain_set(b"k") }, false)),
        (
            b"replace k 0 0 1",
            asked(Store { mode: StoreMode::Replace, refusal_removes: false, ..plain_set(b"k") }, false),
        ),
        (b"append k 0 0 1", asked(Store { mode: StoreMode::Append, refusal_removes: false, ..plain_set(b"k") }, false)),
        (
            b"prepend k 0 0 1",
            asked(Store { mode: StoreMode::Prepend, refusal_removes: false, ..plain_set(b"k") }, false),
        ),
        (b"cas k 0 0 1 7", asked(Store { compare: Some(7), refusal_removes: false, ..plain_set(b"k") }, false)),
        (b"cas k 0 0 1 0 noreply", asked(Store { compare: Some(0), refusal_removes: false, ..plain_set(b"k") }, true)),
        (
            b"cas k 0 0 1 18446744073709551615 x",
            asked(Store { compare: Some(u64::MAX), refusal_removes: false, ..plain_set(b"k") }, false),
        ),
    ]);
    let longest = [b'k'; 250];
    let line = [&b"set "[..], &longest, b" 0 0 1"].concat();
    assert_eq!(ask(&line), asked(plain_set(&longest), false));
}

#[test]
fn refused_storage_lines_swallow_once_the_length_is_known() {
    check([
        // Words and length come first, and swallow nothing.
        (&b"set"[..], bad_format(0, false)),
        (b"set k 0 0", bad_format(0, false)),
        (b"set k 0 noreply", bad_format(0, true)),
        (b"set k 0 0 noreply", bad_format(0, true)),
        (b"set k 0 0 +1", bad_format(0, false)),
        (b"set k 0 0 -1", bad_format(0, false)),
        (b"set k 0 0 2147483646", bad_format(0, false)),
        (b"set k x 0 x", bad_format(0, false)),
        (b"cas k 0 0 x 1", bad_format(0, false)),
        // From then on the data goes with the line.
        (b"set k x 0 5", bad_format(7, false)),
        (b"set k -1 0 5", bad_format(7, false)),
        (b"set k 0x1 0 5 noreply", bad_format(7, true)),
        (b"set k 0 x 0", bad_format(2, false)),
        (b"add k 0 1a 2147483645", bad_format(2_147_483_647, false)),
        (b"cas k 0 0 5", bad_format(7, false)),
        (b"cas k 0 0 5 noreply", bad_format(7, true)),
        (b"cas k 0 0 5 -1", bad_format(7, false)),
        (b"cas k 0 0 5 1x noreply", bad_format(7, true)),
    ]);
    let line = [&b"set "[..], &[b'k'; 251], b" 0 0 5"].concat();
    assert_eq!(ask(&line), bad_format(7, false));
}

#[test]
fn key_lists_need_a_key() {
    let list = |with_cas, touch, rest| Outcome::Keys(KeyList { reading: Reading { with_cas, touch }, rest });
    check([
        (&b"get k\r"[..], list(false, None, b" k")),
        (b"gets a b", list(true, None, b" a b")),
        (b"get foo noreply", list(false, None, b" foo noreply")),
        (b"gat 10 k", list(false, Some(10), b" k")),
        (b"gats  -1 a b", list(true, Some(-1), b" a b")),
        (b"get / HTTP/1.1", list(false, None, b" / HTTP/1.1")),
        (b"get ", bad_format(0, false)),
        (b"gets\r", bad_format(0, false)),
        (b"gat", bad_format(0, false)),
        (b"gat 10", bad_format(0, false)),
        (b"gat 10 \r", bad_format(0, false)),
        (b"gats x", bad_format(0, false)),
        (b"gat x k", refused("CLIENT_ERROR invalid exptime argument", false)),
        (b"gat 4294967296 k noreply", refused("CLIENT_ERROR invalid exptime argument", false)),
    ]);
}

#[test]
fn a_key_list_makes_the_request_of_each_key() {
    let list = Reading { with_cas: true, touch: Some(5) };
    let get = list.request(b"a");
    assert_eq!((get.key, get.touch), (Key::plain(b"a"), Some(5)));
    assert!(get.value && get.counts_as_touch && !get.no_bump);
    assert_eq!(list.spelling(), Spelling::Text { noreply: false, with_cas: true });
}

#[test]
fn touch_delete_and_arithmetic_take_their_words() {
    let deleted = |line| match ask(line) {
        Outcome::Asked(Request::Delete(delete), noreply) => (delete.key.bytes().to_vec(), noreply),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(deleted(b"delete k"), (b"k".to_vec(), false));
    assert_eq!(deleted(b"delete k 0"), (b"k".to_vec(), false));
    assert_eq!(deleted(b"delete k a b c noreply"), (b"k".to_vec(), true));
    assert_eq!(deleted(b"delete noreply"), (b"noreply".to_vec(), true));

    let touched = |line| match ask(line) {
        Outcome::Asked(Request::Touch(touch), noreply) => (touch.exptime, noreply),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(touched(b"touch k 10"), (10, false));
    assert_eq!(touched(b"touch k -1 noreply"), (-1, true));
    assert_eq!(touched(b"touch k - x"), (0, false));

    let counted = |line| match ask(line) {
        Outcome::Asked(Request::Arith(arith), noreply) => (arith.decrement, arith.delta, noreply),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(counted(b"incr k 1"), (false, 1, false));
    assert_eq!(counted(b"decr k 18446744073709551615 noreply"), (true, u64::MAX, true));
    assert_eq!(counted(b"incr k 1 2 3"), (false, 1, false));
}

#[test]
fn what_is_missing_is_said_before_what_is_wrong() {
    let exptime = "CLIENT_ERROR invalid exptime argument";
    let delta = "CLIENT_ERROR invalid numeric delta argument";
    check([
        (&b"delete"[..], bad_format(0, false)),
        (b"touch", bad_format(0, false)),
        (b"touch k", bad_format(0, false)),
        (b"touch k x", refused(exptime, false)),
        (b"touch k 4294967296", refused(exptime, false)),
        (b"touch k +1 noreply", refused(exptime, true)),
        (b"touch k noreply", refused(exptime, true)),
        (b"incr", bad_format(0, false)),
        (b"incr k", bad_format(0, false)),
        (b"incr k +1", refused(delta, false)),
        (b"decr k -1", refused(delta, false)),
        (b"incr k 18446744073709551616", refused(delta, false)),
        (b"incr k noreply", refused(delta, true)),
    ]);
    let long = [b'k'; 251];
    for (before, behind, noreply) in
        [("delete ", "", false), ("delete ", " noreply", true), ("touch ", " x", false), ("incr ", " x noreply", true)]
    {
        let line = [before.as_bytes(), &long, behind.as_bytes()].concat();
        assert_eq!(ask(&line), bad_format(0, noreply), "{before}");
    }
}

#[test]
fn admin_commands_hand_their_words_on() {
    let asked = |admin, noreply| Outcome::Asked(Request::Admin(admin), noreply);
    check([
        (&b"version x"[..], asked(Admin::Version, false)),
        (b"version noreply", asked(Admin::Version, false)),
        (b"quit now", asked(Admin::Quit, false)),
        (b"stats", asked(Admin::Stats(b""), false)),
        (b"stats  detail   on \r", asked(Admin::Stats(b"detail   on"), false)),
        (b"stats noreply", asked(Admin::Stats(b"noreply"), false)),
        (b"watch fetchers noreply", asked(Admin::Watch(b"fetchers noreply"), false)),
        (b"lru tune 1 2 3 4", asked(Admin::Lru(b"tune 1 2 3 4"), false)),
        (b"lru_crawler crawl all noreply", asked(Admin::LruCrawler(b"crawl all noreply"), true)),
        (b"slabs automove 1", asked(Admin::Slabs(b"automove 1"), false)),
        (b"extstore max_frag 0.5", asked(Admin::Extstore(b"max_frag 0.5"), false)),
        (b"refresh_certs noreply", asked(Admin::RefreshCerts, true)),
        (b"cache_memlimit 64 noreply", asked(Admin::CacheMemlimit(Some(64)), true)),
        (b"cache_memlimit x", asked(Admin::CacheMemlimit(None), false)),
        (b"cache_memlimit", asked(Admin::CacheMemlimit(None), false)),
        (b"verbosity 9", asked(Admin::Verbosity(9), false)),
        (b"verbosity 1 noreply", asked(Admin::Verbosity(1), true)),
        (b"verbosity", bad_format(0, false)),
        (b"verbosity -1", bad_format(0, false)),
        (b"verbosity noreply", bad_format(0, true)),
        (b"shutdown", asked(Admin::Shutdown(ShutdownMode::Now), false)),
        (b"shutdown graceful", asked(Admin::Shutdown(ShutdownMode::Graceful), false)),
        (b"shutdown g noreply", asked(Admin::Shutdown(ShutdownMode::Graceful), true)),
        (b"shutdown gracefully", asked(Admin::Shutdown(ShutdownMode::Unknown), false)),
    ]);
}

#[test]
fn flush_all_reads_a_time_when_there_is_a_word_besides_noreply() {
    let flush = |exptime, noreply| Outcome::Asked(Request::Admin(Admin::FlushAll(exptime)), noreply);
    check([
        (&b"flush_all"[..], flush(Some(0), false)),
        (b"flush_all noreply", flush(Some(0), true)),
        (b"flush_all 10", flush(Some(10), false)),
        (b"flush_all -1 noreply", flush(Some(-1), true)),
        (b"flush_all 10 x y", flush(Some(10), false)),
        (b"flush_all x", flush(None, false)),
        (b"flush_all noreply noreply", flush(None, true)),
    ]);
}

#[test]
fn debug_commands_exist_only_when_asked_for() {
    let options = ParseOptions { debug_commands: true };
    assert_eq!(outcome(b"debugtime p", options), Outcome::Asked(Request::Admin(Admin::DebugTime(b"p")), false));
    assert_eq!(
        outcome(b"debugitem lock k", options),
        Outcome::Asked(Request::Admin(Admin::DebugItem(b"lock k")), false)
    );
    assert_eq!(outcome(b"misbehave", options), refused("ERROR", false));
}

fn spelled(spelling: Spelling<'_>, reply: &Reply<'_>) -> (String, Body) {
    let mut out = Vec::new();
    let body = encode(&mut out, &spelling, Key::plain(b"key"), reply);
    (String::from_utf8(out).unwrap(), body)
}

#[test]
fn hits_are_value_lines_or_numbers() {
    let hit = Hit { size: 12, flags: 7, cas: u64::MAX, value: true, ..Hit::default() };
    let with_cas = Spelling::Text { noreply: false, with_cas: true };
    assert_eq!(spelled(Spelling::TEXT, &Reply::Hit(hit)), ("VALUE key 7 12\r\n".into(), Body::Value));
    let line = "VALUE key 7 12 18446744073709551615\r\n";
    assert_eq!(spelled(with_cas, &Reply::Hit(hit)), (line.into(), Body::Value));
    let number = Hit { number: Some(u64::MAX), ..hit };
    assert_eq!(spelled(Spelling::TEXT, &Reply::Hit(number)), ("18446744073709551615\r\n".into(), Body::None));
    assert_eq!(spelled(Spelling::TEXT, &Reply::Miss), (String::new(), Body::None));
    let quiet = Spelling::Text { noreply: true, with_cas: false };
    assert_eq!(spelled(quiet, &Reply::Hit(number)), (String::new(), Body::None));
}

#[test]
fn one_line_replies_are_hidden_by_noreply() {
    let written = Written::default();
    for (reply, line) in [
        (Reply::Stored(written), "STORED\r\n"),
        (Reply::NotStored(written), "NOT_STORED\r\n"),
        (Reply::Exists(written), "EXISTS\r\n"),
        (Reply::NotFound(written), "NOT_FOUND\r\n"),
        (Reply::Deleted, "DELETED\r\n"),
        (Reply::Touched, "TOUCHED\r\n"),
        (Reply::Ok, "OK\r\n"),
        (Reply::Reset, "RESET\r\n"),
        (Reply::Version, "VERSION 1.6.45\r\n"),
        (Reply::Nothing, ""),
        (Reply::Error(Error::Unknown), "ERROR\r\n"),
        (Reply::Error(Error::BAD_DATA_CHUNK), "CLIENT_ERROR bad data chunk\r\n"),
        (Reply::Error(Error::Server("out of memory")), "SERVER_ERROR out of memory\r\n"),
        (Reply::Error(Error::Line("BADCLASS invalid class id")), "BADCLASS invalid class id\r\n"),
    ] {
        assert_eq!(spelled(Spelling::TEXT, &reply), (line.into(), Body::None));
        let quiet = Spelling::Text { noreply: true, with_cas: false };
        assert_eq!(spelled(quiet, &reply), (String::new(), Body::None));
    }
}

#[test]
fn output_of_many_lines_is_sent_as_it_stands() {
    let reply = Reply::Lines(b"STAT a 1\r\nEND\r\n");
    for noreply in [false, true] {
        let spelling = Spelling::Text { noreply, with_cas: false };
        assert_eq!(spelled(spelling, &reply), ("STAT a 1\r\nEND\r\n".into(), Body::None));
    }
}
