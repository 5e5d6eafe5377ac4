//! One client: its socket, its conversation, and what waits between two turns.
//!
//! In a turn the worker lends its buffers: what was read is run, and all replies go out by one write. Only what is left
//! over is kept by the client itself, in [`Held`]: the beginning of a request, and replies that the socket did not take.
//! While replies wait, nothing is read or run, so one turn's worth is the most that a client ever holds.

use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{OwnedFd, RawFd};

use mio::{Registry, Token};

use super::budget::{Budget, CLIENT_BYTES_MAX};
use super::roster::{Pulse, State};
use super::stream::Stream;
use super::tls::{self, Scratch, TlsRead, TlsStream};
use crate::commands::Context;
use crate::conn::{Conn, Next, OUTPUT_PER_TURN, Output, REPLY_MAX};
use crate::logger::{CloseReason, Event, Streams};
use crate::stats::{Counter, ThreadStats};
use crate::sync::Arc;

/// Bytes asked from a socket at once.
const READ_BYTES: usize = 64 << 10;

/// The same while clients hold as much of item memory as they may.
const READ_TIGHT_BYTES: usize = 16 << 10;

/// TLS needs room for a record beside the beginning of one.
const READ_TIGHT_TLS_BYTES: usize = 2 * tls::RECORD_BYTES_MAX;

/// Room in front of them for the beginning of a request that came earlier: a line (2048 bytes), or the credentials of an
/// authentication (16 KiB).
const PARTIAL_BYTES: usize = 32 << 10;

/// Replies of this many bytes are sent before more requests are run, even if nobody else waits.
const SEND_BYTES: usize = 64 << 10;

/// Bytes handed to or asked from the kernel at once for a large value. Others have their turn in between: a thousand clients that
/// each fetch a large value must not keep a small one waiting for all of theirs.
const PIECE_BYTES: usize = 64 << 10;

/// The same while no more than [`FEW`] wait, which all together take no longer then. Every piece costs a system call or two.
const LONG_PIECE_BYTES: usize = 512 << 10;

const FEW: usize = 16;

/// Values from this size on are better read in two steps: the line with the little that comes with it, then all the rest straight
/// into item memory, instead of [`READ_BYTES`] that are copied there.
const LARGE_VALUE_BYTES: usize = READ_BYTES / 2;

/// The first of these steps.
const LINE_READ_BYTES: usize = 4 << 10;

/// With this many clients of a worker holding memory between turns, those who fetch large values may not leave all of them with the kernel.
const HOLDERS_MANY: usize = 64;

/// The worker's own output buffer, grown by one long reply, is cut back to this.
const OUTPUT_KEPT: usize = 512 << 10;

/// What TLS adds: the beginning of a record, and one write enciphered.
const TLS_BYTES: usize = tls::RECORD_BYTES_MAX + PIECE_BYTES + PIECE_BYTES / 16 + tls::HANDSHAKE_BYTES;

// With a reply that goes on past the end of the turn (a value below the size that is pinned).
const _: () = assert!(
    PARTIAL_BYTES + READ_BYTES + SEND_BYTES + OUTPUT_PER_TURN + REPLY_MAX + size_of::<Held>() + TLS_BYTES
        <= CLIENT_BYTES_MAX,
    "what a turn may leave behind"
);

/// What a worker lends to the client whose turn it is.
pub(super) struct Buffers {
    input: Box<[u8]>,
    output: Output,
    tls: Scratch,
}

impl Buffers {
    pub(super) fn new() -> Buffers {
        let input = vec![0; PARTIAL_BYTES + READ_BYTES].into_boxed_slice();
        Buffers { input, output: Output::new(), tls: Scratch::default() }
    }
}

impl Buffers {
    /// The parts that datagrams need.
    pub(super) fn for_datagrams(&mut self) -> (&mut [u8], &mut Output) {
        (&mut self.input, &mut self.output)
    }
}

/// What a turn has to know of the worker's other clients.
pub(super) struct Others<'a> {
    /// Whether nobody waits for the worker; looks for events, which may be a system call.
    pub(super) none: &'a mut dyn FnMut() -> bool,
    /// How many had been waiting when the turn began.
    pub(super) queued: usize,
    /// How many hold memory between turns.
    pub(super) holders: usize,
}

impl Others<'_> {
    /// Whether the turn may go on because nobody waits.
    fn none(&mut self) -> bool {
        (self.none)()
    }

    /// Bytes of a large value that may be moved before it is their turn.
    fn piece_bytes(&self) -> usize {
        if self.queued <= FEW { LONG_PIECE_BYTES } else { PIECE_BYTES }
    }
}

/// One client of a worker.
pub(super) struct Client {
    stream: Stream,
    conn: Conn,
    pulse: Arc<Pulse>,
    /// What waits between turns; idle clients have none.
    held: Option<Box<Held>>,
    /// Bytes charged to the budget for `held`.
    charged: usize,
    /// The socket may have bytes: it told so and has not been drained since.
    readable: bool,
    /// The other side has closed: a short read does not mean that the end has been seen.
    read_closed: bool,
    /// The last turn was used up; the conversation goes on without new bytes.
    again: bool,
    /// It waited for item memory, not for the budget.
    later: bool,
    /// Its last turn answered all that had come, and left nothing behind.
    settled: bool,
    /// To be closed when the waiting replies have gone.
    closing: bool,
    /// Its last request stored a large value, and the next one probably will.
    bulky: bool,
    /// The kernel keeps only so much unsent for it.
    curbed: bool,
    /// The worker's poll also tells when the socket can take more.
    watching: bool,
    /// Has a place in the worker's queue.
    pub(super) queued: bool,
    /// Why it is closed, when it is.
    reason: CloseReason,
}

// With its entry in the roster and its pulse, an idle client costs some 230 bytes.
const _: () = assert!(size_of::<Option<Client>>() <= 128, "what an idle client costs");

/// What one client keeps between two turns.
struct Held {
    /// Bytes read and not yet run; those before `run` are done with.
    input: Vec<u8>,
    run: usize,
    /// Replies that the socket did not take.
    output: Output,
}

/// What a client is beyond its socket, on its way to another process.
pub(super) struct HandedParts {
    pub(super) conn: Conn,
    /// Bytes read and not yet run.
    pub(super) input: Vec<u8>,
    /// Replies not yet sent.
    pub(super) output: Vec<u8>,
    /// The conversation goes on without new bytes.
    pub(super) again: bool,
    /// To be closed when the replies have gone.
    pub(super) closing: bool,
}

/// What is to become of the client after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing to do until the socket tells more.
    Rest,
    /// More is waiting: at the back of the queue.
    Again,
    /// It watches: another turn a little later, to tell it what has come.
    Watch {
        /// There was something this time.
        told: bool,
    },
    /// The socket takes no more replies for now.
    Blocked,
    /// It may not run now, because clients hold as much memory as they may.
    Starved,
    /// Close it.
    Close,
    /// Close it and stop the server.
    Shutdown { graceful: bool },
}

/// What came of reading.
enum Received {
    /// Something was run.
    Ran(Next),
    /// There was nothing.
    Nothing,
    /// The other side is gone.
    Ended,
}

/// What came of writing.
#[derive(PartialEq, Eq)]
enum Sent {
    All,
    /// Somebody else's turn.
    Paused,
    Blocked,
    Failed,
}

impl Client {
    pub(super) fn new(stream: Stream, conn: Conn, pulse: Arc<Pulse>) -> Client {
        Client {
            stream,
            conn,
            pulse,
            held: None,
            charged: 0,
            readable: false,
            read_closed: false,
            again: false,
            later: false,
            settled: false,
            closing: false,
            bulky: false,
            curbed: false,
            watching: false,
            queued: false,
            reason: CloseReason::Error,
        }
    }

    /// A client that another process has handed over.
    pub(super) fn resumed(stream: Stream, handed: HandedParts, pulse: Arc<Pulse>) -> Client {
        let HandedParts { conn, input, output, again, closing } = handed;
        let held = (!input.is_empty() || !output.is_empty())
            .then(|| Box::new(Held { input, run: 0, output: Output::of(output) }));
        Client { held, again, closing, ..Client::new(stream, conn, pulse) }
    }

    /// Whether another process can go on with it.
    pub(super) fn can_be_handed_over(&self) -> bool {
        self.stream.tls().is_none() && self.conn.can_be_handed_over()
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.stream.is_tcp()
    }

    /// Bytes that another process has to be given with it, no fewer.
    pub(super) fn handed_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.input.len() + held.output.len());
        held + self.conn.arriving_bytes()
    }

    /// All that another process needs to go on, and the socket; `None` with TLS.
    pub(super) fn hand_over(mut self) -> Option<(OwnedFd, HandedParts)> {
        let mut input = self.conn.take_back_upload();
        let again = self.again || !input.is_empty();
        let mut output = Vec::new();
        if let Some(held) = &self.held {
            input.extend_from_slice(&held.input[held.run..]);
            output = held.output.waiting();
        }
        let parts = HandedParts { conn: self.conn, input, output, again, closing: self.closing };
        self.stream.hand_over().map(|socket| (socket, parts))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.stream.fd()
    }

    /// Why it wants to be closed.
    pub(super) fn close_reason(&self) -> CloseReason {
        self.reason
    }

    /// Whether a dump waits until the client takes what has been written of it.
    pub(super) fn dumps(&self) -> bool {
        self.conn.dumps()
    }

    /// Whether its TLS handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.stream.is_handshaking()
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whether it holds memory between turns: the process's, or of items.
    pub(super) fn holds_memory(&self) -> bool {
        self.charged > 0 || self.conn.receives_value()
    }

    /// Whether it has something to do without new bytes: requests that were read already, or replies.
    pub(super) fn has_more(&self) -> bool {
        self.again || self.held.as_ref().is_some_and(|held| !held.output.is_empty())
    }

    /// Whether it has nothing to do until its socket tells something, and holds nothing.
    pub(super) fn rests(&self) -> bool {
        !self.again && !self.closing && self.held.is_none() && !self.conn.watches()
    }

    /// Whether its next turn is part of something large: replies that its socket did not take at once, a value on its way, or a list
    /// of keys.
    #[inline]
    pub(super) fn goes_on(&self) -> bool {
        self.has_more() || self.conn.receives_value() || self.conn.reads_keys()
    }

    /// The socket has told something.
    pub(super) fn notice(&mut self, readable: bool, read_closed: bool) {
        self.readable |= readable;
        self.read_closed |= read_closed;
    }

    /// One turn: sends what waits, then reads once (or goes on with what was read), runs what is complete, and writes once.
    /// While nobody else waits for the worker the turn goes on.
    pub(super) fn turn(
        &mut self,
        buffers: &mut Buffers,
        cx: &mut Context<'_>,
        budget: &Budget,
        others: &mut Others<'_>,
    ) -> After {
        let after = self.send_then_run(buffers, cx, budget, others);
        self.charge(budget);
        self.settled = match after {
            After::Rest => self.charged == 0,
            After::Starved => self.settled,
            _ => false,
        };
        self.pulse.set_state(match after {
            _ if self.stream.is_handshaking() => State::Handshake,
            After::Blocked => State::Mwrite,
            _ => State::of(&self.conn),
        });
        after
    }

    /// Says goodbye where that is due, and gives its memory back to the budget, before it is dropped.
    pub(super) fn release(&mut self, buffers: &mut Buffers, budget: &Budget) {
        if let Some(stream) = self.stream.tls_mut() {
            stream.say_goodbye(&mut buffers.tls);
        }
        self.held = None;
        budget.change(self.charged, 0);
        self.charged = 0;
    }

    /// Asks the worker's poll to tell when the socket can take more, if it does not yet.
    pub(super) fn watch_writable(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if !self.watching {
            self.stream.watch_writable(registry, token)?;
            self.watching = true;
        }
        Ok(())
    }

    /// Takes that back where it costs something.
    pub(super) fn unwatch_writable(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.watching && self.stream.unwatch_writable(registry, token)? {
            self.watching = false;
        }
        Ok(())
    }

    fn send_then_run(
        &mut self,
        buffers: &mut Buffers,
        cx: &mut Context<'_>,
        budget: &Budget,
        others: &mut Others<'_>,
    ) -> After {
        match self.send_held(&mut buffers.tls, cx, others) {
            Sent::All => {}
            Sent::Paused => return After::Again,
            Sent::Blocked => return After::Blocked,
            Sent::Failed => return After::Close,
        }
        if self.closing {
            return After::Close;
        }
        // A watcher is told things without having said any.
        let goes_on = self.again || self.conn.watches() && !self.readable;
        if !goes_on && !self.readable {
            return After::Rest;
        }
        if budget.exhausted(self.later || self.settled) || !self.again && self.conn.must_wait(cx.now) {
            return After::Starved;
        }
        if !self.conn.watches() {
            self.pulse.set_state(State::ParseCmd);
        }
        let received =
            if goes_on { Received::Ran(self.go_on(buffers, cx, others)) } else { self.receive(buffers, cx, others) };
        match received {
            Received::Ran(next) => self.answer(next, buffers, cx.stats, others),
            Received::Nothing if self.stream.tls().is_some_and(TlsStream::has_unsent) => After::Blocked,
            Received::Nothing if self.readable => After::Again,
            Received::Nothing if self.conn.watches() => After::Watch { told: false },
            Received::Nothing => After::Rest,
            Received::Ended => After::Close,
        }
    }

    /// Runs on with bytes that were read in an earlier turn.
    fn go_on(&mut self, buffers: &mut Buffers, cx: &mut Context<'_>, others: &mut Others<'_>) -> Next {
        let mut held = self.held.take();
        let input = held.as_ref().map_or(&[][..], |held| &held.input[held.run..]);
        let (run, next) = run(&mut self.conn, input, &mut buffers.output, cx, others);
        if let Some(held) = &mut held {
            held.run += run;
            if run > 0 && !matches!(next, Next::Again) || held.run == held.input.len() {
                // What is left now waits for the client, maybe long: no more than it needs.
                held.input = held.input[held.run..].to_vec();
                held.run = 0;
            }
        }
        self.held = held;
        if next != Next::Later || run > 0 {
            self.pulse.progress(cx.now);
        }
        next
    }

    /// Reads once and runs what that completes.
    fn receive(&mut self, buffers: &mut Buffers, cx: &mut Context<'_>, others: &mut Others<'_>) -> Received {
        let Buffers { input, output, tls } = buffers;
        let (before, fresh) = input.split_at_mut(PARTIAL_BYTES);
        // Where clients have to wait for item memory, what was read is kept meanwhile: that should not be much.
        let tight = !cx.store.may_begin(READ_BYTES);
        let (into_item, beyond, drained) = if let Some(stream) = self.stream.tls_mut() {
            let fresh = if tight { &mut fresh[..READ_TIGHT_TLS_BYTES] } else { fresh };
            let handshaking = stream.is_handshaking();
            match stream.read(fresh, tls, &cx.server.process) {
                Ok(TlsRead { ended: true, .. }) => {
                    self.reason = CloseReason::Normal;
                    return Received::Ended;
                }
                Ok(TlsRead { plain, drained, .. }) => {
                    if handshaking && !stream.is_handshaking() {
                        self.pulse.progress(cx.now);
                    }
                    if plain == 0 {
                        self.readable = !drained || self.read_closed;
                        return Received::Nothing;
                    }
                    (0, plain, drained)
                }
                Err(error) => {
                    tell_tls_error(cx, &error);
                    return self.not_read(error.kind());
                }
            }
        } else {
            let fresh = if tight { &mut fresh[..READ_TIGHT_BYTES] } else { fresh };
            match self.read_plain(fresh, cx, others) {
                Ok(read) => read,
                Err(error) => return self.not_read(error.kind()),
            }
        };
        if into_item + beyond == 0 {
            // Everything complete has been run and answered: a half-closed client is served before it gets here.
            self.reason = CloseReason::Normal;
            return Received::Ended;
        }
        // Fewer bytes than asked: the socket is empty, and the next byte makes a new event. A second read, only to see
        // EAGAIN, would cost a system call for each request. Not so when the other side has closed: the end makes no
        // event of its own when it came together with the bytes.
        self.readable = !drained || self.read_closed;
        cx.stats.add(Counter::BytesRead, (into_item + beyond) as u64);
        if into_item > 0 {
            self.conn.uploaded(into_item);
            self.pulse.progress(cx.now);
        }

        let partial = self.held.as_ref().map_or(&[][..], |held| &held.input[held.run..]);
        let Some(from) = PARTIAL_BYTES.checked_sub(partial.len()) else {
            // A conversation never leaves that much; its limits are far below.
            log::error!("{} bytes of an incomplete request: closing", partial.len());
            return Received::Ended;
        };
        before[from..].copy_from_slice(partial);
        let input = &input[from..PARTIAL_BYTES + beyond];
        if input.is_empty() && !self.conn.has_whole_value() {
            return Received::Ran(Next::Read);
        }
        let (run, next) = run(&mut self.conn, input, output, cx, others);
        if run > 0 {
            self.pulse.progress(cx.now);
        }
        if into_item == 0 {
            self.bulky = self.conn.arriving_bytes() >= LARGE_VALUE_BYTES;
        }
        self.keep(&input[run..]);
        Received::Ran(next)
    }

    /// Reads from a socket without TLS: how many bytes went into the item being received, how many into `fresh`, and whether
    /// the socket has no more.
    fn read_plain(
        &mut self,
        fresh: &mut [u8],
        cx: &mut Context<'_>,
        others: &Others<'_>,
    ) -> io::Result<(usize, usize, bool)> {
        // What lies behind the place would be more of the value, which belongs into item memory too.
        let last = self.conn.upload(cx).is_some() && self.conn.uploads_last();
        let Some(place) = self.conn.upload(cx) else {
            let room = if self.bulky { LINE_READ_BYTES } else { fresh.len() };
            let n = self.stream.read(&mut fresh[..room])?;
            return Ok((0, n, n < room));
        };
        // The value's bytes go where they will stay; what follows it comes with the same call.
        let room = place.len().min(others.piece_bytes());
        let behind = if last && room == place.len() { fresh.len() } else { 0 };
        let slices = &mut [IoSliceMut::new(&mut place[..room]), IoSliceMut::new(&mut fresh[..behind])];
        let n = self.stream.read_vectored(slices)?;
        Ok((n.min(room), n.saturating_sub(room), n < room + behind))
    }

    fn not_read(&mut self, kind: ErrorKind) -> Received {
        if kind == ErrorKind::WouldBlock {
            self.readable = false;
            return Received::Nothing;
        }
        // Reset, timed out, unreachable: nobody is there to be told.
        Received::Ended
    }

    /// Keeps what has been read and not run.
    fn keep(&mut self, rest: &[u8]) {
        match &mut self.held {
            Some(held) => (held.input, held.run) = (rest.to_vec(), 0),
            None if rest.is_empty() => {}
            None => self.held = Some(Box::new(Held { input: rest.to_vec(), run: 0, output: Output::new() })),
        }
    }

    /// Sends the turn's replies and says how the client goes on.
    fn answer(&mut self, next: Next, buffers: &mut Buffers, stats: &ThreadStats, others: &mut Others<'_>) -> After {
        let told = !buffers.output.is_empty();
        self.curb(&buffers.output, others);
        let sent = send(&mut self.stream, &mut buffers.output, &mut buffers.tls, stats, others);
        match sent {
            Sent::All => {}
            Sent::Blocked | Sent::Paused => {
                let output = buffers.output.take();
                match &mut self.held {
                    Some(held) => held.output = output,
                    None => self.held = Some(Box::new(Held { input: Vec::new(), run: 0, output })),
                }
            }
            Sent::Failed => {
                buffers.output.clear();
                return After::Close;
            }
        }
        buffers.output.shrink(OUTPUT_KEPT);
        self.again = matches!(next, Next::Again | Next::Later);
        self.later = next == Next::Later;
        let blocked = sent != Sent::All;
        let waiting = if sent == Sent::Paused { After::Again } else { After::Blocked };
        if self.conn.has_quit() {
            self.reason = CloseReason::Normal;
        }
        match next {
            Next::Shutdown { graceful } => After::Shutdown { graceful },
            Next::Close if !blocked => After::Close,
            Next::Close => {
                self.closing = true;
                waiting
            }
            _ if blocked => waiting,
            Next::Again => After::Again,
            Next::Watch => After::Watch { told },
            Next::Later => After::Starved,
            Next::Read if self.readable => After::Again,
            Next::Read => After::Rest,
        }
    }

    /// Bounds what the kernel keeps for a client that fetches large values where many hold memory, and for one that dumps: whether it
    /// takes the dump should show.
    fn curb(&mut self, output: &Output, others: &Others<'_>) {
        let one_of_many = output.len() > PIECE_BYTES && others.holders >= HOLDERS_MANY;
        if !self.curbed && (one_of_many || self.conn.dumps()) {
            self.curbed = true;
            self.stream.curb();
        }
    }

    /// Sends replies that an earlier turn could not.
    fn send_held(&mut self, scratch: &mut Scratch, cx: &Context<'_>, others: &mut Others<'_>) -> Sent {
        if let Some(stream) = self.stream.tls_mut()
            && stream.has_unsent()
        {
            match stream.flush() {
                Ok(true) if !stream.is_handshaking() => self.pulse.progress(cx.now),
                Ok(true) => {}
                Ok(false) => return Sent::Blocked,
                Err(_) => return Sent::Failed,
            }
        }
        let Some(held) = &mut self.held else { return Sent::All };
        let before = held.output.len();
        if before == 0 {
            return Sent::All;
        }
        let sent = send(&mut self.stream, &mut held.output, scratch, cx.stats, others);
        if held.output.len() < before {
            self.pulse.progress(cx.now);
        }
        if sent == Sent::All {
            held.output = Output::new();
        }
        sent
    }

    /// Brings the budget up to date and lets go of what is not needed any more.
    fn charge(&mut self, budget: &Budget) {
        if self.held.as_ref().is_some_and(|held| held.input.is_empty() && held.output.is_empty()) {
            self.held = None;
        }
        let held = self.held.as_ref();
        let held = held.map_or(0, |held| held.input.capacity() + held.output.buffered() + size_of::<Held>());
        let bytes = held + self.stream.tls().map_or(0, TlsStream::held_bytes);
        budget.change(self.charged, bytes);
        self.charged = bytes;
    }
}

/// Tells watchers what TLS took offence at.
#[cold]
fn tell_tls_error(cx: &Context<'_>, error: &io::Error) {
    if error.kind() == ErrorKind::InvalidData && cx.watches(Streams::CONNEVENTS) {
        let message = error.to_string();
        cx.server.logger.log(&Event::ConnError { tls: true, cfd: cx.cfd, message: &message });
    }
}

/// Runs what `input` completes. At the end of a turn it goes on at once if nobody else waits: then giving way would only
/// cost a write and a copy of the rest.
fn run(
    conn: &mut Conn,
    input: &[u8],
    output: &mut Output,
    cx: &mut Context<'_>,
    others: &mut Others<'_>,
) -> (usize, Next) {
    let mut run = 0;
    loop {
        let before = output.len();
        let progress = conn.process(&input[run..], output, cx);
        run = input.len().min(run + progress.consumed);
        let moved = progress.consumed > 0 || output.len() > before;
        match progress.next {
            Next::Again if moved && output.len() < SEND_BYTES && others.none() => {}
            next => return (run, next),
        }
    }
}

/// Writes until all has gone, the socket takes no more, or others wait. A short write says as much as EAGAIN would.
fn send(
    stream: &mut Stream,
    output: &mut Output,
    scratch: &mut Scratch,
    stats: &ThreadStats,
    others: &mut Others<'_>,
) -> Sent {
    while !output.is_empty() {
        let piece = if stream.tls().is_some() { PIECE_BYTES } else { others.piece_bytes() };
        let (asked, written) = match output.send(piece, |slices| stream.write(slices, scratch)) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Sent::Blocked,
            Err(_) => return Sent::Failed,
        };
        stats.add(Counter::BytesWritten, written as u64);
        if written < asked || stream.tls().is_some_and(TlsStream::has_unsent) {
            return Sent::Blocked;
        }
        if asked >= PIECE_BYTES && !output.is_empty() && !others.none() {
            return Sent::Paused;
        }
    }
    Sent::All
}
