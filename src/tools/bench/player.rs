//! One thread that plays requests over its connections: each sends a burst, reads until all of it is answered, and sends the next.
//!
//! At a fixed rate each burst has a moment at which it is due, whether its connection is ready or not, and its latency counts from
//! then: a server that stalls is charged for everything that had to wait meanwhile (no coordinated omission). Flat out a burst is due
//! when the one before is answered.
//!
//! It has to be cheaper than the server it measures: one write for a burst, one read for its replies as a rule, no allocation, and the
//! clock is asked once for each.

use super::dialect::Dialect;
use super::items::Items;
use super::mix::{Draws, Kind, Mix};
use super::outgoing::Outgoing;
pub use super::pace::Limit;
use super::pace::Run;
use super::replies::{Counts, Replies, Wrong};
use super::report::Report;
use crate::clock::Clock;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::sys::reason;
use crate::tools::Failure;
use crate::tools::link::{Socket, Target, ended};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind};
use std::time::Duration;

/// What all threads share.
pub struct Plan {
    /// Where the server is, and how it is spoken to.
    pub target: Target,
    /// Which protocol is spoken.
    pub dialect: Dialect,
    /// What is asked.
    pub mix: Mix,
    /// Requests in a burst.
    pub pipeline: usize,
    /// Keys in a request to read.
    pub multiget: usize,
    /// Nanoseconds from one burst of a connection to its next; 0 for flat out.
    pub interval_nanos: f64,
    /// What is asked for.
    pub items: Arc<Items>,
    /// What is counted up.
    pub counters: Arc<Items>,
    /// So many items drawn in advance are asked for again and again; 0 to draw new ones as it goes on.
    pub replay: usize,
    /// Whether to look for answers without ever sleeping. Waking a sleeping client would be on the bill of a server on the same
    /// machine, some microseconds a send or nothing, as the two happen to fall into step.
    pub awake: bool,
    /// The time of the run.
    pub clock: Clock,
    /// Requests answered so far, by all threads.
    pub answered: AtomicU64,
    /// Set by the first thread that fails, so that the others stop.
    pub broken: AtomicBool,
}

impl Plan {
    /// Gets flat out for `items`, one at a time; the fields say what can be had instead.
    #[must_use]
    pub fn new(target: Target, items: Arc<Items>, counters: Arc<Items>) -> Plan {
        Plan {
            target,
            dialect: Dialect::Text,
            mix: Mix::GETS,
            pipeline: 1,
            multiget: 1,
            interval_nanos: 0.0,
            items,
            counters,
            replay: 0,
            awake: false,
            clock: Clock::start(),
            answered: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        }
    }
}

/// Requests in a burst while the items are stored.
const FILL_PIPELINE: usize = 32;
/// How long a server may owe an answer.
const PATIENCE_NANOS: u64 = 30_000_000_000;
/// How long to wait for news at most, so that the end of a run and of other threads is seen.
const POLL_MAX: Duration = Duration::from_millis(100);
/// Nearer moments are waited for awake: the kernel counts in milliseconds.
const AWAKE_NANOS: u64 = 1_500_000;
/// Large enough for the replies of a burst of small items, and for large values to come in few reads.
const BUFFER_BYTES: usize = 256 << 10;

/// A thread's part of the load.
pub struct Player {
    plan: Arc<Plan>,
    poll: Poll,
    conns: Vec<Conn>,
    draws: Draws,
    buffer: Vec<u8>,
    report: Report,
    /// The next item to store while filling.
    next_fill: u64,
    /// Bursts sent in this run.
    bursts: u64,
    /// Connections that are owed an answer.
    busy: usize,
    numbers: Vec<u64>,
}

struct Conn {
    socket: Box<dyn Socket>,
    outgoing: Outgoing,
    replies: Replies,
    /// Whether a burst is under way.
    is_busy: bool,
    /// When the burst under way was due, in nanoseconds.
    due: u64,
    /// The number of the next one among the bursts of all connections.
    next_turn: usize,
}

impl Player {
    /// Opens `connections` of the plan; `number` tells the threads apart.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn connect(plan: Arc<Plan>, connections: usize, number: u64) -> Result<Player, Failure> {
        let broken = |error: io::Error| Failure(format!("{}: {}", plan.target.address, reason(&error)));
        let poll = Poll::new().map_err(broken)?;
        let mut conns = Vec::with_capacity(connections);
        for token in 0..connections {
            let socket = plan.target.connect(plan.dialect == Dialect::Binary).map_err(broken)?;
            socket.nonblocking().map_err(broken)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&socket.descriptor()), Token(token), interest).map_err(broken)?;
            let (outgoing, replies) = (Outgoing::default(), Replies::default());
            conns.push(Conn { socket, outgoing, replies, is_busy: false, due: 0, next_turn: 0 });
        }
        let report = Report::new()?;
        let draws = Draws::new(plan.mix, Arc::clone(&plan.items), number, plan.replay);
        let (buffer, numbers) = (vec![0; BUFFER_BYTES], Vec::new());
        Ok(Player { plan, poll, conns, draws, buffer, report, next_fill: 0, bursts: 0, busy: 0, numbers })
    }

    /// What was counted since this was asked last.
    ///
    /// # Errors
    /// When there is no memory for new counts.
    pub fn take_report(&mut self) -> Result<Report, Failure> {
        Ok(std::mem::replace(&mut self.report, Report::new()?))
    }

    /// Plays until the limit and until everything is answered.
    ///
    /// # Errors
    /// At the first wrong reply or lost connection, here or in another thread. It is of no use afterwards.
    pub fn play(&mut self, limit: Limit) -> Result<(), Failure> {
        let start = self.plan.clock.running_nanos();
        let played = self.rounds(limit, start);
        if played.is_err() {
            self.plan.broken.store(true, Ordering::Relaxed);
        }
        self.report.seconds += (self.plan.clock.running_nanos() - start) as f64 / 1e9;
        played
    }

    fn rounds(&mut self, limit: Limit, start: u64) -> Result<(), Failure> {
        let plan = Arc::clone(&self.plan);
        let mut events = Events::with_capacity(256);
        let mut run = self.begin(limit, start)?;
        let mut last_news = start;
        loop {
            let now = plan.clock.running_nanos();
            let nearest = self.start_due(&mut run, now)?;
            if self.busy == 0 && self.is_over(&run, now) {
                self.report.unsent += self.unsent(&run);
                return Ok(());
            }
            if plan.broken.load(Ordering::Relaxed) {
                return Err(Failure(ANOTHER.to_owned()));
            }
            let wait = match nearest.saturating_sub(now) {
                _ if plan.awake => Duration::ZERO,
                ..AWAKE_NANOS => Duration::ZERO,
                nanos => Duration::from_nanos(nanos - AWAKE_NANOS).min(POLL_MAX),
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(|error| self.broken(&error))?,
            }
            if !events.is_empty() || self.busy == 0 {
                last_news = now;
            } else if now - last_news > PATIENCE_NANOS {
                return Err(Failure(format!("{}: the server owes answers for 30 seconds", plan.target.address)));
            }
            for event in &events {
                self.turn(event.token().0, event.is_read_closed(), &run)?;
            }
        }
    }

    /// Sends the first bursts of a run, or says when they are due.
    fn begin(&mut self, limit: Limit, start: u64) -> Result<Run, Failure> {
        let count = self.conns.len().max(1) as f64;
        let at_a_rate = self.plan.interval_nanos > 0.0 && !matches!(limit, Limit::Fill { .. });
        let step = if at_a_rate { self.plan.interval_nanos / count } else { 0.0 };
        let end = if let Limit::For(time) = limit { start + time.as_nanos() as u64 } else { u64::MAX };
        self.next_fill = if let Limit::Fill { rest, .. } = limit { rest } else { 0 };
        self.bursts = 0;
        let run = Run { limit, end, start, step, turn: 0 };
        for number in 0..self.conns.len() {
            // They take turns, so that they do not all come at once.
            self.conns[number].next_turn = number;
            if !at_a_rate {
                self.start(number, &run, start)?;
            }
        }
        Ok(run)
    }

    /// At a rate: starts what is due on idle connections. Says when to look again.
    fn start_due(&mut self, run: &mut Run, now: u64) -> Result<u64, Failure> {
        // What is due before the end is sent, even if we look a moment later: only one that was busy is left out.
        let now = now.min(run.end.saturating_sub(1));
        // The end is a moment to be awake for, too.
        if run.step == 0.0 || self.is_over(run, now) {
            return Ok(run.end);
        }
        // Once for each connection is enough, however many turns there were since we looked last. One that is still busy when its turn
        // comes goes on by itself.
        run.turn = run.turn.max(run.turns_before(now + 1).saturating_sub(self.conns.len()));
        while run.due(run.turn) <= now {
            let number = run.turn % self.conns.len();
            run.turn += 1;
            let conn = &self.conns[number];
            if !conn.is_busy && run.due(conn.next_turn) <= now {
                self.start(number, run, now)?;
            }
        }
        Ok(run.due(run.turn).min(run.end))
    }

    /// At a rate: requests that were due in time and were never sent.
    fn unsent(&self, run: &Run) -> u64 {
        if run.step == 0.0 || run.end == u64::MAX {
            return 0;
        }
        let (turns, count) = (run.turns_before(run.end), self.conns.len());
        let left = |conn: &Conn| turns.saturating_sub(conn.next_turn).div_ceil(count);
        (self.conns.iter().map(left).sum::<usize>() * self.plan.pipeline) as u64
    }

    fn is_over(&self, run: &Run, now: u64) -> bool {
        match run.limit {
            Limit::Fill { .. } => self.next_fill >= self.fill_count(),
            Limit::For(_) => now >= run.end,
            Limit::Bursts(count) => self.bursts >= count,
        }
    }

    /// How many items there are to store.
    fn fill_count(&self) -> u64 {
        let counters = if self.plan.mix.incrs > 0 { self.plan.counters.count() } else { 0 };
        self.plan.items.count() + counters
    }

    /// Goes on with a connection that there is news of, which may be that the server has closed it.
    fn turn(&mut self, number: usize, is_closed: bool, run: &Run) -> Result<(), Failure> {
        self.write(number)?;
        while self.read(number)? {}
        if is_closed {
            // Nothing more comes of which epoll could tell: what is still owed will never be there, and this read says so.
            self.read(number)?;
        }
        let conn = &self.conns[number];
        if conn.is_busy && conn.replies.is_done() {
            self.busy -= 1;
            self.conns[number].is_busy = false;
            let now = self.plan.clock.running_nanos();
            if run.step == 0.0 || run.due(self.conns[number].next_turn) <= now {
                self.start(number, run, now)?;
            }
        }
        Ok(())
    }

    /// Sends the next burst, unless the run is over.
    fn start(&mut self, number: usize, run: &Run, now: u64) -> Result<(), Failure> {
        if self.is_over(run, now) {
            return Ok(());
        }
        let count = self.conns.len();
        let conn = &mut self.conns[number];
        conn.due = if run.step > 0.0 { run.due(conn.next_turn) } else { now };
        conn.next_turn += count;
        conn.outgoing.clear();
        if let Limit::Fill { step, .. } = run.limit {
            self.spell_fill(number, step);
        } else {
            self.spell(number);
        }
        self.bursts += 1;
        self.busy += 1;
        self.conns[number].is_busy = true;
        self.write(number)
    }

    fn spell_fill(&mut self, number: usize, step: u64) {
        let end = self.fill_count();
        let Plan { dialect, items, counters, .. } = &*self.plan;
        let Conn { outgoing, replies, .. } = &mut self.conns[number];
        let count = items.count();
        for _ in 0..FILL_PIPELINE {
            if self.next_fill < count {
                dialect.set(items, self.next_fill, outgoing, &mut replies.expected);
            } else if self.next_fill < end {
                dialect.set_counter(counters, self.next_fill - count, outgoing, &mut replies.expected);
            }
            self.next_fill += step;
        }
    }

    fn spell(&mut self, number: usize) {
        let Plan { dialect, items, counters, pipeline, multiget, .. } = &*self.plan;
        let Conn { outgoing, replies, .. } = &mut self.conns[number];
        for _ in 0..*pipeline {
            match self.draws.kind() {
                Kind::Get => {
                    self.numbers.clear();
                    self.numbers.extend((0..*multiget).map(|_| self.draws.item_to_read()));
                    dialect.get(items, &self.numbers, outgoing, &mut replies.expected);
                }
                Kind::Set => dialect.set(items, self.draws.item(), outgoing, &mut replies.expected),
                Kind::Incr => {
                    let counter = self.draws.item() % counters.count();
                    dialect.simple(Kind::Incr, counters, counter, outgoing, &mut replies.expected);
                }
                kind => dialect.simple(kind, items, self.draws.item(), outgoing, &mut replies.expected),
            }
        }
    }

    /// Sends what the kernel takes.
    fn write(&mut self, number: usize) -> Result<(), Failure> {
        let Conn { socket, outgoing, .. } = &mut self.conns[number];
        let sent = outgoing.send(&mut **socket, |item| self.plan.items.value(item).noise);
        sent.and_then(|()| socket.push_out()).map_err(|error| self.broken(&error))
    }

    /// Reads once, and counts what is answered. Whether more may be there.
    fn read(&mut self, number: usize) -> Result<bool, Failure> {
        let plan = &*self.plan;
        let Conn { socket, replies, due, .. } = &mut self.conns[number];
        if replies.is_done() {
            return Ok(false);
        }
        let length = match socket.read(&mut self.buffer) {
            Ok(0) => return Err(self.broken(&ErrorKind::UnexpectedEof.into())),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(self.broken(&error)),
        };
        let mut counts = Counts::default();
        let read = replies.read(plan.dialect, &plan.items, &self.buffer[..length], &mut counts);
        read.map_err(|Wrong(text)| Failure(format!("{}: the server answered: {text}", plan.target.address)))?;
        let latency = plan.clock.running_nanos().saturating_sub(*due);
        let answered = self.report.count(&counts, latency);
        plan.answered.fetch_add(answered, Ordering::Relaxed);
        // A short read has emptied the socket, so epoll tells of whatever comes next (epoll(7)): no second read just to be told so.
        Ok(length == self.buffer.len() || socket.keeps_back())
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let first = self.plan.answered.load(Ordering::Relaxed) == 0;
        Failure(format!("{}: {}", self.plan.target.address, ended(error, first && self.plan.target.tls.is_none())))
    }
}

/// What is said by all threads but the one that failed.
pub(super) const ANOTHER: &str = "another thread failed";
