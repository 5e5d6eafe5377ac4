//! One worker: a thread, its poll and its clients.
//!
//! A round: wait for events, note them in the queue, give each client that has come one turn, and a few of those that go on. Events
//! are edge-triggered and a client is registered once, so in the steady state a burst of requests costs one `epoll_wait`, one
//! read and one write. While the queue is not empty the wait is a look. The clock is read once a round.
//!
//! Invariant: a client is in the queue at most once for going on ([`Client::queued`]); events beside that only set its
//! marks. Clients are closed in [`Worker::close`] only.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::Shared;
use super::budget::{STALLED_SECONDS, WAITED_SECONDS};
use super::client::{After, Buffers, Client, Others};
use super::handover::HandedClient;
use super::idle::IdleWatch;
use super::listener::Listener;
use super::queue::{Queue, Ready};
use super::roster::{Pulse, Roster, WAKE};
use super::stream::Stream;
use super::tls::HANDSHAKE_SECONDS;
use super::udp::{self, Port};
use crate::clock::Now;
use crate::commands::Context;
use crate::conn::Conn;
use crate::logger::{self, CloseReason, Streams};
use crate::stats::{Counter, Process, ThreadStats};
use crate::store::Store;
use crate::sync::{Arc, Ordering};

/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// How long clients wait for memory before it is looked for again.
const STARVED_RETRY_MICROS: u64 = 10_000;

/// TLS handshakes that go on in one round: each takes the processor for a third of a millisecond, and a thousand clients that connect at
/// once must not keep the others waiting for all of theirs.
const HANDSHAKES_PER_ROUND: usize = 8;

/// Seconds without progress after which a dump that its client does not take ends, and the connection with it (section 13.1).
const DUMP_SECONDS: u32 = 30;

/// How soon watchers have their next turn after one that had something to tell ...
const WATCH_SOON_MICROS: u64 = 1_000;
/// ... and how late when there has been nothing for a while.
const WATCH_LATE_MICROS: u64 = 64_000;

/// Turns given after the call to stop, so that requests already read are answered; a bound, not a goal.
const LAST_TURNS_MAX: usize = 1 << 20;

/// Bytes of requests and replies that one worker hands over to another process; clients beyond that are closed. Their sum is in memory
/// three times for a moment. Only thousands of clients that each wait for the rest of a large value get there.
const HANDED_BYTES_MAX: usize = 128 << 20;

/// A worker. It lives on its own thread, in [`Worker::run`].
pub(super) struct Worker {
    poll: Poll,
    events: Events,
    roster: Arc<Roster>,
    shared: Arc<Shared>,
    /// This thread's own handle on the store.
    store: Store,
    stats: Arc<ThreadStats>,
    /// By the key that the roster gave.
    clients: Vec<Option<Client>>,
    queue: Queue,
    buffers: Buffers,
    udp: Vec<Port>,
    /// TLS handshakes gone on with in this round.
    handshakes: usize,
    /// Clients that may not run because clients hold as much memory as they may.
    starved: Vec<usize>,
    /// When they were last looked at, by the running clock.
    fed_micros: u64,
    /// Clients that watch.
    watchers: Vec<usize>,
    watch: WatchPace,
    /// How many clients hold memory between turns.
    holders: usize,
    /// How many wait in the middle of a dump.
    dumpers: usize,
    /// Second of the last look for stalled holders.
    looked: u32,
    idle: IdleWatch,
}

impl Worker {
    /// Makes worker number `index`, and the roster by which it is given clients.
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> io::Result<Worker> {
        let poll = Poll::new()?;
        let roster = Arc::new(Roster::new(poll.registry().try_clone()?)?);
        let now = shared.server.clock.now();
        let stats = shared.server.threads.get(index).cloned().unwrap_or_default();
        let settings = &shared.server.settings;
        let idle = u32::try_from(settings.idle_timeout_seconds).ok().filter(|&seconds| seconds > 0);
        let idle = IdleWatch::new(idle, settings.tls.enabled.then_some(HANDSHAKE_SECONDS), now);
        Ok(Worker {
            poll,
            events: Events::with_capacity(EVENTS),
            roster,
            store: shared.store.for_thread(),
            shared,
            stats,
            clients: Vec::new(),
            queue: Queue::default(),
            buffers: Buffers::new(),
            udp: Vec::new(),
            handshakes: 0,
            starved: Vec::new(),
            fed_micros: 0,
            watchers: Vec::new(),
            watch: WatchPace::default(),
            holders: 0,
            dumpers: 0,
            looked: now.seconds,
            idle,
        })
    }

    /// Reads from now on what comes to a UDP listener. All workers do, whoever is first. Gives what `stats conns` shows of it.
    pub(super) fn read_datagrams_of(&mut self, listener: &Listener) -> io::Result<(RawFd, String, Arc<Pulse>)> {
        let port = Port::open(listener, self.udp.len(), self.poll.registry(), &self.shared.server)?;
        let row = (port.fd(), listener.spelled(), Arc::clone(port.pulse()));
        self.udp.push(port);
        Ok(row)
    }

    /// Its clients as others see them.
    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Goes on with a client that another process has handed over. Before the worker runs.
    pub(super) fn resume(&mut self, handed: HandedClient) {
        let HandedClient { socket, tcp, idle_seconds, parts } = handed;
        let pulse = Arc::new(Pulse::resumed(self.shared.server.clock.now(), idle_seconds));
        let mut stream = Stream::handed_over(socket, tcp);
        let key = match self.roster.resume(&mut stream, &pulse) {
            Ok(key) => key,
            Err(error) => return log::error!("a client cannot be watched: {error}"),
        };
        let process = &self.shared.server.process;
        process.add(Process::CurrConnections, 1);
        process.add(Process::TotalConnections, 1);
        process.add(Process::ConnectionStructures, 1);
        let mut client = Client::resumed(stream, parts, pulse);
        // What it holds is charged at the end of this turn. Of one that rests the poll tells by itself if bytes have come meanwhile;
        // thousands of them in the queue would keep one that asks waiting for its place.
        if !client.rests() {
            client.queued = true;
            self.queue.go_on(key);
        }
        if self.clients.len() <= key {
            self.clients.resize_with(key + 1, || None);
        }
        self.clients[key] = Some(client);
    }

    /// Serves until the server stops. Returns the clients that are to go on elsewhere.
    pub(super) fn run(mut self) -> Vec<HandedClient> {
        let mut now = self.shared.server.clock.now();
        loop {
            let timeout = self.timeout(now);
            look(&mut self.poll, &mut self.events, &mut self.queue, timeout);
            now = self.shared.server.clock.now();
            self.handshakes = 0;
            self.queue.begin_round();
            while let Some(ready) = self.queue.next() {
                self.serve(ready, now);
            }
            self.close_stalled(now);
            self.feed_starved();
            self.tell_watchers();
            self.close_idle(now);
            if self.shared.stopping() {
                return self.finish(now);
            }
        }
    }

    /// How long nothing can happen without an event; `None` for ever.
    fn timeout(&self, now: Now) -> Option<Duration> {
        if !self.queue.is_empty() {
            return Some(Duration::ZERO);
        }
        let starved = (!self.starved.is_empty()).then_some(Duration::from_micros(STARVED_RETRY_MICROS));
        let watchers = (!self.watchers.is_empty()).then(|| Duration::from_micros(self.watch.pause_micros));
        // Memory is looked after once a second, while there is any.
        let holders = (self.holders > 0).then_some(Duration::from_secs(1));
        [starved, watchers, holders, self.idle.wait(now)].into_iter().flatten().min()
    }

    /// Gives one client its turn.
    fn serve(&mut self, ready: Ready, now: Now) {
        if ready.key >= udp::FIRST_KEY {
            return self.serve_other(ready.key, now);
        }
        if !self.meet(ready.key) {
            return;
        }
        let Worker { poll, events, queue, clients, buffers, shared, store, stats, handshakes, .. } = self;
        let Some(client) = clients.get_mut(ready.key).and_then(Option::as_mut) else { return };
        client.notice(ready.readable, ready.read_closed);
        if client.queued && !ready.again {
            // Its turn is further back in the queue.
            return;
        }
        if !ready.again && client.goes_on() {
            client.queued = true;
            return queue.go_on(ready.key);
        }
        client.queued = false;
        if client.is_handshaking() {
            if *handshakes == HANDSHAKES_PER_ROUND {
                client.queued = true;
                return queue.go_on(ready.key);
            }
            *handshakes += 1;
        }
        let queued = queue.len();
        let mut alone = || {
            if queue.is_empty() {
                look(poll, events, queue, Some(Duration::ZERO));
            }
            queue.is_empty()
        };
        let mut others = Others { none: &mut alone, queued, holders: self.holders };
        let mut cx = Context::new(store, &shared.server, stats, now, client.fd());
        let (held, dumped) = (client.holds_memory(), client.dumps());
        let after = client.turn(buffers, &mut cx, &shared.budget, &mut others);
        match (held, client.holds_memory()) {
            (false, true) => self.holders += 1,
            (true, false) => self.holders -= 1,
            _ => {}
        }
        match (dumped, client.dumps()) {
            (false, true) => self.dumpers += 1,
            (true, false) => self.dumpers -= 1,
            _ => {}
        }
        self.settle(ready.key, after);
    }

    /// What is no client: a knock, or a UDP socket, which has its turns as clients have.
    fn serve_other(&mut self, key: usize, now: Now) {
        if Token(key) == WAKE {
            return self.roster.knock().answer();
        }
        let Worker { udp, buffers, shared, store, stats, queue, .. } = self;
        let Some(port) = udp.iter_mut().find(|port| port.key() == key) else { return };
        let mut cx = Context::new(store, &shared.server, stats, now, port.fd());
        let (input, output) = buffers.for_datagrams();
        match port.turn(input, output, &mut cx) {
            udp::After::Rest => {}
            udp::After::Again => queue.go_on(key),
            udp::After::Shutdown { graceful } => {
                queue.go_on(key);
                (shared.on_shutdown)(graceful);
            }
        }
    }

    /// Does what the client's turn ended with.
    fn settle(&mut self, key: usize, after: After) {
        let Some(client) = self.clients.get_mut(key).and_then(Option::as_mut) else { return };
        let registered = match after {
            After::Blocked => client.watch_writable(self.poll.registry(), Token(key)),
            _ => client.unwatch_writable(self.poll.registry(), Token(key)),
        };
        if let Err(error) = registered {
            log::error!("a client cannot be watched: {error}");
            let logger = &self.shared.server.logger;
            if logger.watched(Streams::CONNEVENTS) {
                let message = error.to_string();
                logger.log(&logger::Event::ConnError { tls: false, cfd: client.fd(), message: &message });
            }
            return self.close(key);
        }
        match after {
            After::Rest | After::Blocked => {}
            After::Again => {
                client.queued = true;
                self.queue.go_on(key);
            }
            After::Watch { told } => {
                client.queued = true;
                self.watchers.push(key);
                if told {
                    self.watch.hurry();
                }
            }
            After::Starved => {
                client.queued = true;
                self.starved.push(key);
                self.shared.budget.wait(1);
            }
            After::Close => self.close(key),
            After::Shutdown { graceful } => {
                self.close(key);
                (self.shared.on_shutdown)(graceful);
            }
        }
    }

    /// Makes sure that the client of `key` is in the table: at its first event the roster hands its socket over. False for
    /// one that has gone.
    fn meet(&mut self, key: usize) -> bool {
        if self.clients.get(key).is_some_and(Option::is_some) {
            return true;
        }
        let Some((stream, protocol, pulse)) = self.roster.meet(key) else { return false };
        if self.clients.len() <= key {
            self.clients.resize_with(key + 1, || None);
        }
        self.clients[key] = Some(Client::new(stream, Conn::speaking(protocol), pulse));
        true
    }

    /// Closes a client for its own reason.
    fn close(&mut self, key: usize) {
        let reason = self.clients.get(key).and_then(Option::as_ref).map_or(CloseReason::Error, Client::close_reason);
        self.close_because(key, reason);
    }

    fn close_because(&mut self, key: usize, reason: CloseReason) {
        if self.shared.server.logger.watched(Streams::CONNEVENTS) {
            self.roster.tell_close(key, reason, &self.shared.server.logger);
        }
        // Before the socket is closed: whoever reads the roster relies on open descriptors.
        if !self.roster.leave(key) {
            return;
        }
        self.shared.server.process.sub(Process::CurrConnections, 1);
        if let Some(mut client) = self.clients.get_mut(key).and_then(Option::take) {
            log::debug!("<{} connection closed.", client.fd());
            if client.holds_memory() {
                self.holders -= 1;
            }
            if client.dumps() {
                self.dumpers -= 1;
            }
            client.release(&mut self.buffers, &self.shared.budget);
        }
    }

    /// Puts those who wait for memory back into the queue when there is some.
    fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        // Not in every round: those who find nothing would be back at once, and the worker would spin.
        let micros = self.shared.server.clock.running_micros();
        if micros.saturating_sub(self.fed_micros) >= STARVED_RETRY_MICROS {
            self.fed_micros = micros;
            self.shared.budget.wait_no_more(self.starved.len());
            self.starved.drain(..).for_each(|key| self.queue.go_on(key));
        }
    }

    /// Gives watchers another turn when it is time.
    fn tell_watchers(&mut self) {
        if !self.watchers.is_empty() && self.watch.is_due(self.shared.server.clock.running_micros()) {
            self.watchers.drain(..).for_each(|key| self.queue.go_on(key));
        }
    }

    /// Once a second: closes those who do not take the dump they asked for; and, while anybody waits for memory, those who hold some
    /// and make no progress, those who wait themselves only much later.
    fn close_stalled(&mut self, now: Now) {
        if self.holders == 0 || now.seconds == self.looked {
            return;
        }
        self.looked = now.seconds;
        let waited_for = self.shared.budget.is_waited_for();
        if !waited_for && self.dumpers == 0 {
            return;
        }
        for key in 0..self.clients.len() {
            let stalled = self.clients[key].as_ref().is_some_and(|client| {
                let patience = match () {
                    () if !waited_for && !client.dumps() => return false,
                    () if !waited_for => DUMP_SECONDS,
                    () if client.queued => WAITED_SECONDS,
                    () => STALLED_SECONDS,
                };
                client.holds_memory() && client.pulse().idle_seconds(now) >= patience
            });
            if stalled {
                if waited_for {
                    self.stats.count(Counter::ReadBufOom);
                }
                self.close(key);
            }
        }
    }

    fn close_idle(&mut self, now: Now) {
        let mut overdue = Vec::new();
        self.idle.step(&self.roster, now, |key| overdue.push(key));
        for key in overdue {
            if self.clients.get(key).and_then(Option::as_ref).is_some_and(Client::is_handshaking) {
                self.shared.server.process.add(Process::SslHandshakeErrors, 1);
            } else {
                self.stats.count(Counter::IdleKicks);
            }
            self.close_because(key, CloseReason::IdleTimeout);
        }
    }

    /// Stops: in good order what has been read is still answered; then all are closed.
    fn finish(&mut self, now: Now) -> Vec<HandedClient> {
        let mut handed = Vec::new();
        let stop = self.shared.stop.load(Ordering::Relaxed);
        if stop == super::STOP_HAND_OVER {
            handed = self.hand_over(now);
        }
        if stop == super::STOP_GRACEFUL {
            self.starved.drain(..).for_each(|key| self.queue.go_on(key));
            for _ in 0..LAST_TURNS_MAX {
                let Some(ready) = self.queue.next_of_last() else { break };
                let going_on = self.clients.get(ready.key).and_then(Option::as_ref).is_some_and(Client::has_more);
                if going_on || !ready.again {
                    self.serve(ready, now);
                }
            }
        }
        for key in self.roster.keys() {
            self.close_because(key, CloseReason::Shutdown);
        }
        handed
    }

    /// Takes out of the table, for another process, who can go on there.
    fn hand_over(&mut self, now: Now) -> Vec<HandedClient> {
        let mut handed = Vec::new();
        let mut bytes = 0;
        for key in self.roster.keys() {
            // Nobody has heard of some of them yet.
            if !self.meet(key) {
                continue;
            }
            let Some(place) = self.clients.get_mut(key) else { continue };
            let fits = |client: &Client| bytes + client.handed_bytes() <= HANDED_BYTES_MAX;
            let Some(client) = place.take_if(|client| client.can_be_handed_over() && fits(client)) else { continue };
            bytes += client.handed_bytes();
            let (tcp, idle_seconds) = (client.is_tcp(), client.pulse().idle_seconds(now));
            self.roster.leave(key);
            if let Some((socket, parts)) = client.hand_over() {
                handed.push(HandedClient { socket, tcp, idle_seconds, parts });
            }
        }
        handed
    }
}

/// When watchers have their turns: soon while there is something to tell, ever later when not.
struct WatchPace {
    pause_micros: u64,
    /// The last time, by the running clock.
    told_micros: u64,
}

impl Default for WatchPace {
    fn default() -> WatchPace {
        WatchPace { pause_micros: WATCH_SOON_MICROS, told_micros: 0 }
    }
}

impl WatchPace {
    fn hurry(&mut self) {
        self.pause_micros = WATCH_SOON_MICROS;
    }

    fn is_due(&mut self, micros: u64) -> bool {
        let due = micros.saturating_sub(self.told_micros) >= self.pause_micros;
        if due {
            self.told_micros = micros;
            self.pause_micros = (self.pause_micros * 2).min(WATCH_LATE_MICROS);
        }
        due
    }
}

/// Takes the events that are there, or waits for some, and notes them in the queue.
fn look(poll: &mut Poll, events: &mut Events, queue: &mut Queue, timeout: Option<Duration>) {
    match poll.poll(events, timeout) {
        Ok(()) => queue.come(events.iter()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => log::error!("epoll_wait: {error}"),
    }
}
