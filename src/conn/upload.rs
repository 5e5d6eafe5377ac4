//! A value that has not arrived whole with its command line: it is received straight into the item's memory.

use super::output::Output;
use super::{Conn, Next, Phase, Step, batch};
use crate::clock::Now;
use crate::commands::store::{self, BAD_CHUNK, NO_MEMORY_FOR_REST};
use crate::commands::{self, Context, Payload};
use crate::protocol::reply::{Error, Reply};
use crate::protocol::{Command, ParseOptions, Parsed, Request, Scratch, Spelling, limits, parse};
use crate::store::{Draft, KeyHash, Refused};

/// See the file's head.
pub(super) struct Upload {
    /// The command line, without its LF. It is parsed again when the value is there, which is cheaper than keeping
    /// everything it said.
    line: Box<[u8]>,
    hash: KeyHash,
    draft: Draft,
    /// Second at which it first had to wait for memory that clients may hold.
    waits_since: Option<u32>,
}

/// Seconds after its first wait at which a value that has to wait is given up, so that clients that each hold a part of theirs do not wait
/// for each other for ever; counted from the first wait, so that those given up make room for others to get done and not
/// just to their next wait. More than what it takes to close those who send nothing.
const PATIENCE_SECONDS: u32 = 4;

/// CR LF behind the value.
const TERMINATOR: usize = 2;

impl Conn {
    /// While a value is being received: where its next bytes belong; never empty. `None` when it is complete but for its CR
    /// LF, when there is no memory for the rest, and in every other phase: read into the shared buffer then.
    pub fn upload(&mut self, cx: &mut Context<'_>) -> Option<&mut [u8]> {
        match &mut self.phase {
            Phase::Upload(upload) if upload.draft.remaining() > 0 => upload.draft.spare(cx.now).ok(),
            _ => None,
        }
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

    /// Takes memory for the value that `command` announces, and goes on receiving it.
    pub(super) fn begin_upload(
        &mut self,
        line: &[u8],
        command: &Command<'_>,
        hash: KeyHash,
        out: &mut Output,
        cx: &Context<'_>,
    ) {
        let Request::Store(request) = &command.request else { return };
        match store::begin(cx, request, hash, true) {
            Ok(draft) => {
                self.phase = Phase::Upload(Box::new(Upload { line: line.into(), hash, draft, waits_since: None }))
            }
            Err(error) => {
                refuse(out, &command.spelling, error);
                self.phase = Phase::Swallow(request.value_len + TERMINATOR);
            }
        }
    }

    /// More of the value.
    pub(super) fn receive(&mut self, input: &[u8], out: &mut Output, cx: &Context<'_>) -> Step {
        let Phase::Upload(upload) = &mut self.phase else { return Step::go_on(0) };
        let wanted = upload.draft.remaining();
        let (value, behind) = input.split_at(wanted.min(input.len()));
        match upload.draft.write(value, cx.now) {
            Ok(()) => {}
            Err(Refused::Later) if upload.must_wait(cx.now) => {
                return Step::stop(wanted - upload.draft.remaining(), Next::Later);
            }
            Err(_) => {
                upload.answer_refusal(out, NO_MEMORY_FOR_REST);
                self.phase = Phase::Swallow(wanted + TERMINATOR);
                return Step::go_on(0);
            }
        }
        if value.len() < wanted || behind.len() < TERMINATOR {
            return Step::stop(value.len(), Next::Read);
        }
        let Phase::Upload(upload) = std::mem::replace(&mut self.phase, Phase::Command) else { return Step::go_on(0) };
        if behind.starts_with(b"\r\n") {
            upload.finish(out, cx);
        } else {
            upload.answer_refusal(out, BAD_CHUNK);
        }
        Step::go_on(value.len() + TERMINATOR)
    }
}

impl Upload {
    /// Whether the value cannot go on now, and is not given up yet.
    pub(super) fn must_wait(&mut self, now: Now) -> bool {
        if !self.draft.must_wait() {
            return false;
        }
        let since = *self.waits_since.get_or_insert(now.seconds);
        now.seconds.saturating_sub(since) < PATIENCE_SECONDS
    }

    fn finish(self, out: &mut Output, cx: &Context<'_>) {
        let mut scratch = [0; limits::DECODED_KEY_MAX];
        let Parsed::Command(command) = parse(&self.line, &mut Scratch::new(&mut scratch), ParseOptions::default())
        else {
            return;
        };
        let payload = Payload::Uploaded(self.draft);
        let key = command.request.key();
        let _next = commands::run(cx, &command.request, self.hash, payload, |reply, value| {
            batch::answer(out, &command.spelling, key, &reply, value);
        });
    }

    fn answer_refusal(&self, out: &mut Output, error: Error) {
        let mut scratch = [0; limits::DECODED_KEY_MAX];
        if let Parsed::Command(command) = parse(&self.line, &mut Scratch::new(&mut scratch), ParseOptions::default()) {
            refuse(out, &command.spelling, error);
        }
    }
}

/// An error line, unless the client wants none.
fn refuse(out: &mut Output, spelling: &Spelling<'_>, error: Error) {
    batch::answer(out, spelling, crate::protocol::Key::NONE, &Reply::Error(error), None);
}
