//! One thread that plays a script over many connections and counts what was answered.
//!
//! Every connection sends a burst, reads until it is answered, and sends the next one of the script. A run ends with
//! every connection idle again, so whoever reads the server's CPU time before and after a run has the cost of exactly
//! the replies counted. The clock is read once a burst.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::histogram::Histogram;
use super::script::{Mismatch, Place, Script};

/// Connections to one server, idle between runs.
pub struct Client {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    /// What a read fills; nothing in it is kept after the read was checked.
    buffer: Box<[u8]>,
    /// The next burst to hand out, counted through from the first run.
    cursor: usize,
}

/// When a run stops sending.
#[derive(Clone, Copy)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// When every burst of the script was sent once.
    Once,
}

/// What a run did.
pub struct Outcome {
    /// Replies read and found right.
    pub replies: u64,
    /// From the first burst sent to the last one answered.
    pub elapsed: Duration,
    /// From the sending of a burst to its last reply.
    pub latencies: Histogram,
}

/// Why a run stopped early.
#[derive(Debug)]
pub enum LoadError {
    /// The kernel refused a connection, a read or a write.
    Io(io::Error),
    /// The server closed a connection.
    Closed,
    /// The server answered something else.
    Wrong(Mismatch),
}

struct Conn {
    stream: TcpStream,
    /// The burst under way; meaningless while idle.
    burst: usize,
    /// Bytes of it that were sent.
    sent: usize,
    place: Place,
    started: Instant,
}

impl Client {
    /// Opens `connections` to the server.
    ///
    /// # Errors
    ///
    /// When one of them cannot be opened.
    pub fn connect(address: SocketAddr, connections: usize) -> Result<Client, LoadError> {
        let poll = Poll::new()?;
        let mut conns = Vec::with_capacity(connections);
        for number in 0..connections {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(number), interest)?;
            let place = Place::default();
            conns.push(Conn { stream, burst: 0, sent: 0, place, started: Instant::now() });
        }
        let buffer = vec![0; BUFFER_BYTES].into();
        Ok(Client { poll, events: Events::with_capacity(EVENTS), conns, buffer, cursor: 0 })
    }

    /// Plays the script, from where the last run stopped, and waits for all replies.
    ///
    /// # Errors
    ///
    /// At the first wrong reply or lost connection; the client is of no use afterwards.
    pub fn run(&mut self, script: &Script, limit: Limit) -> Result<Outcome, LoadError> {
        let start = Instant::now();
        let mut supply = Supply::new(script, limit, start, self.cursor);
        let mut outcome = Outcome { replies: 0, elapsed: Duration::ZERO, latencies: Histogram::new() };
        let mut busy = 0;
        for conn in &mut self.conns {
            if let Some(burst) = supply.next(start) {
                conn.start(script, burst, start)?;
                busy += 1;
            }
        }
        while busy > 0 {
            // Looks without sleeping: waking a sleeping client would be on the server's bill, some microseconds a send
            // or nothing, as the two happen to fall into step. So it is with a client on another machine.
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &self.events {
                let conn = &mut self.conns[event.token().0];
                // A connection that owes nothing has only the first news of being writable.
                if conn.place.is_done() {
                    continue;
                }
                if event.is_writable() {
                    conn.write(script)?;
                }
                if !conn.read(script, &mut self.buffer)? {
                    continue;
                }
                let now = Instant::now();
                outcome.replies += script.replies_of(conn.burst) as u64;
                outcome.latencies.record(now - conn.started);
                match supply.next(now) {
                    Some(burst) => conn.start(script, burst, now)?,
                    None => busy -= 1,
                }
            }
        }
        self.cursor = supply.cursor;
        outcome.elapsed = start.elapsed();
        Ok(outcome)
    }
}

impl Conn {
    fn start(&mut self, script: &Script, burst: usize, now: Instant) -> Result<(), LoadError> {
        self.burst = burst;
        self.sent = 0;
        self.place = script.place(burst);
        self.started = now;
        self.write(script)
    }

    /// Sends what the kernel takes of the burst.
    fn write(&mut self, script: &Script) -> Result<(), LoadError> {
        let bytes = script.bytes(self.burst);
        while self.sent < bytes.len() {
            match self.stream.write(&bytes[self.sent..]) {
                Ok(0) => return Err(LoadError::Closed),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads and checks what has come; says whether the burst is answered.
    fn read(&mut self, script: &Script, buffer: &mut [u8]) -> Result<bool, LoadError> {
        while !self.place.is_done() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(LoadError::Closed),
                Ok(n) => {
                    script.check(&mut self.place, &buffer[..n])?;
                    // A short read has emptied the socket, so epoll tells of whatever comes next (epoll(7)): no
                    // second read just to be told so.
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.place.is_done())
    }
}

/// Hands out bursts, round and round, until the limit.
struct Supply {
    cursor: usize,
    /// The cursor to stop at.
    end: usize,
    deadline: Option<Instant>,
    bursts: usize,
}

impl Supply {
    fn new(script: &Script, limit: Limit, start: Instant, cursor: usize) -> Supply {
        let bursts = script.len();
        let (end, deadline) = match limit {
            Limit::Once => (cursor + bursts, None),
            Limit::Time(time) => (usize::MAX, Some(start + time)),
        };
        Supply { cursor, end, deadline, bursts }
    }

    fn next(&mut self, now: Instant) -> Option<usize> {
        if self.cursor == self.end || self.deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        let burst = self.cursor % self.bursts;
        self.cursor += 1;
        Some(burst)
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> LoadError {
        LoadError::Io(error)
    }
}

impl From<Mismatch> for LoadError {
    fn from(error: Mismatch) -> LoadError {
        LoadError::Wrong(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Io(error) => error.fmt(f),
            LoadError::Closed => f.write_str("the server closed a connection"),
            LoadError::Wrong(mismatch) => write!(f, "wrong reply: {mismatch}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Large enough for the replies of a burst of small items, and for large values to come in few reads.
const BUFFER_BYTES: usize = 256 * 1024;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
