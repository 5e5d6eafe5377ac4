//! The one place that accepts: a thread of its own with all listeners, which gives each new client to the worker that has the
//! fewest.
//!
//! The limit `-c` counts open clients, not descriptor numbers as memcached does: `-c 1000` serves a thousand (section
//! 15.2's QUIRK serves some 30 fewer). Beyond it a client is told so and closed, or, with `no_maxconns_fast`, left in the
//! listen queue while the listeners pause. When the process is out of descriptors a spare one is given up to accept and
//! close; nothing here ever spins.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::Shared;
use super::knock::Knock;
use super::listener::{ListenSocket, Listener};
use super::napi::{Placed, Queues};
use super::roster::{Roster, WAKE};
use super::stream::Stream;
use crate::settings::BindingProtocol;
use crate::stats::Process;
use crate::sync::Arc;
use crate::sys::socket;

/// Clients accepted from one listener before the next has its turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long listeners pause when nobody can be taken (section 15.2).
const PAUSE_MICROS: u64 = 10_000;

const REFUSAL: &[u8] = b"ERROR Too many open connections\r\n";

/// The acceptor. It lives on its own thread, in [`Acceptor::run`].
pub(super) struct Acceptor {
    poll: Poll,
    knock: Arc<Knock>,
    shared: Arc<Shared>,
    doors: Vec<Door>,
    rosters: Vec<Arc<Roster>>,
    /// Where the search for the least loaded worker begins, so that ties go round.
    turn: usize,
    /// `-N`.
    queues: Option<Queues>,
    /// Most clients at a time.
    limit: usize,
    /// Most clients there have been.
    peak: usize,
    /// Refuse beyond the limit rather than pause.
    fast: bool,
    /// Given up when there is no other descriptor left.
    spare: Option<File>,
    pause: Option<Pause>,
}

/// A listener, and whether clients may be waiting at it.
struct Door {
    listener: Listener,
    ready: bool,
}

/// Listeners do not accept. Microseconds of the running clock.
#[derive(Clone, Copy)]
struct Pause {
    began: u64,
    retry_at: u64,
}

/// What came of one accept.
enum Accepted {
    Client,
    /// Nobody waits there.
    Nobody,
    /// Nobody can be taken now.
    Full,
}

impl Acceptor {
    /// Prepares to accept from `listeners`. A wake ends [`Acceptor::run`] once no one is to be accepted.
    pub(super) fn new(
        shared: Arc<Shared>,
        listeners: Vec<Listener>,
        rosters: Vec<Arc<Roster>>,
    ) -> io::Result<(Acceptor, Arc<Knock>)> {
        let poll = Poll::new()?;
        let knock = Arc::new(Knock::new(poll.registry(), WAKE)?);
        let mut doors = Vec::with_capacity(listeners.len());
        for (number, mut listener) in listeners.into_iter().enumerate() {
            let (registry, token) = (poll.registry(), Token(number));
            match &mut listener.socket {
                ListenSocket::Tcp(socket) => registry.register(socket, token, Interest::READABLE)?,
                ListenSocket::Unix(socket) => registry.register(socket, token, Interest::READABLE)?,
                ListenSocket::Udp(_) => {}
            }
            let what = if matches!(listener.socket, ListenSocket::Udp(_)) { "udp" } else { listener.protocol().name() };
            log::debug!("<{} server listening ({what})", listener.fd());
            doors.push(Door { listener, ready: true });
        }
        // memcached keeps a connection record for each listener, of UDP one for each worker, and counts all but one as connections
        // (section 11.1).
        let process = &shared.server.process;
        let records: usize = doors.iter().map(|door| if door.is_udp() { rosters.len() } else { 1 }).sum();
        process.add(Process::CurrConnections, records.saturating_sub(1) as u64);
        process.add(Process::TotalConnections, records as u64);
        process.add(Process::ConnectionStructures, records as u64);
        let settings = &shared.server.settings;
        let (limit, fast) = (settings.maxconns as usize, settings.maxconns_fast);
        let spare = open_spare();
        let door = Arc::clone(&knock);
        let queues = (settings.num_napi_ids > 0).then(|| Queues::new(settings.num_napi_ids as usize));
        let acceptor =
            Acceptor { poll, knock, shared, doors, rosters, turn: 0, queues, limit, peak: 0, fast, spare, pause: None };
        Ok((acceptor, door))
    }

    /// Accepts until the server stops. Returns the listeners, which are open until they are dropped.
    pub(super) fn run(mut self) -> Vec<Listener> {
        let mut events = Events::with_capacity(64);
        while !self.shared.closed() {
            match self.poll.poll(&mut events, self.timeout()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => log::error!("epoll_wait: {error}"),
            }
            for event in &events {
                match self.doors.get_mut(event.token().0) {
                    Some(door) => door.ready = true,
                    None => self.knock.answer(),
                }
            }
            if !self.pausing() {
                self.accept_all();
            }
        }
        self.doors.into_iter().map(|door| door.listener.unregistered()).collect()
    }

    fn timeout(&self) -> Option<Duration> {
        if let Some(pause) = self.pause {
            return Some(Duration::from_micros(pause.retry_at.saturating_sub(self.micros())));
        }
        self.doors.iter().any(|door| door.ready).then_some(Duration::ZERO)
    }

    /// Whether the time to try again has not come.
    fn pausing(&self) -> bool {
        self.pause.is_some_and(|pause| self.micros() < pause.retry_at)
    }

    /// One turn for each listener.
    fn accept_all(&mut self) {
        for number in 0..self.doors.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.doors[number].ready {
                    break;
                }
                match self.accept(number) {
                    Accepted::Client => self.resume(),
                    Accepted::Nobody => self.doors[number].ready = false,
                    Accepted::Full => return self.hold(),
                }
            }
        }
        self.resume();
    }

    /// Takes one client from a listener.
    fn accept(&mut self, number: usize) -> Accepted {
        let load: usize = self.rosters.iter().map(|roster| roster.load()).sum();
        if load >= self.limit && !self.fast {
            return Accepted::Full;
        }
        match self.doors[number].accept() {
            Ok(stream) if load >= self.limit => self.refuse(stream),
            Ok(stream) => self.place(stream, self.doors[number].listener.protocol(), load),
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => return self.accept_with_spare(number),
                Some(libc::ENOMEM | libc::ENOBUFS) => {
                    log::warn!("accept: {error}");
                    return Accepted::Full;
                }
                _ if error.kind() == ErrorKind::WouldBlock => return Accepted::Nobody,
                // The client went away before it was taken, or the network failed under it: accept(2) says to try on.
                _ => log::debug!("accept: {error}"),
            },
        }
        Accepted::Client
    }

    /// With `-N`: the worker of the queue that the client comes by, if it has one.
    fn worker_of_queue(&mut self, stream: &Stream) -> Option<usize> {
        let placed = self.queues.as_mut()?.place(socket::incoming_napi_id(stream.fd()));
        let fallback = match placed {
            Placed::With(worker) => return Some(worker),
            Placed::Anywhere => Process::RoundRobinFallback,
            Placed::Unexpected => Process::UnexpectedNapiIds,
        };
        self.shared.server.process.add(fallback, 1);
        None
    }

    fn least_loaded(&mut self) -> Option<usize> {
        let count = self.rosters.len();
        let after = (0..count).map(|step| (self.turn + step) % count);
        let chosen = after.min_by_key(|&number| self.rosters[number].load())?;
        self.turn = (chosen + 1) % count;
        Some(chosen)
    }

    /// Gives a client to a worker: the one with the fewest, unless `-N` says which.
    fn place(&mut self, stream: Stream, protocol: BindingProtocol, load: usize) {
        let Some(chosen) = self.worker_of_queue(&stream).or_else(|| self.least_loaded()) else { return };
        let process = &self.shared.server.process;
        // Counted before the worker can close it again.
        process.add(Process::CurrConnections, 1);
        process.add(Process::TotalConnections, 1);
        log::debug!("<{} new client connection", stream.fd());
        let now = self.shared.server.clock.now();
        if let Err(error) = self.rosters[chosen].enter(stream, protocol, now, &self.shared.server.logger) {
            log::error!("a new client cannot be watched: {error}");
            process.sub(Process::CurrConnections, 1);
        }
        if load >= self.peak {
            self.peak = load + 1;
            process.add(Process::ConnectionStructures, 1);
        }
    }

    /// Tells a client that there are too many. Its socket is new, so the line fits; if it does not, it is closed all the same.
    fn refuse(&self, mut stream: Stream) {
        let _ = stream.refuse(REFUSAL);
        self.shared.server.process.add(Process::RejectedConnections, 1);
    }

    /// Out of descriptors: the spare one makes room to take the client that waits, tell it and close it, so that it does
    /// not stay in the queue and make this thread try for ever.
    fn accept_with_spare(&mut self, number: usize) -> Accepted {
        if !self.fast || self.spare.take().is_none() {
            return Accepted::Full;
        }
        let accepted = self.doors[number].accept();
        let result = match accepted {
            Ok(stream) => {
                self.refuse(stream);
                Accepted::Client
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::Nobody,
            Err(_) => Accepted::Full,
        };
        self.spare = open_spare();
        result
    }

    /// Pauses the listeners, or goes on pausing.
    fn hold(&mut self) {
        let now = self.micros();
        let process = &self.shared.server.process;
        let began = match self.pause {
            Some(pause) => pause.began,
            None => {
                process.set(Process::AcceptingConns, 0);
                process.add(Process::ListenDisabledNum, 1);
                now
            }
        };
        if self.spare.is_none() {
            self.spare = open_spare();
        }
        self.pause = Some(Pause { began, retry_at: now + PAUSE_MICROS });
    }

    fn resume(&mut self) {
        if let Some(pause) = self.pause.take() {
            let process = &self.shared.server.process;
            process.set(Process::AcceptingConns, 1);
            process.add(Process::TimeInListenDisabledUs, self.micros().saturating_sub(pause.began));
        }
    }

    fn micros(&self) -> u64 {
        self.shared.server.clock.running_micros()
    }
}

impl Door {
    /// One at which nobody is to be accepted.
    fn is_udp(&self) -> bool {
        matches!(self.listener.socket, ListenSocket::Udp(_))
    }

    fn accept(&self) -> io::Result<Stream> {
        match &self.listener.socket {
            ListenSocket::Tcp(socket) => socket.accept().map(|(stream, _)| self.listener.encipher(stream)),
            ListenSocket::Unix(socket) => socket.accept().map(|(stream, _)| Stream::Unix(stream)),
            ListenSocket::Udp(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}
