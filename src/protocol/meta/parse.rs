//! The table of the meta commands and what each makes of its flags. A flag without a meaning for the command at hand is
//! dropped here, so that the request holds only what is to be done (sections 5.2 to 5.7).

use super::flags::{Flags, Wrong};
use crate::protocol::base64;
use crate::protocol::command::{Command, Line, MetaVerb, Parsed, Refused, Row, Scratch, Spelling};
use crate::protocol::limits::KEY_MAX;
use crate::protocol::reply::Error;
use crate::protocol::request::{Arith, Delete, Get, Key, Request, Store, StoreMode};
use crate::protocol::text::value_len;
use crate::protocol::token::{Words, skip_spaces};

/// Every meta command, the busiest first.
pub(in crate::protocol) const COMMANDS: &[Row] = &[
    Row::new("mg", get),
    Row::new("ms", set),
    Row::new("md", delete),
    Row::new("ma", arith),
    Row::new("mn", |_, _| noop()),
    Row::new("me", inspect),
];

const OPAQUE_TOO_LONG: Error = Error::Client("opaque token too long");

/// `mg <key> <flag>*`
fn get<'a>(line: Line<'a>, scratch: &mut Scratch<'a>) -> Parsed<'a> {
    let (flags, words) = match key_and_flags(line, scratch) {
        Ok(read) => read,
        Err(error) => return Parsed::refused(error),
    };
    if flags.opaque_too_long {
        return Parsed::refused(OPAQUE_TOO_LONG);
    }
    let get = Get {
        key: flags.key,
        touch: flags.exptime,
        counts_as_touch: false,
        vivify: flags.vivify,
        touch_is_last: flags.vivified_then_touched,
        recache: flags.recache,
        recache_touched: flags.touched_then_recached,
        may_win: true,
        new_cas: flags.new_cas,
        unless_cas: flags.compare,
        value: flags.has(b'v'),
        no_bump: flags.has(b'u'),
    };
    command(MetaVerb::Get, Request::Get(get), &flags, &words)
}

/// `ms <key> <datalen> <flag>*`
fn set<'a>(line: Line<'a>, scratch: &mut Scratch<'a>) -> Parsed<'a> {
    let mut words = line.words();
    let (Some(key), Some(len)) = (words.next(), words.next()) else {
        return Parsed::refused(Error::BAD_FORMAT);
    };
    let Some(value_len) = value_len(len) else {
        return Parsed::refused(Error::BAD_FORMAT);
    };
    // From here on the data block is known, and goes with the line, but for a line that cannot be a meta command.
    let swallowing = |error| Parsed::Refused(Refused { error, swallow: value_len + 2, noreply: false });
    let flags = match Flags::read(key, words.clone(), 3, scratch) {
        Ok(flags) => flags,
        Err(Wrong::Line) => return Parsed::refused(Error::BAD_FORMAT),
        Err(Wrong::Flag(error)) => return swallowing(error),
    };
    let mode = match flags.mode {
        None | Some(b'S') => StoreMode::Set,
        Some(b'E') => StoreMode::Add,
        Some(b'A') => StoreMode::Append,
        Some(b'P') => StoreMode::Prepend,
        Some(b'R') => StoreMode::Replace,
        Some(_) => return swallowing(Error::Client("invalid mode for ms M token")),
    };
    if flags.opaque_too_long {
        return swallowing(OPAQUE_TOO_LONG);
    }
    let joins = matches!(mode, StoreMode::Append | StoreMode::Prepend);
    let compare = match mode {
        StoreMode::Add => None,
        _ => flags.compare.filter(|&cas| cas != 0 || !joins),
    };
    let store = Store {
        key: flags.key,
        mode,
        flags: flags.client_flags.unwrap_or(0),
        exptime: flags.exptime.unwrap_or(0),
        value_len,
        compare,
        new_cas: flags.new_cas.filter(|&cas| cas != 0),
        invalidate: flags.has(b'I') && compare.is_some() && !joins,
        vivify: flags.vivify.filter(|_| joins),
        refusal_removes: true,
        counts_when_whole: false,
    };
    command(MetaVerb::Set, Request::Store(store), &flags, &words)
}

/// `md <key> <flag>*`
fn delete<'a>(line: Line<'a>, scratch: &mut Scratch<'a>) -> Parsed<'a> {
    let (flags, words) = match key_and_flags(line, scratch) {
        Ok(read) => read,
        Err(error) => return Parsed::refused(error),
    };
    if flags.opaque_too_long {
        return Parsed::refused(OPAQUE_TOO_LONG);
    }
    let (invalidate, clear) = (flags.has(b'I'), flags.has(b'x'));
    let delete = Delete {
        key: flags.key,
        compare: flags.compare,
        new_cas: flags.new_cas.filter(|_| invalidate || clear),
        invalidate,
        clear,
        mismatch_is_miss: true,
        exptime: flags.exptime.filter(|_| invalidate || clear),
        flags: flags.client_flags.filter(|_| clear).unwrap_or(0),
        told_as: Some("md"),
    };
    command(MetaVerb::Delete, Request::Delete(delete), &flags, &words)
}

/// `ma <key> <flag>*`
fn arith<'a>(line: Line<'a>, scratch: &mut Scratch<'a>) -> Parsed<'a> {
    let mut words = line.words();
    let Some(key) = words.next() else {
        return Parsed::refused(Error::BAD_FORMAT);
    };
    let flags = match Flags::read(key, words.clone(), 2, scratch) {
        Ok(flags) => flags,
        Err(Wrong::Line) => return Parsed::refused(Error::BAD_FORMAT),
        // Section 5.1, check 8: one message for all of them.
        Err(Wrong::Flag(_)) => return Parsed::refused(Error::Client("invalid or duplicate flag")),
    };
    let decrement = match flags.mode {
        None | Some(b'I' | b'+') => false,
        Some(b'D' | b'-') => true,
        Some(_) => return Parsed::refused(Error::Client("invalid mode for ma M token")),
    };
    // memcached changes the value first and complains afterwards; section 19 (8) says not to.
    if flags.opaque_too_long {
        return Parsed::refused(OPAQUE_TOO_LONG);
    }
    let arith = Arith {
        key: flags.key,
        decrement,
        delta: flags.delta.unwrap_or(1),
        vivify: flags.vivify,
        exptime_is_last: flags.vivified_then_touched,
        initial: flags.initial.unwrap_or(0),
        exptime: flags.exptime,
        compare: flags.compare.filter(|&cas| cas != 0),
        new_cas: flags.new_cas,
    };
    command(MetaVerb::Arith, Request::Arith(arith), &flags, &words)
}

/// `mn`, whatever follows.
const fn noop() -> Parsed<'static> {
    plain(MetaVerb::Noop, Request::Noop)
}

/// `me <key> [b <anything>]`: the base64 form needs the third word (section 5.6).
fn inspect<'a>(line: Line<'a>, scratch: &mut Scratch<'a>) -> Parsed<'a> {
    let mut words = line.words();
    let Some(key) = words.next().filter(|key| key.len() <= KEY_MAX) else {
        return Parsed::refused(Error::BAD_FORMAT);
    };
    if words.next() != Some(b"b") || words.next().is_none() {
        return plain(MetaVerb::Inspect, Request::Inspect(Key::plain(key)));
    }
    match base64::decode(key, scratch.free()) {
        Some(len) => plain(MetaVerb::Inspect, Request::Inspect(Key::decoded(scratch.take(len)))),
        None => Parsed::refused(Error::BAD_FORMAT),
    }
}

/// The key and the flags of `mg` and `md`, with the words of the flags.
fn key_and_flags<'a>(line: Line<'a>, scratch: &mut Scratch<'a>) -> Result<(Flags<'a>, Words<'a>), Error> {
    let mut words = line.words();
    let key = words.next().ok_or(Error::BAD_FORMAT)?;
    match Flags::read(key, words.clone(), 2, scratch) {
        Ok(flags) => Ok((flags, words)),
        Err(Wrong::Line) => Err(Error::BAD_FORMAT),
        Err(Wrong::Flag(error)) => Err(error),
    }
}

fn command<'a>(verb: MetaVerb, request: Request<'a>, flags: &Flags<'a>, words: &Words<'a>) -> Parsed<'a> {
    let spelling =
        Spelling::Meta { verb, flags: skip_spaces(words.rest()), quiet: flags.has(b'q'), value: flags.has(b'v') };
    Parsed::Command(Command { request, spelling })
}

/// A command that has no flags.
const fn plain(verb: MetaVerb, request: Request<'_>) -> Parsed<'_> {
    let spelling = Spelling::Meta { verb, flags: b"", quiet: false, value: false };
    Parsed::Command(Command { request, spelling })
}
