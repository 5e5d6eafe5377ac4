//! The table of the classic commands and what each makes of its words. The order of checks in each function is that of
//! sections 3 and 4, and so is which refusal takes the data block with it.

use crate::protocol::command::{Command, KeyList, Line, Parsed, Reading, Refused, Row, Spelling};
use crate::protocol::limits::{KEY_MAX, VALUE_LEN_MAX};
use crate::protocol::number::{parse_lenient_exptime, parse_lenient_flags};
use crate::protocol::reply::Error;
use crate::protocol::request::{
    Admin, Arith, Delete, Key, Request, ShutdownMode, Store, StoreMode, Touch, TypedExptime,
};
use crate::protocol::token::{parse_s32, parse_u32, parse_u64, skip_spaces, split_word};

/// Every classic command, the busiest first.
pub(in crate::protocol) const COMMANDS: &[Row] = &[
    Row::new("get", |line, _| keys(line.rest, false, None)),
    Row::new("set", |line, _| store(line, StoreMode::Set)),
    Row::new("gets", |line, _| keys(line.rest, true, None)),
    Row::new("touch", |line, _| touch(line)),
    Row::new("delete", |line, _| delete(line)),
    Row::new("incr", |line, _| arith(line, false)),
    Row::new("decr", |line, _| arith(line, true)),
    Row::new("gat", |line, _| touched_keys(line, false)),
    Row::new("gats", |line, _| touched_keys(line, true)),
    Row::new("add", |line, _| store(line, StoreMode::Add)),
    Row::new("replace", |line, _| store(line, StoreMode::Replace)),
    Row::new("append", |line, _| store(line, StoreMode::Append)),
    Row::new("prepend", |line, _| store(line, StoreMode::Prepend)),
    Row::new("cas", |line, _| cas(line)),
    Row::new("version", |_, _| always_answered(Admin::Version)),
    Row::new("stats", |line, _| always_answered(Admin::Stats(line.words().span()))),
    Row::new("quit", |_, _| always_answered(Admin::Quit)),
    Row::new("flush_all", |line, _| flush_all(line)),
    Row::new("verbosity", |line, _| verbosity(line)),
    Row::new("watch", |line, _| always_answered(Admin::Watch(line.words().span()))),
    Row::new("lru", |line, _| admin(line, Admin::Lru(line.words().span()))),
    Row::new("lru_crawler", |line, _| admin(line, Admin::LruCrawler(line.words().span()))),
    Row::new("slabs", |line, _| admin(line, Admin::Slabs(line.words().span()))),
    Row::new("cache_memlimit", |line, _| cache_memlimit(line)),
    Row::new("shutdown", |line, _| shutdown(line)),
    Row::new("extstore", |line, _| admin(line, Admin::Extstore(line.words().span()))),
    Row::new("refresh_certs", |line, _| admin(line, Admin::RefreshCerts)),
    Row::debug("debugtime", |line, _| admin(line, Admin::DebugTime(line.words().span()))),
    Row::debug("debugitem", |line, _| admin(line, Admin::DebugItem(line.words().span()))),
    Row::debug("debugcrash", |line, _| admin(line, Admin::DebugCrash(line.words().span()))),
];

/// The length of the value that a storage line announces, classic or meta: s32, 0..=2^31-3 (section 3.1).
pub(in crate::protocol) fn value_len(word: &[u8]) -> Option<usize> {
    let len = parse_s32(word).filter(|&len| len <= VALUE_LEN_MAX)?;
    usize::try_from(len).ok()
}

/// `<command> <key>*`
fn keys(rest: &[u8], with_cas: bool, touch: Option<TypedExptime>) -> Parsed<'_> {
    if skip_spaces(rest).is_empty() {
        return Parsed::refused(Error::BAD_FORMAT);
    }
    Parsed::Keys(KeyList { reading: Reading { with_cas, touch }, rest })
}

/// `<command> <exptime> <key>*`
fn touched_keys(line: Line<'_>, with_cas: bool) -> Parsed<'_> {
    let (exptime, rest) = split_word(skip_spaces(line.rest));
    if skip_spaces(rest).is_empty() {
        return Parsed::refused(Error::BAD_FORMAT);
    }
    match parse_s32(exptime) {
        Some(exptime) => keys(rest, with_cas, Some(exptime.into())),
        None => Parsed::refused(Error::BAD_EXPTIME),
    }
}

/// `<command> <key> <flags> <exptime> <bytes> [noreply]`
fn store(line: Line<'_>, mode: StoreMode) -> Parsed<'_> {
    storage(line, mode, false)
}

/// `cas <key> <flags> <exptime> <bytes> <cas unique> [noreply]`
fn cas(line: Line<'_>) -> Parsed<'_> {
    storage(line, StoreMode::Set, true)
}

/// Section 3.1, checks 1 to 3.
fn storage(line: Line<'_>, mode: StoreMode, compares: bool) -> Parsed<'_> {
    let mut words = line.words();
    let (Some(key), Some(flags), Some(exptime), Some(len)) = (words.next(), words.next(), words.next(), words.next())
    else {
        return refuse(line, Error::BAD_FORMAT);
    };
    let Some(value_len) = value_len(len) else {
        return refuse(line, Error::BAD_FORMAT);
    };
    // From here on the data block is known, and goes with the line.
    let swallow = value_len + 2;
    let compare = if compares { words.next().and_then(parse_u64) } else { None };
    let (Some(flags), Some(exptime)) = (parse_lenient_flags(flags), parse_lenient_exptime(exptime)) else {
        return refuse_swallowing(line, Error::BAD_FORMAT, swallow);
    };
    if key.len() > KEY_MAX || (compares && compare.is_none()) {
        return refuse_swallowing(line, Error::BAD_FORMAT, swallow);
    }
    // The words so far were numbers, so `noreply` can only be behind them.
    let noreply = words.last() == Some(b"noreply");
    Parsed::Command(stores(key, mode, flags, exptime.into(), value_len, compare, noreply))
}

/// A storage command.
#[inline]
pub(super) const fn stores(
    key: &[u8],
    mode: StoreMode,
    flags: u32,
    exptime: TypedExptime,
    value_len: usize,
    compare: Option<u64>,
    noreply: bool,
) -> Command<'_> {
    let store = Store {
        key: Key::plain(key),
        mode,
        flags,
        exptime,
        value_len,
        compare,
        new_cas: None,
        invalidate: false,
        vivify: None,
        refusal_removes: matches!(mode, StoreMode::Set) && compare.is_none(),
        counts_when_whole: false,
    };
    Command { request: Request::Store(store), spelling: Spelling::Text { noreply, with_cas: false } }
}

/// `touch <key> <exptime> [noreply]`
fn touch(line: Line<'_>) -> Parsed<'_> {
    let mut words = line.words();
    let (Some(key), Some(exptime)) = (words.next().filter(|key| key.len() <= KEY_MAX), words.next()) else {
        return refuse(line, Error::BAD_FORMAT);
    };
    let Some(exptime) = parse_s32(exptime) else {
        return refuse(line, Error::BAD_EXPTIME);
    };
    command(Request::Touch(Touch { key: Key::plain(key), exptime: exptime.into() }), words.last() == Some(b"noreply"))
}

/// `delete <key> [anything] [noreply]`. `delete noreply` deletes the key of that name, silently (section 2.2).
fn delete(line: Line<'_>) -> Parsed<'_> {
    let mut words = line.words();
    let Some(key) = words.next().filter(|key| key.len() <= KEY_MAX) else {
        return refuse(line, Error::BAD_FORMAT);
    };
    let noreply = words.last().unwrap_or(key) == b"noreply";
    let delete = Delete {
        key: Key::plain(key),
        compare: None,
        new_cas: None,
        invalidate: false,
        clear: false,
        mismatch_is_miss: false,
        exptime: None,
        flags: 0,
        told_as: Some("delete"),
    };
    command(Request::Delete(delete), noreply)
}

/// `incr|decr <key> <delta> [noreply]`
fn arith(line: Line<'_>, decrement: bool) -> Parsed<'_> {
    let mut words = line.words();
    let (Some(key), Some(delta)) = (words.next().filter(|key| key.len() <= KEY_MAX), words.next()) else {
        return refuse(line, Error::BAD_FORMAT);
    };
    let Some(delta) = parse_u64(delta) else {
        return refuse(line, Error::Client("invalid numeric delta argument"));
    };
    command(Request::Arith(Arith::of(Key::plain(key), decrement, delta)), words.last() == Some(b"noreply"))
}

/// `flush_all [<exptime>] [noreply]`: any word besides `noreply` makes the first one an exptime (section 4.2).
fn flush_all(line: Line<'_>) -> Parsed<'_> {
    let noreply = line.noreply();
    let mut words = line.words();
    let first = words.next();
    let exptime = match first {
        Some(word) if words.next().is_some() || !noreply => parse_s32(word),
        _ => Some(0),
    };
    command(Request::Admin(Admin::FlushAll(exptime.map(Into::into))), noreply)
}

/// `verbosity <level>`
fn verbosity(line: Line<'_>) -> Parsed<'_> {
    match line.words().next().and_then(parse_u32) {
        Some(level) => admin(line, Admin::Verbosity(level)),
        None => refuse(line, Error::BAD_FORMAT),
    }
}

/// `cache_memlimit <MiB>`: what is wrong with the number is answered by whoever knows the bounds (section 13.4).
fn cache_memlimit(line: Line<'_>) -> Parsed<'_> {
    admin(line, Admin::CacheMemlimit(line.words().next().and_then(parse_u32)))
}

/// `shutdown [graceful]`; any beginning of the word will do (section 4.1).
fn shutdown(line: Line<'_>) -> Parsed<'_> {
    let mode = match line.words().next() {
        None | Some(b"noreply") => ShutdownMode::Now,
        Some(word) if b"graceful".starts_with(word) => ShutdownMode::Graceful,
        Some(_) => ShutdownMode::Unknown,
    };
    admin(line, Admin::Shutdown(mode))
}

/// A command that knows `noreply`.
fn admin<'a>(line: Line<'a>, admin: Admin<'a>) -> Parsed<'a> {
    command(Request::Admin(admin), line.noreply())
}

/// A command that does not.
const fn always_answered(admin: Admin<'_>) -> Parsed<'_> {
    command(Request::Admin(admin), false)
}

const fn command(request: Request<'_>, noreply: bool) -> Parsed<'_> {
    Parsed::Command(Command { request, spelling: Spelling::Text { noreply, with_cas: false } })
}

#[cold]
fn refuse(line: Line<'_>, error: Error) -> Parsed<'_> {
    refuse_swallowing(line, error, 0)
}

#[cold]
fn refuse_swallowing(line: Line<'_>, error: Error, swallow: usize) -> Parsed<'_> {
    Parsed::Refused(Refused { error, swallow, noreply: line.noreply() })
}
