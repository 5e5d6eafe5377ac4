//! A value that has not arrived whole with its command line: it is received straight into the item's memory.

use super::output::Output;
use super::{Conn, Next, Phase, Step, batch};
use crate::clock::Now;
use crate::commands::store::{self, BAD_CHUNK, NO_MEMORY_FOR_REST};
use crate::commands::{self, Context, Payload};
use crate::protocol::binary::{self, Access, Frame};
use crate::protocol::reply::{Error, Reply};
use crate::protocol::{Command, ParseOptions, Parsed, Request, Scratch, Spelling, limits, parse};
use crate::store::{Draft, KeyHash, Refused};

/// See the file's head.
pub(super) struct Upload {
    /// The command line, without its LF. It is parsed again when the value is there, which is cheaper than keeping
    /// everything it said.
    line: Box<[u8]>,
    /// It is a frame's header, extras and key instead, and no CR LF follows the value.
    binary: bool,
    hash: KeyHash,
    draft: Draft,
}

/// Seconds after its first wait at which a value that has to wait is given up, so that clients that each hold a part of theirs do not wait
/// for each other for ever; counted from the first wait, so that those given up make room for others to get done and not
/// just to their next wait. More than what it takes to close those who send nothing.
const PATIENCE_SECONDS: u32 = 4;

/// At least this much, or the whole value, must be free for clients to hold before a value that arrives in pieces is begun.
const BEGIN_BYTES: usize = 16 * 1024;

/// Bytes behind the value: CR LF, but not in the binary protocol.
const fn terminator_len(binary: bool) -> usize {
    if binary { 0 } else { 2 }
}

impl Upload {
    /// Length of the value.
    pub(super) fn value_len(&self) -> usize {
        self.draft.value_len()
    }
}

impl Conn {
    /// Whether it makes no sense to read now: the value being received needs memory that clients may not have. Ask again a little later.
    #[must_use]
    pub fn must_wait(&mut self, now: Now) -> bool {
        matches!(&self.phase, Phase::Upload(upload) if upload.draft.must_wait()) && self.is_patient(now)
    }

    /// A value has to wait: whether it does, or is given up.
    pub(super) fn is_patient(&mut self, now: Now) -> bool {
        let since = *self.waits_since.get_or_insert(now.seconds);
        now.seconds.saturating_sub(since) < PATIENCE_SECONDS
    }

    /// While a value is being received: where its next bytes belong; never empty. `None` when it is complete but for its CR
    /// LF, when there is no memory for the rest, and in every other phase: read into the shared buffer then.
    pub fn upload(&mut self, cx: &mut Context<'_>) -> Option<&mut [u8]> {
        match &mut self.phase {
            Phase::Upload(upload) if upload.draft.remaining() > 0 => upload.draft.spare(cx.now).ok(),
            _ => None,
        }
    }

    /// Whether the value has arrived and only has to be stored: [`Conn::process`] has something to do even without more input.
    #[must_use]
    pub fn has_whole_value(&self) -> bool {
        matches!(&self.phase, Phase::Upload(upload) if upload.is_whole())
    }

    /// Whether the place that [`Conn::upload`] gives ends with the value: what is read beyond it belongs to the conversation.
    #[must_use]
    pub fn uploads_last(&self) -> bool {
        matches!(&self.phase, Phase::Upload(upload) if upload.draft.in_last_piece())
    }

    /// `n` bytes were read into what [`Conn::upload`] gave.
    pub fn uploaded(&mut self, n: usize) {
        if let Phase::Upload(upload) = &mut self.phase {
            upload.draft.advance(n);
        }
    }

    /// Takes memory for the beginning of the value that `command` announces, and goes on receiving it. False when it has to wait before
    /// that; then nothing was done.
    pub(super) fn begin_upload(
        &mut self,
        line: &[u8],
        command: &Command<'_>,
        hash: KeyHash,
        out: &mut Output,
        cx: &Context<'_>,
    ) -> bool {
        let Request::Store(request) = &command.request else { return true };
        let fits = cx.store.fits(request.key.bytes().len(), request.value_len, request.flags);
        // What is too large is told so at once.
        let room = !fits || cx.store.may_begin(request.value_len.min(BEGIN_BYTES));
        if !room && self.is_patient(cx.now) {
            return false;
        }
        let binary = matches!(command.spelling, Spelling::Binary { .. });
        let begun = if room { store::begin(cx, request, hash, true) } else { Err(store::no_memory(cx, request, hash)) };
        match begun {
            Ok(draft) => self.phase = Phase::Upload(Box::new(Upload { line: line.into(), binary, hash, draft })),
            Err(error) => {
                refuse(out, &command.spelling, error);
                self.phase = Phase::Swallow(request.value_len + terminator_len(binary));
                self.waits_since = None;
            }
        }
        true
    }

    /// More of the value.
    pub(super) fn receive(&mut self, input: &[u8], out: &mut Output, cx: &Context<'_>) -> Step {
        let Phase::Upload(upload) = &mut self.phase else { return Step::go_on(0) };
        let wanted = upload.draft.remaining();
        let terminator_len = terminator_len(upload.binary);
        let (value, behind) = input.split_at(wanted.min(input.len()));
        if let Err(refused) = upload.draft.write(value, cx.now) {
            let written = wanted - upload.draft.remaining();
            if refused == Refused::Later && self.is_patient(cx.now) {
                return Step::stop(written, Next::Later);
            }
            if let Phase::Upload(upload) = std::mem::replace(&mut self.phase, Phase::Swallow(wanted + terminator_len)) {
                upload.answer_refusal(out, NO_MEMORY_FOR_REST);
            }
            self.waits_since = None;
            return Step::go_on(0);
        }
        if value.len() < wanted || behind.len() < terminator_len {
            return Step::stop(value.len(), Next::Read);
        }
        self.waits_since = None;
        let Phase::Upload(upload) = std::mem::replace(&mut self.phase, Phase::Command) else { return Step::go_on(0) };
        if upload.binary || behind.starts_with(b"\r\n") {
            upload.finish(out, cx);
        } else {
            upload.answer_refusal(out, BAD_CHUNK);
        }
        Step::go_on(value.len() + terminator_len)
    }
}

impl Upload {
    /// What was said so far, to be said again elsewhere.
    pub(super) fn as_input(&self) -> Vec<u8> {
        let mut input = self.line.to_vec();
        if !self.binary {
            input.push(b'\n');
        }
        self.draft.copy_written(&mut input);
        input
    }

    /// Nothing more belongs to it.
    pub(super) fn is_whole(&self) -> bool {
        self.binary && self.draft.remaining() == 0
    }

    fn finish(self, out: &mut Output, cx: &Context<'_>) {
        let mut scratch = [0; limits::DECODED_KEY_MAX];
        let Some(command) = command(&self.line, self.binary, &mut scratch) else { return };
        let payload = Payload::Uploaded(self.draft);
        let key = command.request.key();
        let spot = cx.store.spot(self.hash);
        let _next = commands::run(cx, &command.request, &spot, payload, |reply, value| {
            batch::answer(out, &command.spelling, key, &reply, value);
        });
    }

    fn answer_refusal(&self, out: &mut Output, error: Error) {
        let mut scratch = [0; limits::DECODED_KEY_MAX];
        if let Some(command) = command(&self.line, self.binary, &mut scratch) {
            refuse(out, &command.spelling, error);
        }
    }
}

/// What the line, or the frame, asked. It was parsed before, so there always is something.
fn command<'a>(line: &'a [u8], binary: bool, scratch: &'a mut [u8]) -> Option<Command<'a>> {
    if binary {
        return match binary::parse(line, Access::default()).frame {
            Frame::Command(command) => Some(command),
            _ => None,
        };
    }
    match parse(line, &mut Scratch::new(scratch), ParseOptions::default()) {
        Parsed::Command(command) => Some(command),
        _ => None,
    }
}

/// An error line, unless the client wants none.
fn refuse(out: &mut Output, spelling: &Spelling<'_>, error: Error) {
    batch::answer(out, spelling, crate::protocol::Key::NONE, &Reply::Error(error), None);
}
