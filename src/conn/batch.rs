//! Requests are run in batches, to hide the latency of memory.
//!
//! Some requests are parsed ahead by the [`Filler`], their keys hashed and the index buckets fetched meanwhile; then the items that
//! these name are fetched; then all are run, in order. Nothing is allocated but what the output needs.

use std::ops::Range;

use super::filler::{self, Arrived, Filler, Task};
use super::output::Output;
use super::{Conn, Next, Phase, Step, Turn};
use crate::commands::get::Seen;
use crate::commands::{self, After, Context, Payload, watch};
use crate::protocol::meta::MetaGet;
use crate::protocol::reply::{Error, Reply};
use crate::protocol::request::{Admin, Get, Request};
use crate::protocol::text::{self, NextKey};
use crate::protocol::{Body, Command, Key, KeyList, ParseOptions, Reading, Scratch, Spelling, encode, limits};
use crate::stats::prefix::Event;
use crate::store::{KeyHash, PIN_BYTES, Spot, Value};

/// Base64 keys decoded ahead; they are rare, and their room has to be cleared for each batch.
const DECODED: usize = 4;
/// Longest reply to one request but for a pinned value: made room for before an item is locked.
pub const REPLY_MAX: usize = PIN_BYTES + 1024;

/// Parses ahead and runs what it found. Inlined into a turn it would cost each of 16 gets 22 instructions more.
#[inline(never)]
pub(super) fn run(conn: &mut Conn, input: &[u8], out: &mut Output, cx: &mut Context<'_>, turn: &mut Turn) -> Step {
    let mut decoded = [0; DECODED * limits::DECODED_KEY_MAX];
    let store = cx.store;
    let options = ParseOptions { debug_commands: cx.server.settings.debug_commands };
    let mut filler = Filler::new(input, store, Scratch::new(&mut decoded), options);
    if let Phase::Keys { reading, .. } = conn.phase {
        filler.resume(reading);
    }
    filler.fill(turn.requests);
    filler::fetch_items(&filler.slots, store);
    let mut done = 0;
    let mut list = match conn.phase {
        Phase::Keys { reading, any } => Some((reading, any)),
        _ => None,
    };
    for slot in &filler.slots {
        let step = match &slot.task {
            Task::Read { reading, key, last } => {
                if !read(*reading, key, &slot.spot, out, cx) {
                    conn.keep_list(list);
                    return Step::stop(done, Next::Later);
                }
                list = (!last).then_some((*reading, true));
                if *last {
                    out.bytes_mut().extend_from_slice(text::END);
                    turn.requests -= 1;
                }
                turn.pause(slot.end, out)
            }
            Task::MetaGet(get) => {
                if !read_meta(get, &slot.spot, out, cx) {
                    return Step::stop(done, Next::Later);
                }
                turn.requests -= 1;
                turn.pause(slot.end, out)
            }
            Task::Step(step) => {
                count(step, &slot.spot, out, cx);
                turn.requests -= 1;
                turn.pause(slot.end, out)
            }
            Task::EndOfKeys => {
                end_of_keys(list.take().is_some_and(|(_, any)| any), out);
                turn.requests -= 1;
                turn.pause(slot.end, out)
            }
            Task::Run(place, arrived) => {
                turn.requests -= 1;
                let payload = arrived.as_ref().map_or(Payload::None, Arrived::payload);
                let step = conn.run(&filler.commands[*place], payload, &slot.spot, done..slot.end, out, cx);
                step.or_else(|| turn.pause(slot.end, out))
            }
            Task::Upload(place, line) => {
                let command = &filler.commands[*place];
                turn.requests -= 1;
                Some(conn.begin(command, line, slot.spot.hash, done..slot.end, out, cx))
            }
            task => {
                turn.requests -= 1;
                Some(conn.refuse(task, slot.end, out, cx))
            }
        };
        if let Some(step) = step {
            conn.keep_list(list);
            return step;
        }
        done = slot.end;
    }
    conn.keep_list(list);
    if !filler.starved {
        return Step::go_on(done);
    }
    // What is left is the beginning of something. In a list, spaces need not be kept.
    match conn.phase {
        Phase::Command => conn.unfinished_line(input, done),
        _ => Step::stop(filler.at, Next::Read),
    }
}

impl Conn {
    /// Remembers the key list that the batch has left unfinished, or that it has finished the one it began with.
    fn keep_list(&mut self, list: Option<(Reading, bool)>) {
        match (list, &self.phase) {
            (Some((reading, any)), Phase::Command | Phase::Keys { .. }) => self.phase = Phase::Keys { reading, any },
            (None, Phase::Keys { .. }) => self.phase = Phase::Command,
            _ => {}
        }
    }

    /// Begins to receive a value.
    pub(super) fn begin(
        &mut self,
        command: &Command<'_>,
        line: &[u8],
        hash: KeyHash,
        place: Range<usize>,
        out: &mut Output,
        cx: &mut Context<'_>,
    ) -> Step {
        if !self.begin_upload(line, command, hash, out, cx) {
            return Step::stop(place.start, Next::Later);
        }
        count_prefix(cx, command);
        Step::go_on(place.end)
    }

    /// Answers what is no request.
    #[cold]
    fn refuse(&mut self, task: &Task<'_>, end: usize, out: &mut Output, cx: &Context<'_>) -> Step {
        match task {
            Task::ReadInVain(list) => {
                read_in_vain(list, cx);
                encode::push_error(out.bytes_mut(), &Error::BAD_FORMAT);
            }
            Task::Refuse(refused) => {
                if !refused.noreply {
                    encode::push_error(out.bytes_mut(), &refused.error);
                }
                if refused.swallow > 0 {
                    self.phase = Phase::Swallow(refused.swallow);
                }
            }
            Task::KeyTooLong => {
                encode::push_error(out.bytes_mut(), &Error::BAD_FORMAT);
                self.phase = Phase::SwallowLine(None);
            }
            _ => {
                self.phase = Phase::Closing;
                return Step::stop(end, Next::Close);
            }
        }
        Step::go_on(end)
    }

    /// Runs a complete command. A step when the batch has to end here, or before it.
    pub(super) fn run(
        &mut self,
        command: &Command<'_>,
        payload: Payload<'_>,
        spot: &Spot,
        place: Range<usize>,
        out: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<Step> {
        let Range { start, end } = place;
        out.bytes_mut().reserve(REPLY_MAX);
        count_prefix(cx, command);
        let key = command.request.key();
        let after = commands::run(cx, &command.request, spot, payload, |reply, value| {
            answer(out, &command.spelling, key, &reply, value);
        });
        match after {
            After::Next if matches!(command.request, Request::Admin(Admin::DebugTime(_))) => {
                cx.now = cx.server.clock.now();
                None
            }
            After::Next => None,
            After::Later => Some(Step::stop(start, Next::Later)),
            After::Close => {
                self.quit = true;
                self.phase = Phase::Closing;
                Some(Step::stop(end, Next::Close))
            }
            After::Shutdown { graceful } => {
                self.quit = true;
                self.phase = Phase::Closing;
                Some(Step::stop(end, Next::Shutdown { graceful }))
            }
            After::Watch(_) if !out.is_empty() => {
                encode::push_error(out.bytes_mut(), &watch::CANNOT_PIPELINE);
                None
            }
            After::Watch(asked) => match asked.and_then(|streams| watch::begin(cx, streams)) {
                Ok(watcher) => {
                    out.bytes_mut().extend_from_slice(b"OK\r\n");
                    self.phase = Phase::Watch(Box::new(watcher));
                    Some(Step::go_on(end))
                }
                Err(error) => {
                    encode::push_error(out.bytes_mut(), &error);
                    None
                }
            },
            // Replies that wait may be those of commands long ago, so this depends on how fast the client reads; but it
            // is what memcached does, whose dump takes the socket away from them.
            After::Dump(dump) if !out.is_empty() => {
                encode::push_error(out.bytes_mut(), &dump.cannot_pipeline());
                None
            }
            After::Dump(dump) => {
                self.phase = Phase::Dump(Box::new(dump));
                Some(Step::go_on(end))
            }
        }
    }
}

impl Turn {
    /// Ends the batch where the output has reached its bound.
    pub(super) fn pause(&self, end: usize, out: &Output) -> Option<Step> {
        (out.len() >= self.output_max).then(|| Step::go_on(end))
    }
}

fn end_of_keys(any: bool, out: &mut Output) {
    if any {
        out.bytes_mut().extend_from_slice(text::END);
    } else {
        encode::push_error(out.bytes_mut(), &Error::BAD_FORMAT);
    }
}

/// One key of a list. False when it cannot be read now.
#[inline(always)]
fn read(reading: Reading, key: &[u8], spot: &Spot, out: &mut Output, cx: &Context<'_>) -> bool {
    out.bytes_mut().reserve(REPLY_MAX);
    if reading.touch.is_none() {
        let seen = commands::get::plain(cx, key, spot, |item, value| {
            text::value_line(out.bytes_mut(), key, item.flags, item.size, reading.with_cas.then_some(item.cas));
            out.push_value(value);
            out.bytes_mut().extend_from_slice(b"\r\n");
        });
        return count_read(key, seen, cx);
    }
    count_read(key, answer_get(&reading.request(key), &reading.spelling(), spot, out, cx), cx)
}

/// Counts a read for `stats detail`; false when it could not be done.
#[inline]
pub(super) fn count_read(key: &[u8], seen: Seen, cx: &Context<'_>) -> bool {
    if seen != Seen::Busy {
        cx.server.prefixes.count(key, Event::Get { hit: seen == Seen::Yes });
    }
    seen != Seen::Busy
}

/// A read that is more than a lookup: `gat` and its kin. [`Seen::Busy`] when it cannot be done now, and nothing was answered.
pub(super) fn answer_get(
    get: &Get<'_>,
    spelling: &Spelling<'_>,
    spot: &Spot,
    out: &mut Output,
    cx: &Context<'_>,
) -> Seen {
    out.bytes_mut().reserve(REPLY_MAX);
    let mut hit = false;
    let after = commands::get::get(cx, get, spot, |reply, value| {
        hit = matches!(reply, Reply::Hit(_));
        answer(out, spelling, get.key, &reply, value);
    });
    match after {
        After::Later => Seen::Busy,
        _ if hit => Seen::Yes,
        _ => Seen::No,
    }
}

/// `mg` with nothing but questions. False when it cannot be read now. Not by [`answer_get`]: with a closure of its own the compiler makes
/// a [`commands::get::get`] of its own, without what a plain `mg` does not ask, and 170 of 1,290 instructions fewer.
fn read_meta(get: &MetaGet<'_>, spot: &Spot, out: &mut Output, cx: &Context<'_>) -> bool {
    out.bytes_mut().reserve(REPLY_MAX);
    let request = get.request();
    let after = commands::get::get(cx, &request, spot, |reply, value| {
        answer(out, &get.spelling(), request.key, &reply, value);
    });
    !matches!(after, After::Later)
}

/// `incr` and `decr` by a short number.
#[inline(never)]
fn count(step: &text::Step<'_>, spot: &Spot, out: &mut Output, cx: &Context<'_>) {
    out.bytes_mut().reserve(REPLY_MAX);
    let done = commands::arith::plain(cx, step.key, step.decrement, step.delta.into(), spot, |digits| {
        out.bytes_mut().extend_from_slice(digits);
        out.bytes_mut().extend_from_slice(b"\r\n");
    });
    if !done {
        let request = step.request();
        let reply = commands::arith::arith(cx, &request, spot);
        answer(out, &Spelling::TEXT, request.key, &reply, None);
    }
}

/// The keys of a list before one that is too long. Nobody is told of them (section 3.2), but memcached finds the bad key only when
/// it gets there: they have been read, or touched, by then.
#[cold]
fn read_in_vain(list: &KeyList<'_>, cx: &Context<'_>) {
    let mut rest = list.rest;
    while let NextKey::Key(key, consumed) = text::next_key(rest, true) {
        let mut hit = false;
        let spot = cx.store.spot(cx.store.hash(key));
        let _next = commands::get::get(cx, &list.reading.request(key), &spot, |reply, _| {
            hit = matches!(reply, Reply::Hit(_));
        });
        cx.server.prefixes.count(key, Event::Get { hit });
        rest = &rest[consumed..];
    }
}

/// `stats detail` counts classic commands and their binary forms, not meta (section 11.7).
pub(super) fn count_prefix(cx: &Context<'_>, command: &Command<'_>) {
    if matches!(command.spelling, Spelling::Meta { .. }) {
        return;
    }
    match &command.request {
        Request::Store(store) => cx.server.prefixes.count(store.key.bytes(), Event::Set),
        Request::Delete(delete) => cx.server.prefixes.count(delete.key.bytes(), Event::Delete),
        _ => {}
    }
}

/// Spells a reply, with its value.
pub(super) fn answer(
    out: &mut Output,
    spelling: &Spelling<'_>,
    key: Key<'_>,
    reply: &Reply<'_>,
    value: Option<Value<'_>>,
) {
    let body = encode(out.bytes_mut(), spelling, key, reply);
    if body == Body::None {
        return;
    }
    if let Some(value) = value {
        out.push_value(value);
    }
    if body == Body::Value {
        out.bytes_mut().extend_from_slice(b"\r\n");
    }
}
