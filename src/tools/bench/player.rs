//! One thread that plays requests over its connections: each sends a burst, reads until all of it is answered, and sends the next.
//!
//! At a fixed rate each burst has a moment at which it is due, whether its connection is ready or not, and its latency counts from
//! then: a server that stalls is charged for everything that had to wait meanwhile (no coordinated omission). Flat out a burst is due
//! when the one before is answered.

use super::dialect::{Dialect, Expect, Tally, Wrong};
use super::items::{Items, Random};
use crate::clock::Clock;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::sys::reason;
use crate::tools::Failure;
use crate::tools::link::{Socket, connect};
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// What all threads share.
pub struct Plan {
    /// Where the server is.
    pub server: String,
    /// Which protocol is spoken.
    pub dialect: Dialect,
    /// Requests in a burst.
    pub pipeline: usize,
    /// Keys in a request to read.
    pub multiget: usize,
    /// How many of a hundred requests store.
    pub set_percent: u64,
    /// How many of a hundred touch.
    pub touch_percent: u64,
    /// Microseconds from one burst of a connection to its next; 0 for flat out.
    pub interval_micros: f64,
    /// What is asked for.
    pub items: Items,
    /// The time of the run.
    pub clock: Clock,
    /// Requests answered so far, by all threads.
    pub answered: AtomicU64,
    /// Set by the first thread that fails, so that the others stop.
    pub broken: AtomicBool,
}

/// What a run did.
pub struct Report {
    /// What was answered.
    pub tally: Tally,
    /// Microseconds until a request to read was answered.
    pub get_micros: Histogram<u64>,
    /// The same for storing.
    pub set_micros: Histogram<u64>,
    /// The same for touching.
    pub touch_micros: Histogram<u64>,
}

impl Report {
    /// Of nothing yet.
    ///
    /// # Errors
    /// When there is no memory for the counts.
    pub fn new() -> Result<Report, Failure> {
        let (get_micros, set_micros, touch_micros) = (histogram()?, histogram()?, histogram()?);
        Ok(Report { tally: Tally::default(), get_micros, set_micros, touch_micros })
    }
}

/// When to stop.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Once these items are stored, each once: those whose number leaves `rest` when divided by `step`.
    Fill {
        /// First number.
        rest: u64,
        /// From one to the next.
        step: u64,
    },
    /// At this time of the clock.
    Until(u64),
}

/// Requests in a burst while the items are stored.
const FILL_PIPELINE: usize = 32;
/// How long a server may owe an answer.
const PATIENCE_MICROS: u64 = 30_000_000;
/// How long to wait for news at most, so that the end of a run and of other threads is seen.
const POLL_MAX: Duration = Duration::from_millis(100);
/// Nearer moments are waited for awake: the kernel counts in milliseconds.
const AWAKE_MICROS: u64 = 1500;
const BUFFER_BYTES: usize = 256 << 10;
/// Latencies beyond this count as this: an hour.
const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

/// A thread's part of the load.
pub struct Player {
    plan: Arc<Plan>,
    poll: Poll,
    conns: Vec<Conn>,
    random: Random,
    buffer: Vec<u8>,
    report: Report,
    /// The next item to store while filling.
    next_fill: u64,
    numbers: Vec<u64>,
}

struct Conn {
    socket: Box<dyn Socket>,
    /// What has come and is no whole reply yet.
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    expected: VecDeque<Expect>,
    /// When the burst under way was due.
    due: u64,
    /// When the next one is.
    next_due: f64,
}

impl Player {
    /// Opens `connections` of the plan; `number` tells the threads apart.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn connect(plan: Arc<Plan>, connections: usize, number: u64) -> Result<Player, Failure> {
        let broken = |error: io::Error| Failure(format!("{}: {}", plan.server, reason(&error)));
        let poll = Poll::new().map_err(broken)?;
        let mut conns = Vec::with_capacity(connections);
        for token in 0..connections {
            let socket = connect(&plan.server).map_err(broken)?;
            socket.nonblocking().map_err(broken)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(token), interest).map_err(broken)?;
            let (input, output, expected) = (Vec::new(), Vec::new(), VecDeque::new());
            conns.push(Conn { socket, input, output, sent: 0, expected, due: 0, next_due: 0.0 });
        }
        let report = Report::new()?;
        let random = Random(number);
        let (buffer, numbers) = (vec![0; BUFFER_BYTES], Vec::new());
        Ok(Player { plan, poll, conns, random, buffer, report, next_fill: 0, numbers })
    }

    /// Forgets what was counted.
    ///
    /// # Errors
    /// When there is no memory for new counts.
    pub fn reset(&mut self) -> Result<(), Failure> {
        self.report = Report::new()?;
        Ok(())
    }

    /// What was counted.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Plays until the limit and until everything is answered.
    ///
    /// # Errors
    /// At the first wrong reply or lost connection, here or in another thread.
    pub fn play(&mut self, limit: Limit) -> Result<(), Failure> {
        let played = self.rounds(limit);
        if played.is_err() {
            self.plan.broken.store(true, Ordering::Relaxed);
        }
        played
    }

    fn rounds(&mut self, limit: Limit) -> Result<(), Failure> {
        let plan = Arc::clone(&self.plan);
        let mut events = Events::with_capacity(256);
        let start = plan.clock.running_micros();
        self.next_fill = if let Limit::Fill { rest, .. } = limit { rest } else { 0 };
        let count = self.conns.len().max(1) as f64;
        for (number, conn) in self.conns.iter_mut().enumerate() {
            // Spread over the interval, so that they do not all come at once.
            conn.next_due = start as f64 + plan.interval_micros * number as f64 / count;
        }
        let mut last_news = start;
        loop {
            let now = plan.clock.running_micros();
            // The end is a moment to be awake for, too.
            let mut nearest = if let Limit::Until(end) = limit { end.max(now) } else { u64::MAX };
            for number in 0..self.conns.len() {
                if self.conns[number].is_idle() && !self.start(number, limit, now)? {
                    nearest = nearest.min(self.conns[number].next_due as u64);
                }
            }
            if self.conns.iter().all(Conn::is_idle) && self.is_over(limit, now) {
                return Ok(());
            }
            if plan.broken.load(Ordering::Relaxed) {
                return Err(Failure("another thread failed".to_owned()));
            }
            let wait = match nearest.saturating_sub(now) {
                ..AWAKE_MICROS => Duration::ZERO,
                micros => Duration::from_micros(micros - AWAKE_MICROS).min(POLL_MAX),
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(|error| self.broken(&error))?,
            }
            if !events.is_empty() || self.conns.iter().all(Conn::is_idle) {
                last_news = now;
            } else if now - last_news > PATIENCE_MICROS {
                return Err(Failure(format!("{}: the server owes answers for 30 seconds", plan.server)));
            }
            for event in &events {
                let number = event.token().0;
                self.write(number)?;
                self.read(number, limit)?;
            }
        }
    }

    fn is_over(&self, limit: Limit, now: u64) -> bool {
        match limit {
            Limit::Fill { .. } => self.next_fill >= self.plan.items.count,
            Limit::Until(end) => now >= end,
        }
    }

    /// Sends the next burst, if it is due. Whether it was.
    fn start(&mut self, number: usize, limit: Limit, now: u64) -> Result<bool, Failure> {
        let plan = Arc::clone(&self.plan);
        let conn = &mut self.conns[number];
        let at_a_rate = plan.interval_micros > 0.0 && matches!(limit, Limit::Until(_));
        if at_a_rate && conn.next_due > now as f64 {
            return Ok(false);
        }
        if self.is_over(limit, now) {
            return Ok(true);
        }
        let conn = &mut self.conns[number];
        conn.due = if at_a_rate { conn.next_due as u64 } else { now };
        conn.next_due += plan.interval_micros;
        conn.output.clear();
        conn.sent = 0;
        let Plan { dialect, items, .. } = &*plan;
        if let Limit::Fill { step, .. } = limit {
            for _ in 0..FILL_PIPELINE {
                if self.next_fill < items.count {
                    dialect.set(self.next_fill, items, &mut conn.output, &mut conn.expected);
                    self.next_fill += step;
                }
            }
        } else {
            for _ in 0..plan.pipeline {
                let dice = self.random.bits() % 100;
                if dice < plan.set_percent {
                    dialect.set(items.draw(&mut self.random), items, &mut conn.output, &mut conn.expected);
                } else if dice < plan.set_percent + plan.touch_percent {
                    dialect.touch(items.draw(&mut self.random), &mut conn.output, &mut conn.expected);
                } else {
                    self.numbers.clear();
                    self.numbers.extend((0..plan.multiget).map(|_| items.draw(&mut self.random)));
                    dialect.get(&self.numbers, &mut conn.output, &mut conn.expected);
                }
            }
        }
        self.write(number)?;
        Ok(true)
    }

    /// Sends what the kernel takes.
    fn write(&mut self, number: usize) -> Result<(), Failure> {
        let conn = &mut self.conns[number];
        while conn.sent < conn.output.len() {
            match conn.socket.write(&conn.output[conn.sent..]) {
                Ok(sent) => conn.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
        Ok(())
    }

    /// Reads what has come, and goes on with the next burst when this one is answered.
    fn read(&mut self, number: usize, limit: Limit) -> Result<(), Failure> {
        loop {
            match self.conns[number].socket.read(&mut self.buffer) {
                Ok(0) => return Err(self.broken(&ErrorKind::ConnectionReset.into())),
                Ok(length) => {
                    self.conns[number].input.extend_from_slice(&self.buffer[..length]);
                    self.answers(number)?;
                    if self.conns[number].is_idle() {
                        let now = self.plan.clock.running_micros();
                        self.start(number, limit, now)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Counts the replies that are there whole.
    fn answers(&mut self, number: usize) -> Result<(), Failure> {
        let plan = &*self.plan;
        let Conn { input, expected, due, .. } = &mut self.conns[number];
        let latency = plan.clock.running_micros().saturating_sub(*due).clamp(1, LATENCY_MAX_MICROS);
        let before = self.report.tally;
        let tally = &mut self.report.tally;
        let mut at = 0;
        while at < input.len() {
            let reply = plan.dialect.reply(&input[at..], &plan.items, expected, tally);
            match reply.map_err(|Wrong(text)| Failure(format!("{}: the server answered: {text}", plan.server)))? {
                Some(length) => at += length,
                None => break,
            }
        }
        input.drain(..at);
        let (gets, sets, touches) =
            (tally.gets - before.gets, tally.sets - before.sets, tally.touches - before.touches);
        self.report.get_micros.saturating_record_n(latency, gets);
        self.report.set_micros.saturating_record_n(latency, sets);
        self.report.touch_micros.saturating_record_n(latency, touches);
        plan.answered.fetch_add(gets + sets + touches, Ordering::Relaxed);
        Ok(())
    }

    fn broken(&self, error: &io::Error) -> Failure {
        Failure(format!("{}: {}", self.plan.server, reason(error)))
    }
}

impl Conn {
    fn is_idle(&self) -> bool {
        self.expected.is_empty()
    }
}

/// Counts of microseconds, to three digits.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_max(LATENCY_MAX_MICROS, 3).map_err(|error| Failure(error.to_string()))
}
