//! Requests are run in batches, to hide the latency of memory.
//!
//! Up to [`BATCH`] requests are parsed ahead, their keys hashed and the index buckets fetched meanwhile; then the items that
//! these name are fetched; then all are run, in order. A `get` line with many keys is a sequence of such requests, one for
//! each key, so a list may be cut anywhere: by the end of a batch, of the turn, or of the input.
//! Nothing is allocated but what the output needs.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::output::Output;
use super::{Conn, Next, Phase, Step, Turn};
use crate::commands::get::Seen;
use crate::commands::{self, After, Context, Payload, watch};
use crate::protocol::reply::{Error, Reply};
use crate::protocol::request::{Admin, Request};
use crate::protocol::text::{self, NextKey};
use crate::protocol::{
    Body, Command, Key, KeyList, ParseOptions, Parsed, Refused, Scratch, Spelling, encode, limits, parse,
};
use crate::stats::prefix::Event;
use crate::store::{KeyHash, PIN_BYTES, Value};

/// Requests parsed ahead: as many as cache misses are worth having in flight.
const BATCH: usize = 32;
/// Base64 keys decoded ahead; they are rare, and their room has to be cleared for each batch.
const DECODED: usize = 4;
/// Longest reply to one request but for a pinned value: made room for before an item is locked.
pub const REPLY_MAX: usize = PIN_BYTES + 1024;

/// One thing to do.
struct Slot<'a> {
    task: Task<'a>,
    hash: KeyHash,
    /// Where the input goes on behind it.
    end: usize,
}

enum Task<'a> {
    /// A command that is complete, with its value if it has one.
    Run(Command<'a>, Option<Arrived<'a>>),
    /// A storage command whose value is still on its way, and its line.
    Upload(Command<'a>, &'a [u8]),
    /// One key of a list.
    Read(KeyList<'static>, &'a [u8]),
    /// The last key of a list, right before the end of the line.
    ReadLast(KeyList<'static>, &'a [u8]),
    /// The end of a list that came later than its last key.
    EndOfKeys,
    /// A whole list of keys that is refused because one is too long: those before it are read all the same.
    ReadInVain(KeyList<'a>),
    /// A line to be refused; the phase then is `Swallow`.
    Refuse(Refused),
    /// A key too long in a list that is being streamed.
    KeyTooLong,
    /// Go without a word.
    Close,
}

/// A value that lies whole in the input.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    value: &'a [u8],
    /// CR LF came behind it.
    terminated: bool,
}

/// Parses ahead and runs what it found.
pub(super) fn run(conn: &mut Conn, input: &[u8], out: &mut Output, cx: &mut Context<'_>, turn: &mut Turn) -> Step {
    let mut decoded = [0; DECODED * limits::DECODED_KEY_MAX];
    let mut filler = Filler {
        input,
        at: 0,
        list: None,
        slots: ArrayVec::new(),
        starved: false,
        scratch: Scratch::new(&mut decoded),
        options: ParseOptions { debug_commands: cx.server.settings.debug_commands },
    };
    if let Phase::Keys { list, .. } = conn.phase {
        filler.resume(list);
    }
    filler.fill(turn.requests, cx);
    if filler.slots.len() > 1 {
        for slot in &filler.slots {
            cx.store.prefetch_item(slot.hash);
        }
    }
    let mut done = 0;
    let mut list = match conn.phase {
        Phase::Keys { list, any } => Some((list, any)),
        _ => None,
    };
    for slot in &filler.slots {
        let step = match &slot.task {
            Task::Read(keys, key) => {
                if !read(keys, key, slot.hash, out, cx) {
                    conn.keep_list(list);
                    return Step::stop(done, Next::Later);
                }
                list = Some((*keys, true));
                turn.pause(slot.end, out)
            }
            Task::ReadLast(keys, key) => {
                if !read(keys, key, slot.hash, out, cx) {
                    conn.keep_list(list);
                    return Step::stop(done, Next::Later);
                }
                list = None;
                out.bytes_mut().extend_from_slice(text::END);
                turn.requests -= 1;
                turn.pause(slot.end, out)
            }
            Task::EndOfKeys => {
                end_of_keys(list.take().is_some_and(|(_, any)| any), out);
                turn.requests -= 1;
                turn.pause(slot.end, out)
            }
            task => conn.run(task, slot, done, out, cx, turn),
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
    fn keep_list(&mut self, list: Option<(KeyList<'static>, bool)>) {
        match (list, &self.phase) {
            (Some((list, any)), Phase::Command | Phase::Keys { .. }) => self.phase = Phase::Keys { list, any },
            (None, Phase::Keys { .. }) => self.phase = Phase::Command,
            _ => {}
        }
    }

    /// Runs one slot, which begins in the input at `start`. A step when the batch has to end here, or before it.
    fn run(
        &mut self,
        task: &Task<'_>,
        slot: &Slot<'_>,
        start: usize,
        out: &mut Output,
        cx: &mut Context<'_>,
        turn: &mut Turn,
    ) -> Option<Step> {
        let &Slot { hash, end, .. } = slot;
        out.bytes_mut().reserve(REPLY_MAX);
        match task {
            // Run by the caller, which knows the list.
            Task::Read(..) | Task::ReadLast(..) | Task::EndOfKeys => {}
            Task::Run(command, arrived) => {
                turn.requests -= 1;
                let payload =
                    arrived.map_or(Payload::None, |Arrived { value, terminated }| Payload::Whole { value, terminated });
                return self.run_command(command, payload, hash, start..end, out, cx).or_else(|| turn.pause(end, out));
            }
            Task::Upload(command, line) => {
                if !self.begin_upload(line, command, hash, out, cx) {
                    return Some(Step::stop(start, Next::Later));
                }
                turn.requests -= 1;
                count_prefix(cx, command);
                return Some(Step::go_on(end));
            }
            Task::ReadInVain(list) => {
                turn.requests -= 1;
                read_in_vain(list, cx);
                encode::push_error(out.bytes_mut(), &Error::BAD_FORMAT);
                return Some(Step::go_on(end));
            }
            Task::Refuse(refused) => {
                turn.requests -= 1;
                if !refused.noreply {
                    encode::push_error(out.bytes_mut(), &refused.error);
                }
                if refused.swallow > 0 {
                    self.phase = Phase::Swallow(refused.swallow);
                }
                return Some(Step::go_on(end));
            }
            Task::KeyTooLong => {
                encode::push_error(out.bytes_mut(), &Error::BAD_FORMAT);
                self.phase = Phase::SwallowLine(None);
                return Some(Step::go_on(end));
            }
            Task::Close => {
                self.phase = Phase::Closing;
                return Some(Step::stop(end, Next::Close));
            }
        }
        turn.pause(end, out)
    }

    fn run_command(
        &mut self,
        command: &Command<'_>,
        payload: Payload<'_>,
        hash: KeyHash,
        place: Range<usize>,
        out: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<Step> {
        let Range { start, end } = place;
        count_prefix(cx, command);
        let key = command.request.key();
        let after = commands::run(cx, &command.request, hash, payload, |reply, value| {
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
    fn pause(&self, end: usize, out: &Output) -> Option<Step> {
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
fn read(list: &KeyList<'static>, key: &[u8], hash: KeyHash, out: &mut Output, cx: &Context<'_>) -> bool {
    out.bytes_mut().reserve(REPLY_MAX);
    if list.touch.is_none() {
        let seen = commands::get::plain(cx, key, hash, |item, value| {
            text::value_line(out.bytes_mut(), key, item.flags, item.size, list.with_cas.then_some(item.cas));
            out.push_value(value);
            out.bytes_mut().extend_from_slice(b"\r\n");
        });
        if seen == Seen::Busy {
            return false;
        }
        cx.server.prefixes.count(key, Event::Get { hit: seen == Seen::Yes });
        return true;
    }
    let mut hit = false;
    let after = commands::run(cx, &list.request(key), hash, Payload::None, |reply, value| {
        hit = matches!(reply, Reply::Hit(_));
        answer(out, &list.spelling(), Key::plain(key), &reply, value);
    });
    if matches!(after, After::Later) {
        return false;
    }
    cx.server.prefixes.count(key, Event::Get { hit });
    true
}

/// The keys of a list before one that is too long. Nobody is told of them (section 3.2), but memcached finds the bad key only when
/// it gets there: they have been read, or touched, by then.
#[cold]
fn read_in_vain(list: &KeyList<'_>, cx: &Context<'_>) {
    let mut rest = list.rest;
    while let NextKey::Key(key, consumed) = text::next_key(rest, true) {
        let mut hit = false;
        let _next = commands::run(cx, &list.request(key), cx.store.hash(key), Payload::None, |reply, _| {
            hit = matches!(reply, Reply::Hit(_));
        });
        cx.server.prefixes.count(key, Event::Get { hit });
        rest = &rest[consumed..];
    }
}

/// `stats detail` counts classic commands only (section 11.7).
fn count_prefix(cx: &Context<'_>, command: &Command<'_>) {
    if !matches!(command.spelling, Spelling::Text { .. }) {
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
    if encode(out.bytes_mut(), spelling, key, reply) == Body::Value {
        if let Some(value) = value {
            out.push_value(value);
        }
        out.bytes_mut().extend_from_slice(b"\r\n");
    }
}

/// Turns input into slots.
struct Filler<'a> {
    input: &'a [u8],
    /// Where the next task begins.
    at: usize,
    /// Inside a key list.
    list: Option<OpenList>,
    slots: ArrayVec<Slot<'a>, BATCH>,
    /// The input ends before the next task does.
    starved: bool,
    scratch: Scratch<'a>,
    options: ParseOptions,
}

struct OpenList {
    list: KeyList<'static>,
    /// Where its keys end and where the line does, if that is in the input.
    ends: Option<(usize, usize)>,
}

impl<'a> Filler<'a> {
    /// Goes on in the middle of a list.
    fn resume(&mut self, list: KeyList<'static>) {
        let ends = memchr::memchr(b'\n', self.input).map(|line_feed| {
            let keys = self.input[..line_feed].strip_suffix(b"\r").map_or(line_feed, <[u8]>::len);
            (keys, line_feed + 1)
        });
        self.list = Some(OpenList { list, ends });
    }

    /// Parses until the batch is full, `requests` are begun, the input ends, or something comes after which it has to be looked
    /// at anew.
    fn fill(&mut self, mut requests: usize, cx: &Context<'_>) {
        while !self.slots.is_full() && requests > 0 && self.scratch.has_room() {
            let go_on = match &self.list {
                Some(_) => self.next_key(&mut requests, cx),
                None => self.next_line(&mut requests, cx),
            };
            if !go_on {
                return;
            }
        }
    }

    fn push(&mut self, task: Task<'a>, key: &[u8], end: usize, cx: &Context<'_>) {
        let hash = if key.is_empty() {
            KeyHash(0)
        } else {
            let hash = cx.store.hash(key);
            cx.store.prefetch_bucket(hash);
            hash
        };
        self.slots.push(Slot { task, hash, end });
        self.at = end;
    }

    /// One key of the open list, or its end.
    fn next_key(&mut self, requests: &mut usize, cx: &Context<'_>) -> bool {
        let Some(OpenList { list, ends }) = &self.list else { return false };
        let (list, ends) = (*list, *ends);
        let keys_end = ends.map_or(self.input.len(), |(keys, _)| keys);
        let input = self.input;
        match text::next_key(&input[self.at.min(keys_end)..keys_end], ends.is_some()) {
            NextKey::Key(key, consumed) => match ends {
                Some((keys, line)) if self.at + consumed == keys => {
                    self.push(Task::ReadLast(list, key), key, line, cx);
                    self.list = None;
                    *requests -= 1;
                }
                _ => self.push(Task::Read(list, key), key, self.at + consumed, cx),
            },
            NextKey::End => {
                let line_end = ends.map_or(keys_end, |(_, line)| line);
                self.push(Task::EndOfKeys, b"", line_end, cx);
                self.list = None;
                *requests -= 1;
            }
            NextKey::NeedMore { consumed } => {
                self.at += consumed;
                self.starved = true;
                return false;
            }
            NextKey::TooLong => {
                self.push(Task::KeyTooLong, b"", self.at, cx);
                return false;
            }
        }
        true
    }

    /// One command line, and what it brings.
    fn next_line(&mut self, requests: &mut usize, cx: &Context<'_>) -> bool {
        let input = self.input;
        let Some(length) = memchr::memchr(b'\n', &input[self.at..]) else {
            self.starved = true;
            return false;
        };
        let line = &input[self.at..self.at + length];
        let end = self.at + length + 1;
        match parse(line, &mut self.scratch, self.options) {
            Parsed::Command(command) => {
                *requests -= 1;
                let key = command.request.key().bytes();
                let Request::Store(store) = &command.request else {
                    self.push(Task::Run(command, None), key, end, cx);
                    return true;
                };
                let value_end = end + store.value_len;
                match input.get(value_end..value_end + 2) {
                    Some(terminator) => {
                        let arrived = Arrived { value: &input[end..value_end], terminated: terminator == b"\r\n" };
                        self.push(Task::Run(command, Some(arrived)), key, value_end + 2, cx);
                        true
                    }
                    None => {
                        self.push(Task::Upload(command, line), key, end, cx);
                        false
                    }
                }
            }
            Parsed::Keys(list) if text::any_key_too_long(list.rest) => {
                self.push(Task::ReadInVain(list), b"", end, cx);
                false
            }
            Parsed::Keys(KeyList { with_cas, touch, rest }) => {
                // Its keys go to the end of the line, but for a CR.
                let keys_end = self.at + line.strip_suffix(b"\r").map_or(length, <[u8]>::len);
                self.at = keys_end - rest.len();
                let list = KeyList { with_cas, touch, rest: b"" };
                self.list = Some(OpenList { list, ends: Some((keys_end, end)) });
                true
            }
            Parsed::Refused(refused) => {
                self.push(Task::Refuse(refused), b"", end, cx);
                false
            }
            Parsed::Close => {
                self.push(Task::Close, b"", end, cx);
                false
            }
        }
    }
}
