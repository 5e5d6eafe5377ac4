//! Requests of the binary protocol, run in batches like those of [`super::batch`]: frames are parsed some ahead, their keys
//! hashed and the buckets and items fetched meanwhile; then all are run, in order. Nothing is allocated but what the
//! output needs.
//!
//! A batch ends behind whatever changes how the input is to be read: a value still on its way, data to be skipped, an
//! authentication.

use arrayvec::ArrayVec;

use super::batch::{self, BATCH, REPLY_MAX};
use super::output::Output;
use super::{Conn, Next, Phase, Step, Turn};
use crate::commands::get::{self, Seen};
use crate::commands::{After, Context, Payload, auth};
use crate::protocol::binary::{self, Access, Frame, Parsed, Read, Refused};
use crate::protocol::request::{Auth, Get};
use crate::protocol::{Command, Key, Reply, Request, Spelling};
use crate::stats::prefix::Event;
use crate::store::KeyHash;

/// One thing to do.
struct Slot<'a> {
    task: Task<'a>,
    hash: KeyHash,
    /// Where the input goes on behind it.
    end: usize,
}

enum Task<'a> {
    /// One key.
    Read(Read<'a>),
    /// A request that is complete, with its value if it has one.
    Run(Command<'a>, Option<&'a [u8]>),
    /// A storage request whose value is still on its way, and its header, extras and key.
    Upload(Command<'a>, &'a [u8]),
    /// A part of an authentication.
    Auth(Auth<'a>, Spelling<'static>),
    /// An error.
    Refuse(Refused),
    /// Go without a word.
    Close,
}

/// Parses ahead and runs what it found.
pub(super) fn run(conn: &mut Conn, input: &[u8], out: &mut Output, cx: &mut Context<'_>, turn: &mut Turn) -> Step {
    let mut slots = ArrayVec::new();
    let access = Access { sasl: cx.server.settings.sasl, locked: conn.is_locked(cx) };
    let starved = fill(&mut slots, input, access, turn.requests, cx);
    if slots.len() > 1 {
        for slot in &slots {
            cx.store.prefetch_item(slot.hash);
        }
    }
    let mut done = 0;
    for slot in &slots {
        if let Some(step) = conn.run_frame(slot, input, done, out, cx, turn) {
            return step;
        }
        done = slot.end;
    }
    if starved { Step::stop(done, Next::Read) } else { Step::go_on(done) }
}

/// Parses until the batch is full, `requests` are begun, or something comes behind which the input has to be looked at anew. True
/// when the input ends before the next frame does.
fn fill<'a>(
    slots: &mut ArrayVec<Slot<'a>, BATCH>,
    input: &'a [u8],
    access: Access,
    requests: usize,
    cx: &Context<'_>,
) -> bool {
    let mut at = 0;
    while slots.len() < requests.min(BATCH) {
        let Parsed { frame, head } = binary::parse(&input[at..], access);
        let start = at;
        at += head;
        let (task, key, goes_on) = match frame {
            Frame::NeedMore => return true,
            Frame::Read(read) => (Task::Read(read), read.key, true),
            Frame::Command(command) => {
                let key = command.request.key().bytes();
                match &command.request {
                    Request::Store(store) => match input.get(at..at + store.value_len) {
                        Some(value) => {
                            at += value.len();
                            (Task::Run(command, Some(value)), key, true)
                        }
                        None => (Task::Upload(command, &input[start..at]), key, false),
                    },
                    _ => (Task::Run(command, None), key, true),
                }
            }
            Frame::Auth(auth, spelling) => (Task::Auth(auth, spelling), &b""[..], false),
            Frame::Refused(refused) => (Task::Refuse(refused), &b""[..], refused.swallow == 0 && !refused.close),
            Frame::Close => (Task::Close, &b""[..], false),
        };
        let hash = if key.is_empty() {
            KeyHash(0)
        } else {
            let hash = cx.store.hash(key);
            cx.store.prefetch_bucket(hash);
            hash
        };
        slots.push(Slot { task, hash, end: at });
        if !goes_on {
            return false;
        }
    }
    false
}

impl Conn {
    /// Runs one slot, which begins in the input at `start`. A step when the batch has to end here, or before it.
    fn run_frame(
        &mut self,
        slot: &Slot<'_>,
        input: &[u8],
        start: usize,
        out: &mut Output,
        cx: &mut Context<'_>,
        turn: &mut Turn,
    ) -> Option<Step> {
        let &Slot { hash, end, .. } = slot;
        out.bytes_mut().reserve(REPLY_MAX);
        match &slot.task {
            Task::Read(asked) => {
                if !read(asked, hash, out, cx) {
                    return Some(Step::stop(start, Next::Later));
                }
            }
            Task::Run(Command { request: Request::Get(get), spelling }, _) => {
                if !touch(get, spelling, hash, out, cx) {
                    return Some(Step::stop(start, Next::Later));
                }
            }
            Task::Run(command, value) => {
                let payload = value.map_or(Payload::None, |value| Payload::Whole { value, terminated: true });
                if let Some(step) = self.run_command(command, payload, hash, start..end, out, cx) {
                    return Some(step);
                }
            }
            Task::Upload(command, head) => {
                if !self.begin_upload(head, command, hash, out, cx) {
                    return Some(Step::stop(start, Next::Later));
                }
                turn.requests -= 1;
                batch::count_prefix(cx, command);
                return Some(Step::go_on(end));
            }
            Task::Auth(asked, spelling) => {
                turn.requests -= 1;
                let reply = auth::sasl(cx, &mut self.login, asked);
                batch::answer(out, spelling, Key::NONE, &reply, None);
                if let Auth::Overlong { len } = asked {
                    self.phase = Phase::Swallow(*len);
                }
                return Some(Step::go_on(end));
            }
            Task::Refuse(refused) => {
                binary::push_refusal(out.bytes_mut(), refused);
                if refused.close {
                    self.phase = Phase::Closing;
                    return Some(Step::stop(end, Next::Close));
                }
                if refused.swallow > 0 {
                    turn.requests -= 1;
                    self.phase = Phase::Swallow(refused.swallow);
                    return Some(Step::go_on(end));
                }
            }
            Task::Close => {
                self.phase = Phase::Closing;
                return Some(Step::stop(input.len(), Next::Close));
            }
        }
        turn.requests -= 1;
        turn.pause(end, out)
    }
}

/// One key. False when it cannot be read now.
fn read(read: &Read<'_>, hash: KeyHash, out: &mut Output, cx: &Context<'_>) -> bool {
    let seen = get::plain(cx, read.key, hash, |item, value| {
        binary::push_hit(out.bytes_mut(), read, item.flags, item.size, item.cas);
        out.push_value(value);
    });
    match seen {
        Seen::Yes => {}
        Seen::No => binary::push_miss(out.bytes_mut(), read),
        Seen::Busy => return false,
    }
    cx.server.prefixes.count(read.key, Event::Get { hit: seen == Seen::Yes });
    true
}

/// `touch`, `gat`, `gatk`. False when the value cannot be read now.
fn touch(get: &Get<'_>, spelling: &Spelling<'_>, hash: KeyHash, out: &mut Output, cx: &Context<'_>) -> bool {
    let mut hit = false;
    let after = get::get(cx, get, hash, |reply, value| {
        hit = matches!(reply, Reply::Hit(_));
        batch::answer(out, spelling, get.key, &reply, value);
    });
    if matches!(after, After::Later) {
        return false;
    }
    // Other than in the text protocol, `touch` counts too.
    cx.server.prefixes.count(get.key.bytes(), Event::Get { hit });
    true
}

#[cfg(test)]
mod tests;
