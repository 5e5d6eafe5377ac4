//! One client's conversation, without a socket: bytes in, bytes out, time in.
//!
//! A [`Conn`] is where the client stands in its conversation (a [`Phase`]); it owns no buffer. [`Conn::process`] is given what
//! has arrived, runs every request that is complete, appends the replies to an [`Output`] and says how much of the input is
//! done with; the caller presents the rest again in front of what arrives next. However the input is cut into pieces,
//! the replies are the same, with one exception of memcached's own: lines beyond [`LINE_MAX`] bytes (section 2.1).
//!
//! - [`batch`]: requests are parsed some ahead ([`filler`]), so that the memory they need is on its way when they are run.
//! - [`frames`]: the same for the binary protocol; [`login`]: before authentication in the text protocol.
//! - [`upload`]: a value that has not arrived whole goes straight into item memory.
//! - [`output`]: what waits to be sent.
//! - [`handover`]: a conversation that goes on in another process.

mod batch;
mod filler;
mod frames;
pub mod handover;
mod login;
pub mod output;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod upload;

pub use batch::REPLY_MAX;
pub use output::Output;

use crate::commands::auth::Login;
use crate::commands::{Context, Dump};
use crate::logger::Watcher;
use crate::protocol::binary::REQUEST_MAGIC;
use crate::protocol::limits::LINE_MAX;
use crate::protocol::reply::Error;
use crate::protocol::{KeyList, Reading, encode, text};
use crate::settings::{BindingProtocol, Settings};
use crate::stats::Counter;
use upload::Upload;

/// Bytes of output after which other conns get their turn. One value may exceed it.
pub const OUTPUT_PER_TURN: usize = 256 * 1024;

/// A turn is this many times `-R` requests. memcached's `-R 20` bounds what one client makes the others wait; a request here costs
/// an eighth of one there, and every turn that is cut short costs a system call or two.
const REQUESTS_PER_R: usize = 8;

/// ... and of one batch for so many of these requests: a `get` of a hundred thousand keys is one request and need not give any
/// output, but each batch looks up no more than [`filler::BATCH`] of them.
const REQUESTS_PER_BATCH: usize = filler::BATCH / 2;

/// Where a client stands in its conversation.
pub struct Conn {
    phase: Phase,
    dialect: Dialect,
    login: Login,
    /// Second at which the value being received, or about to be, first had to wait for memory that clients may hold.
    waits_since: Option<u32>,
    /// See [`Conn::has_quit`].
    quit: bool,
}

/// What is spoken (section 1.3). Once it is known it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// Nothing has been said yet; what the listener allows.
    Open(BindingProtocol),
    /// Text and meta.
    Text,
    /// Text, before authentication (`-Y`).
    Knocking,
    /// Binary.
    Binary,
}

/// What the next byte of the input belongs to.
enum Phase {
    /// A command line.
    Command,
    /// The keys of a `get` line, of which some have been answered.
    Keys {
        /// How to read them.
        reading: Reading,
        /// Whether there was a key yet.
        any: bool,
    },
    /// A value, being received into item memory.
    Upload(Box<Upload>),
    /// Data nobody wants: so many bytes of it.
    Swallow(usize),
    /// The rest of a line that was refused before its end, and what to say at the end of it.
    SwallowLine(Option<Error>),
    /// Nothing yet: a dump is being written.
    Dump(Box<Dump>),
    /// Nobody: the client watches, and is told what it asked for.
    Watch(Box<Watcher>),
    /// Nothing any more.
    Closing,
}

/// What became of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What to do now.
    pub next: Next,
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read more.
    Read,
    /// The turn is used up: call again, with what is left of the input (perhaps nothing), once the others have had
    /// theirs and the output has gone below its limit.
    Again,
    /// The client watches: call again every now and then, with what has arrived (perhaps nothing), to see what there is to tell.
    Watch,
    /// The next request cannot be run now, because clients hold as much of item memory as they may: call again, with what is left of
    /// the input, a little later.
    Later,
    /// Send what is queued, then close.
    Close,
    /// The same, and stop the server.
    Shutdown {
        /// Like SIGUSR1 rather than SIGINT.
        graceful: bool,
    },
}

/// What one conn may still do before the others get their turn.
struct Turn {
    /// Requests (`-R`).
    requests: usize,
    /// Batches.
    batches: usize,
    /// Length of the output at which it ends.
    output_max: usize,
    /// The input is all there will ever be: nothing that goes on by itself is begun.
    datagram: bool,
}

/// What a phase did with the input. No `next`: go on at once in the phase that is now.
struct Step {
    consumed: usize,
    next: Option<Next>,
}

impl Step {
    const fn go_on(consumed: usize) -> Step {
        Step { consumed, next: None }
    }

    const fn stop(consumed: usize, next: Next) -> Step {
        Step { consumed, next: Some(next) }
    }
}

impl Default for Conn {
    fn default() -> Conn {
        Conn::new()
    }
}

impl Conn {
    /// A client that has said nothing yet, and may speak what it likes.
    #[must_use]
    pub const fn new() -> Conn {
        Conn::speaking(BindingProtocol::Negotiating)
    }

    /// The same for a listener that speaks only this.
    #[must_use]
    pub const fn speaking(protocol: BindingProtocol) -> Conn {
        let dialect = Dialect::Open(protocol);
        Conn { phase: Phase::Command, dialect, login: Login::Out, waits_since: None, quit: false }
    }

    /// Whether nothing but authentication is to be had (binary protocol).
    fn is_locked(&self, cx: &Context<'_>) -> bool {
        cx.server.settings.sasl && self.login != Login::In
    }

    /// Runs what `input` completes. Bytes that are not consumed are to be presented again; they are less than a line of
    /// [`LINE_MAX`] bytes when more has to be read.
    pub fn process(&mut self, input: &[u8], out: &mut Output, cx: &mut Context<'_>) -> Progress {
        let requests = cx.server.settings.reqs_per_event as usize * REQUESTS_PER_R;
        let turn = Turn {
            requests,
            batches: requests.div_ceil(REQUESTS_PER_BATCH),
            output_max: out.len() + OUTPUT_PER_TURN,
            datagram: false,
        };
        self.take_turn(turn, input, out, cx)
    }

    /// Runs one request at most, or a part of one whose answer reaches `output_max` bytes: for datagrams, where each answer travels by
    /// itself. [`Next::Again`] when there is more.
    pub fn process_one(&mut self, input: &[u8], out: &mut Output, output_max: usize, cx: &mut Context<'_>) -> Progress {
        let turn = Turn { requests: 1, batches: usize::MAX, output_max: out.len() + output_max, datagram: true };
        self.take_turn(turn, input, out, cx)
    }

    fn take_turn(&mut self, mut turn: Turn, input: &[u8], out: &mut Output, cx: &mut Context<'_>) -> Progress {
        let mut consumed = 0;
        loop {
            let step = self.step(&input[consumed..], out, cx, &mut turn);
            consumed += step.consumed;
            if let Some(next) = step.next {
                return Progress { consumed, next };
            }
        }
    }

    fn step(&mut self, input: &[u8], out: &mut Output, cx: &mut Context<'_>, turn: &mut Turn) -> Step {
        match &mut self.phase {
            Phase::Closing => Step::stop(0, Next::Close),
            Phase::Dump(_) if turn.datagram => Step::stop(0, Next::Again),
            Phase::Dump(dump) => {
                let room = turn.output_max.saturating_sub(out.len());
                let done = dump.step(cx, out.bytes_mut(), room);
                if !done {
                    return Step::stop(0, Next::Again);
                }
                self.phase = Phase::Command;
                Step::go_on(0)
            }
            Phase::Watch(watcher) => {
                let room = turn.output_max.saturating_sub(out.len());
                watcher.take(out.bytes_mut(), room);
                Step::stop(input.len(), Next::Watch)
            }
            Phase::Upload(upload) if upload.is_whole() => self.receive(input, out, cx),
            _ if input.is_empty() => Step::stop(0, Next::Read),
            Phase::Command | Phase::Keys { .. } if turn.is_used_up(out) => {
                if !turn.datagram {
                    cx.stats.count(Counter::ConnYields);
                }
                Step::stop(0, Next::Again)
            }
            Phase::Command | Phase::Keys { .. } => {
                turn.batches -= 1;
                match self.dialect {
                    Dialect::Text => batch::run(self, input, out, cx, turn),
                    Dialect::Binary => frames::run(self, input, out, cx, turn),
                    Dialect::Knocking => self.knock(input, out, cx, turn),
                    Dialect::Open(protocol) => {
                        self.dialect = meet(protocol, input, &cx.server.settings);
                        Step::go_on(0)
                    }
                }
            }
            Phase::Upload(_) => self.receive(input, out, cx),
            Phase::Swallow(left) => {
                let skipped = input.len().min(*left);
                *left -= skipped;
                if *left == 0 {
                    self.phase = Phase::Command;
                }
                Step::go_on(skipped)
            }
            Phase::SwallowLine(error) => {
                let Some(end) = memchr::memchr(b'\n', input) else { return Step::go_on(input.len()) };
                if let Some(error) = error.take() {
                    encode::push_error(out.bytes_mut(), &error);
                }
                self.phase = Phase::Command;
                Step::go_on(end + 1)
            }
        }
    }

    /// A line has not ended within the input. Waits for more of it, unless it is too long to be true (section 2.1).
    fn unfinished_line(&mut self, input: &[u8], consumed: usize) -> Step {
        let line = &input[consumed..];
        if line.len() <= LINE_MAX {
            return Step::stop(consumed, Next::Read);
        }
        match text::begin_long(line) {
            Some(text::LongLine::Keys(KeyList { reading, rest })) => {
                self.phase = Phase::Keys { reading, any: false };
                Step::go_on(input.len() - rest.len())
            }
            Some(text::LongLine::Unknown) => {
                self.phase = Phase::SwallowLine(Some(Error::Unknown));
                Step::go_on(consumed)
            }
            None => {
                self.phase = Phase::Closing;
                Step::stop(input.len(), Next::Close)
            }
        }
    }

    /// Whether it holds item memory for a value that is on its way.
    #[must_use]
    pub const fn receives_value(&self) -> bool {
        matches!(self.phase, Phase::Upload(_))
    }

    /// Whether the client watches.
    #[must_use]
    pub const fn watches(&self) -> bool {
        matches!(self.phase, Phase::Watch(_))
    }

    /// Whether the keys of a `get` line are being answered, of which some are still to come.
    #[must_use]
    pub const fn reads_keys(&self) -> bool {
        matches!(self.phase, Phase::Keys { .. })
    }

    /// Whether a dump is being written, which the client has to take.
    #[must_use]
    pub const fn dumps(&self) -> bool {
        matches!(self.phase, Phase::Dump(_))
    }

    /// Whether the conversation was ended by the client's `quit` (or `shutdown`), not by something it should not have said.
    #[must_use]
    pub const fn has_quit(&self) -> bool {
        self.quit
    }

    /// Length of the value that is being received, or 0.
    #[must_use]
    pub fn arriving_bytes(&self) -> usize {
        match &self.phase {
            Phase::Upload(upload) => upload.value_len(),
            _ => 0,
        }
    }

    /// What the client is being waited for, by the names of `stats conns`.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Command => "conn_read",
            Phase::Keys { .. } => "conn_parse_cmd",
            Phase::Upload(_) => "conn_nread",
            Phase::Swallow(_) | Phase::SwallowLine(_) => "conn_swallow",
            Phase::Dump(_) => "conn_mwrite",
            Phase::Watch(_) => "conn_watch",
            Phase::Closing => "conn_closing",
        }
    }
}

/// The first bytes have come: which dialect they are in. Where authentication is wanted, none is spoken but the one that has it,
/// whatever the listener says.
fn meet(protocol: BindingProtocol, input: &[u8], settings: &Settings) -> Dialect {
    match protocol {
        _ if settings.auth_file.is_some() => Dialect::Knocking,
        _ if settings.sasl => Dialect::Binary,
        BindingProtocol::Binary => Dialect::Binary,
        BindingProtocol::Negotiating if input.first() == Some(&REQUEST_MAGIC) => Dialect::Binary,
        BindingProtocol::Negotiating | BindingProtocol::Ascii => Dialect::Text,
    }
}

impl Turn {
    fn is_used_up(&self, out: &Output) -> bool {
        self.requests == 0 || self.batches == 0 || out.len() >= self.output_max
    }
}
