//! Requests of the binary protocol, run in batches like those of [`super::batch`]: frames are parsed some ahead, their keys
//! hashed and the buckets and items fetched meanwhile; then all are run, in order. Nothing is allocated but what the
//! output needs.
//!
//! A batch ends behind whatever changes how the input is to be read: a value still on its way, data to be skipped, an
//! authentication.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::batch::{self, REPLY_MAX};
use super::filler::{self, BATCH, Slot};
use super::output::Output;
use super::{Conn, Next, Phase, Step, Turn};
use crate::commands::get::{self, Seen};
use crate::commands::{Context, Payload, auth};
use crate::protocol::binary::{self, Access, Frame, Parsed, Read, Refused};
use crate::protocol::request::Auth;
use crate::protocol::{Command, Key, Request, Spelling};
use crate::store::{Spot, Store};

enum Task<'a> {
    /// One key.
    Read(Read<'a>),
    /// A request that is complete, with its value if it has one. It is in [`Frames::commands`].
    Run(usize, Option<&'a [u8]>),
    /// A storage request whose value is still on its way, and its header, extras and key.
    Upload(usize, &'a [u8]),
    /// A part of an authentication.
    Auth(Auth<'a>, Spelling<'static>),
    /// An error.
    Refuse(Refused),
    /// Go without a word.
    Close,
}

/// A batch. Slots are small; whole commands lie beside them.
#[derive(Default)]
struct Frames<'a> {
    slots: ArrayVec<Slot<Task<'a>>, BATCH>,
    commands: ArrayVec<Command<'a>, BATCH>,
    /// The input ends before the next frame does.
    starved: bool,
}

/// Parses ahead and runs what it found.
pub(super) fn run(conn: &mut Conn, input: &[u8], out: &mut Output, cx: &mut Context<'_>, turn: &mut Turn) -> Step {
    let mut frames = Frames::default();
    let access = Access { sasl: cx.server.settings.sasl, locked: conn.is_locked(cx) };
    frames.fill(input, access, turn.requests, cx.store);
    filler::fetch_items(&frames.slots, cx.store);
    let mut done = 0;
    for slot in &frames.slots {
        turn.requests -= 1;
        let step = match &slot.task {
            Task::Read(asked) if read(asked, &slot.spot, out, cx) => None,
            Task::Read(_) => Some(Step::stop(done, Next::Later)),
            Task::Run(place, value) => {
                conn.run_frame(&frames.commands[*place], *value, &slot.spot, done..slot.end, out, cx)
            }
            Task::Upload(place, head) => {
                let command = &frames.commands[*place];
                Some(conn.begin(command, head, slot.spot.hash, done..slot.end, out, cx))
            }
            Task::Auth(asked, spelling) => Some(conn.authenticate(asked, spelling, slot.end, out, cx)),
            Task::Refuse(refused) => conn.refuse_frame(refused, slot.end, out),
            Task::Close => {
                conn.phase = Phase::Closing;
                Some(Step::stop(input.len(), Next::Close))
            }
        };
        if let Some(step) = step.or_else(|| turn.pause(slot.end, out)) {
            return step;
        }
        done = slot.end;
    }
    if frames.starved { Step::stop(done, Next::Read) } else { Step::go_on(done) }
}

impl<'a> Frames<'a> {
    /// Parses until the batch is full, `requests` are begun, the input ends, or something comes behind which it has to be looked at
    /// anew.
    fn fill(&mut self, input: &'a [u8], access: Access, requests: usize, store: &Store) {
        let mut at = 0;
        while self.slots.len() < requests.min(BATCH) {
            let Parsed { frame, head } = binary::parse(&input[at..], access);
            let start = at;
            at += head;
            let (task, key, goes_on) = match frame {
                Frame::NeedMore => {
                    self.starved = true;
                    return;
                }
                Frame::Read(read) => (Task::Read(read), read.key, true),
                Frame::Command(command) => {
                    let key = command.request.key().bytes();
                    let place = self.commands.len();
                    let value_len = match &command.request {
                        Request::Store(store) => Some(store.value_len),
                        _ => None,
                    };
                    let value = value_len.and_then(|length| input.get(at..at + length));
                    self.commands.push(command);
                    at += value.map_or(0, <[u8]>::len);
                    if value_len.is_some() && value.is_none() {
                        (Task::Upload(place, &input[start..at]), key, false)
                    } else {
                        (Task::Run(place, value), key, true)
                    }
                }
                Frame::Auth(auth, spelling) => (Task::Auth(auth, spelling), &b""[..], false),
                Frame::Refused(refused) => (Task::Refuse(refused), &b""[..], refused.swallow == 0 && !refused.close),
                Frame::Close => (Task::Close, &b""[..], false),
            };
            self.slots.push(Slot::new(task, key, at, store));
            if !goes_on {
                return;
            }
        }
    }
}

impl Conn {
    /// Runs a request that is complete. A step when the batch has to end here, or before it.
    fn run_frame(
        &mut self,
        command: &Command<'_>,
        value: Option<&[u8]>,
        spot: &Spot,
        place: Range<usize>,
        out: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<Step> {
        if let Request::Get(get) = &command.request {
            let seen = batch::answer_get(get, &command.spelling, spot, out, cx);
            // Other than in the text protocol, `touch` counts too.
            return (!batch::count_read(get.key.bytes(), seen, cx)).then_some(Step::stop(place.start, Next::Later));
        }
        let payload = value.map_or(Payload::None, |value| Payload::Whole { value, terminated: true });
        self.run(command, payload, spot, place, out, cx)
    }

    fn authenticate(
        &mut self,
        asked: &Auth<'_>,
        spelling: &Spelling<'_>,
        end: usize,
        out: &mut Output,
        cx: &Context<'_>,
    ) -> Step {
        let reply = auth::sasl(cx, &mut self.login, asked);
        batch::answer(out, spelling, Key::NONE, &reply, None);
        if let Auth::Overlong { len } = asked {
            self.phase = Phase::Swallow(*len);
        }
        Step::go_on(end)
    }

    /// Answers what is no request.
    #[cold]
    fn refuse_frame(&mut self, refused: &Refused, end: usize, out: &mut Output) -> Option<Step> {
        binary::push_refusal(out.bytes_mut(), refused);
        if refused.close {
            self.phase = Phase::Closing;
            return Some(Step::stop(end, Next::Close));
        }
        if refused.swallow > 0 {
            self.phase = Phase::Swallow(refused.swallow);
            return Some(Step::go_on(end));
        }
        None
    }
}

/// One key. False when it cannot be read now.
fn read(read: &Read<'_>, spot: &Spot, out: &mut Output, cx: &Context<'_>) -> bool {
    out.bytes_mut().reserve(REPLY_MAX);
    let seen = get::plain(cx, read.key, spot, |item, value| {
        binary::push_hit(out.bytes_mut(), read, item.flags, item.size, item.cas);
        out.push_value(value);
    });
    if seen == Seen::No {
        binary::push_miss(out.bytes_mut(), read);
    }
    batch::count_read(read.key, seen, cx)
}

#[cfg(test)]
mod tests;
