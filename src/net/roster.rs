//! The part of a worker that other threads see: which clients it has, and how to reach it.
//!
//! The acceptor writes a new client down here and registers its socket with the worker's poll; nobody is woken for
//! that. The worker meets the client at its first event, takes the socket out and from then on owns it; the entry stays, for
//! `stats conns` and the idle watch, until the client has gone. The lock is taken when a client comes and goes, never for a
//! request. Invariant: while an entry exists its descriptor is open, because the worker removes the entry first.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use mio::{Registry, Token};
use slab::Slab;
use socket2::SockAddr;

use super::knock::Knock;
use super::stream::Stream;
use crate::clock::Now;
use crate::commands::server::ConnRow;
use crate::conn::Conn;
use crate::logger::{CloseReason, Event, Logger, Streams, Transport};
use crate::settings::BindingProtocol;
use crate::sync::{Arc, AtomicU32, AtomicUsize, Mutex, Ordering, lock};
use crate::sys::socket;

/// Token of the waker; clients have the key of their entry.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The clients of one worker.
#[derive(Debug)]
pub(super) struct Roster {
    registry: Registry,
    knock: Arc<Knock>,
    entries: Mutex<Slab<Entry>>,
    load: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    fd: RawFd,
    tcp: bool,
    /// The socket, until the worker has met the client.
    arriving: Option<(Stream, BindingProtocol)>,
    pulse: Arc<Pulse>,
    /// Its address, if somebody watched clients come and go when it came: one that was reset cannot be asked when it goes.
    peer: Option<Box<Peer>>,
}

/// Signs of life of one client, written by its worker and read by whoever asks.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Second of the last progress: a request run, a piece of a value received, bytes of a waiting reply taken.
    seconds: AtomicU32,
    state: AtomicU32,
}

/// What a client is about, in memcached's words (section 11.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waiting for a request.
    Read,
    /// A request is being run.
    ParseCmd,
    /// Waiting for the rest of a value.
    Nread,
    /// Waiting for the rest of a value that was refused.
    Swallow,
    /// Waiting until the client takes its replies.
    Mwrite,
    /// A stream of log lines.
    Watch,
    /// A TLS handshake; memcached has no word for it.
    Handshake,
}

const STATES: [(State, &str); 7] = [
    (State::Read, "conn_read"),
    (State::ParseCmd, "conn_parse_cmd"),
    (State::Nread, "conn_nread"),
    (State::Swallow, "conn_swallow"),
    (State::Mwrite, "conn_mwrite"),
    (State::Watch, "conn_watch"),
    (State::Handshake, "conn_read"),
];

impl State {
    /// What the conversation says it waits for.
    pub(super) fn of(conn: &Conn) -> State {
        match conn.state_name() {
            "conn_nread" => State::Nread,
            "conn_swallow" => State::Swallow,
            "conn_mwrite" => State::Mwrite,
            "conn_watch" => State::Watch,
            // memcached passes through conn_new_cmd and conn_waiting on the way to this one and sleeps in it.
            _ => State::Read,
        }
    }
}

impl Pulse {
    pub(super) fn new(now: Now, state: State) -> Pulse {
        Pulse { seconds: AtomicU32::new(now.seconds), state: AtomicU32::new(state as u32) }
    }

    /// Of a client that has made no progress for so long already.
    pub(super) fn resumed(now: Now, idle_seconds: u32) -> Pulse {
        Pulse::new(Now::at(now.seconds.saturating_sub(idle_seconds), 0), State::Read)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.state.load(Ordering::Relaxed) == State::Handshake as u32
    }

    pub(super) fn progress(&self, now: Now) {
        self.seconds.store(now.seconds, Ordering::Relaxed);
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Relaxed);
    }

    /// Seconds without progress.
    pub(super) fn idle_seconds(&self, now: Now) -> u32 {
        now.seconds.saturating_sub(self.seconds.load(Ordering::Relaxed))
    }

    fn state_name(&self) -> &'static str {
        STATES[self.state.load(Ordering::Relaxed) as usize % STATES.len()].1
    }
}

impl Roster {
    pub(super) fn new(registry: Registry) -> io::Result<Roster> {
        let knock = Arc::new(Knock::new(&registry, WAKE)?);
        Ok(Roster { registry, knock, entries: Mutex::new(Slab::new()), load: AtomicUsize::new(0) })
    }

    /// How many clients there are.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Wakes the worker (to stop).
    pub(super) fn wake(&self) {
        if let Err(error) = self.knock.wake() {
            log::error!("a worker cannot be woken: {error}");
        }
    }

    /// The worker's door.
    pub(super) fn knock(&self) -> &Arc<Knock> {
        &self.knock
    }

    /// Gives a new client to the worker, with what its listener speaks.
    pub(super) fn enter(
        &self,
        mut stream: Stream,
        protocol: BindingProtocol,
        now: Now,
        logger: &Logger,
    ) -> io::Result<()> {
        let peer = logger.watched(Streams::CONNEVENTS).then(|| Box::new(Peer::of(stream.fd())));
        if let Some(peer) = &peer {
            let Peer { rip, rport, transport } = &**peer;
            logger.log(&Event::ConnNew { rip, rport: *rport, transport: *transport, cfd: stream.fd() });
        }
        let mut entries = lock(&self.entries);
        let vacant = entries.vacant_entry();
        // Under the lock, so that the worker cannot ask for the entry before it is there.
        stream.register(&self.registry, Token(vacant.key()))?;
        let state = if stream.is_handshaking() { State::Handshake } else { State::Read };
        let pulse = Arc::new(Pulse::new(now, state));
        let (fd, tcp) = (stream.fd(), stream.is_tcp());
        vacant.insert(Entry { fd, tcp, arriving: Some((stream, protocol)), pulse, peer });
        self.load.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Notes a client that another process has handed over, before the worker begins; gives its key.
    pub(super) fn resume(&self, stream: &mut Stream, pulse: &Arc<Pulse>) -> io::Result<usize> {
        let mut entries = lock(&self.entries);
        let vacant = entries.vacant_entry();
        let key = vacant.key();
        stream.register(&self.registry, Token(key))?;
        let (fd, tcp) = (stream.fd(), stream.is_tcp());
        vacant.insert(Entry { fd, tcp, arriving: None, pulse: Arc::clone(pulse), peer: None });
        self.load.fetch_add(1, Ordering::Relaxed);
        Ok(key)
    }

    /// Hands the socket of a client that has not been met yet to its worker.
    pub(super) fn meet(&self, key: usize) -> Option<(Stream, BindingProtocol, Arc<Pulse>)> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(key)?;
        let (stream, protocol) = entry.arriving.take()?;
        Some((stream, protocol, Arc::clone(&entry.pulse)))
    }

    /// Strikes a client off, before its socket is closed. One that was never met closes here.
    /// False when it had gone already.
    pub(super) fn leave(&self, key: usize) -> bool {
        let left = lock(&self.entries).try_remove(key);
        if left.is_some() {
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
        left.is_some()
    }

    /// Tells watchers that a client is about to go.
    pub(super) fn tell_close(&self, key: usize, reason: CloseReason, logger: &Logger) {
        let (cfd, known) = match lock(&self.entries).get_mut(key) {
            Some(entry) => (entry.fd, entry.peer.take()),
            None => return,
        };
        let Peer { rip, rport, transport } = known.map_or_else(|| Peer::of(cfd), |known| *known);
        logger.log(&Event::ConnClose { rip: &rip, rport, transport, reason, cfd });
    }

    /// Keys of all clients; those never met too.
    pub(super) fn keys(&self) -> Vec<usize> {
        lock(&self.entries).iter().map(|(key, _)| key).collect()
    }

    /// Looks at up to `budget` entries from key `from` on: calls `visit` with key and pulse of each TCP client. Returns
    /// where to go on, `None` at the end.
    pub(super) fn visit_tcp(&self, from: usize, budget: usize, mut visit: impl FnMut(usize, &Pulse)) -> Option<usize> {
        let entries = lock(&self.entries);
        // Keys are dense at the bottom; a vacant one costs no more than a look.
        let end = entries.capacity().min(from.saturating_add(budget));
        for key in from..end {
            if let Some(entry) = entries.get(key)
                && entry.tcp
            {
                visit(key, &entry.pulse);
            }
        }
        (end < entries.capacity()).then_some(end)
    }

    /// What `stats conns` tells of these clients.
    pub(super) fn rows(&self, now: Now, rows: &mut Vec<ConnRow>) {
        for (_, entry) in lock(&self.entries).iter() {
            rows.push(ConnRow {
                fd: entry.fd,
                addr: spell(socket::peer_address(entry.fd).ok()),
                listen_addr: Some(spell(socket::local_address(entry.fd).ok())),
                state: entry.pulse.state_name(),
                secs_since_last_cmd: entry.pulse.idle_seconds(now),
                udp: false,
            });
        }
    }
}

/// Who is at the other end, as watchers are told.
#[derive(Debug)]
struct Peer {
    rip: String,
    rport: u16,
    transport: Transport,
}

impl Peer {
    /// Asks the descriptor. Of one that is not connected any more nothing is known.
    fn of(fd: RawFd) -> Peer {
        let address = socket::peer_address(fd).ok();
        match address.as_ref().and_then(SockAddr::as_socket) {
            Some(address) => Peer { rip: address.ip().to_string(), rport: address.port(), transport: Transport::Tcp },
            None if address.is_some() => Peer { rip: "unix".to_owned(), rport: 0, transport: Transport::Local },
            None => Peer { rip: "unknown".to_owned(), rport: 0, transport: Transport::Tcp },
        }
    }
}

/// An address as `stats conns` spells it. A unix client has no name, which memcached shows as family 0.
pub(super) fn spell(address: Option<SockAddr>) -> String {
    let Some(address) = address else {
        return "?:<AF 0>".to_owned();
    };
    match (address.as_socket(), address.as_pathname()) {
        (Some(address @ SocketAddr::V4(_)), _) => format!("tcp:{address}"),
        (Some(SocketAddr::V6(address)), _) => format!("tcp6:[{}]:{}", address.ip(), address.port()),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => "?:<AF 0>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_spelled_as_in_stats_conns() {
        let four: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let six: SocketAddr = "[::1]:7".parse().unwrap();
        assert_eq!(spell(Some(four.into())), "tcp:127.0.0.1:7");
        assert_eq!(spell(Some(six.into())), "tcp6:[::1]:7");
        assert_eq!(spell(Some(SockAddr::unix("/tmp/s").unwrap())), "unix:/tmp/s");
        assert_eq!(spell(None), "?:<AF 0>");
    }

    #[test]
    fn a_state_stands_at_its_own_number() {
        for (at, (state, _)) in STATES.iter().enumerate() {
            assert_eq!(*state as usize, at);
        }
    }
}
