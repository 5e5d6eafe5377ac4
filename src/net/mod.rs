//! The only sockets: who listens, who accepts, who serves.
//!
//! ```text
//! listener ──► acceptor ──► roster ──► worker ──► client ──► conn
//!  -l, -s       one thread   who is     one thread   one       (sans-IO)
//!               -c           where      each (-t)    socket
//! ```
//!
//! - [`listener`]: reads `-l`, binds; [`inherited`]: takes over what was bound before; [`stream`]: a client's socket of whatever
//!   kind; [`tls`]: one with TLS, [`certificates`]: what that needs of files.
//! - [`udp`]: datagrams instead of clients.
//! - [`acceptor`]: takes clients and gives each to the least loaded worker, through that worker's [`roster`].
//! - [`worker`]: the event loop; [`queue`]: who has the next turn; [`client`]: one client's turn, and what it keeps between turns.
//! - [`handover`]: listeners and clients that go on in another process; [`parcel`]: their descriptors in flight.
//! - [`budget`]: how much memory clients may keep; [`idle`]: `idle_timeout`; [`napi`]: `-N`; [`knock`]: whether a thread
//!   still comes round.
//!
//! Nothing here knows a command; the conversation is `conn`'s.

mod acceptor;
mod budget;
pub mod certificates;
mod client;
pub mod handover;
mod idle;
mod inherited;
mod knock;
pub mod listener;
mod napi;
pub mod parcel;
mod queue;
mod roster;
mod stream;
mod tls;
mod udp;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::thread::{self, JoinHandle};

pub use crate::conn::handover::{Broken, Reader, Writer};
pub use certificates::{ClientCert, Tls};
pub use handover::Handover;
pub use inherited::listen_inherited;
pub use knock::Watch;
pub use listener::{Address, ListenError, Listener, TcpOptions, listen_tcp, listen_unix, port_lines};
pub use udp::listen_udp;

use crate::commands::Server;
use crate::commands::server::{ConnRow, ConnTable};
use crate::settings::Settings;
use crate::stats::Process;
use crate::store::Store;
use crate::sync::{Arc, AtomicU32, Ordering, lock};
use acceptor::Acceptor;
use budget::Budget;
use handover::HandedClient;
use knock::Knock;
use roster::{Pulse, Roster};
use worker::Worker;

/// Binds what the settings say: the unix socket of `-s`, or else every address of `-l` for `-p`, with `tls` where that is on, and
/// for `-U`. None with `-p 0 -U 0`.
///
/// # Errors
/// [`ListenError`], in memcached's words.
pub fn listen(settings: &Settings, tls: Option<&Arc<Tls>>) -> Result<Vec<Listener>, ListenError> {
    if let Some(path) = &settings.socket_path {
        let protocol = settings.protocol_of_authentication().unwrap_or(settings.binding_protocol);
        return Ok(vec![listen_unix(path, settings.unix_mask, settings.tcp_backlog, protocol)?]);
    }
    let options = everywhere(settings, tls);
    let mut listeners = if settings.tcp_port == 0 { Vec::new() } else { listen_tcp(&options)? };
    listeners.append(&mut listen_datagrams(settings, tls)?);
    Ok(listeners)
}

/// Binds what `-U` says, which may be nothing. Datagrams are never enciphered; `tls` tells which prefixes `-l` may have.
///
/// # Errors
/// As [`listen`].
pub fn listen_datagrams(settings: &Settings, tls: Option<&Arc<Tls>>) -> Result<Vec<Listener>, ListenError> {
    if settings.udp_port == 0 {
        return Ok(Vec::new());
    }
    let options = TcpOptions { port: settings.udp_port, ..everywhere(settings, tls) };
    listen_udp(&options, settings.udp_answer_max)
}

/// What the settings say about the addresses of `-l`.
fn everywhere<'a>(settings: &'a Settings, tls: Option<&'a Arc<Tls>>) -> TcpOptions<'a> {
    let only = settings.protocol_of_authentication();
    TcpOptions {
        interfaces: settings.inter.as_deref(),
        port: settings.tcp_port,
        backlog: settings.tcp_backlog,
        protocol: only.unwrap_or(settings.binding_protocol),
        only,
        mark: settings.sock_cookie_id,
        tls,
    }
}

/// What all threads of `net` share.
struct Shared {
    store: Store,
    server: Arc<Server>,
    budget: Budget,
    /// 0 while serving, then [`CLOSED`], then [`STOP_NOW`] or [`STOP_GRACEFUL`].
    stop: AtomicU32,
    /// Called when a client asked to stop the server; says whether gracefully.
    on_shutdown: OnShutdown,
}

/// What to do when a client asked to stop the server (`shutdown`). Called on a worker's thread: it must only pass the word on.
pub type OnShutdown = Box<dyn Fn(bool) + Send + Sync>;

/// Nobody is accepted any more.
const CLOSED: u32 = 1;
/// Workers end at once.
const STOP_NOW: u32 = 2;
/// Workers end when what has been read is answered.
const STOP_GRACEFUL: u32 = 3;
/// Workers end at once and give their clients back, for another process.
const STOP_HAND_OVER: u32 = 4;

impl Shared {
    /// Whether the acceptor is to end.
    fn closed(&self) -> bool {
        self.stop.load(Ordering::Relaxed) >= CLOSED
    }

    /// Whether the workers are to end.
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) >= STOP_NOW
    }
}

/// The threads that serve: `-t` workers, and the acceptor.
#[must_use = "dropped, the threads go on with nobody to stop them"]
pub struct Workers {
    shared: Arc<Shared>,
    rosters: Vec<Arc<Roster>>,
    workers: Vec<JoinHandle<Vec<HandedClient>>>,
    acceptor: JoinHandle<Vec<Listener>>,
    knock: Arc<Knock>,
}

impl Workers {
    /// Starts the workers and begins to accept from `listeners`. `stats conns` is answered from now on.
    ///
    /// # Errors
    /// When the system refuses a poll or a thread.
    pub fn start(
        server: Arc<Server>,
        store: Store,
        listeners: Vec<Listener>,
        on_shutdown: OnShutdown,
    ) -> io::Result<Workers> {
        Workers::resume(server, store, Handover { listeners, clients: Vec::new() }, on_shutdown)
    }

    /// The same with the listeners and the clients of another process, which are spread evenly.
    ///
    /// # Errors
    /// When the system refuses a poll or a thread.
    pub fn resume(
        server: Arc<Server>,
        store: Store,
        handover: Handover,
        on_shutdown: OnShutdown,
    ) -> io::Result<Workers> {
        let Handover { listeners, clients } = handover;
        let budget = Budget::new(server.settings.read_buf_mem_limit_bytes);
        let count = server.settings.num_threads as usize;
        let shared = Arc::new(Shared { store, server, budget, stop: AtomicU32::new(0), on_shutdown });
        let mut workers =
            (0..count).map(|index| Worker::new(Arc::clone(&shared), index)).collect::<io::Result<Vec<Worker>>>()?;
        let mut udp = Vec::new();
        for listener in listeners.iter().filter(|listener| matches!(listener.address(), Address::Udp(_))) {
            for worker in &mut workers {
                udp.push(worker.read_datagrams_of(listener)?);
            }
        }
        let rosters: Vec<_> = workers.iter().map(|worker| Arc::clone(worker.roster())).collect();
        let table = Table::new(&listeners, udp, rosters.clone(), shared.server.started_seconds);
        *lock(&shared.server.conns) = Some(Box::new(table));
        let (acceptor, knock) = Acceptor::new(Arc::clone(&shared), listeners, rosters.clone())?;
        for (number, client) in clients.into_iter().enumerate() {
            workers[number % count].resume(client);
        }

        let mut threads = Vec::with_capacity(count);
        for (index, worker) in workers.into_iter().enumerate() {
            threads.push(spawn(&format!("worker {index}"), move || worker.run())?);
        }
        let acceptor = spawn("acceptor", move || acceptor.run())?;
        Ok(Workers { shared, rosters, workers: threads, acceptor, knock })
    }

    /// What tells whether all threads still come round.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let workers = self.rosters.iter().map(|roster| Arc::clone(roster.knock()));
        Watch::over(workers.chain([Arc::clone(&self.knock)]))
    }

    /// Stops serving and waits until all threads have ended. Gracefully: requests already read are answered first. All
    /// connections are closed.
    pub fn stop(self, graceful: bool) {
        drop(self.end(if graceful { STOP_GRACEFUL } else { STOP_NOW }));
    }

    /// Stops serving between two turns and waits until all threads have ended. Listeners and connections stay open, for another process,
    /// but those that it could not go on with.
    #[must_use]
    pub fn hand_over(self) -> Handover {
        self.end(STOP_HAND_OVER)
    }

    fn end(self, stop: u32) -> Handover {
        let mut handover = Handover::default();
        // The acceptor first: a client given to a worker that has ended would stay open and unheard.
        self.shared.stop.store(CLOSED, Ordering::Relaxed);
        match self.knock.wake() {
            // A thread that panics ends the whole process; `server` sees to that.
            Ok(()) => {
                let listeners = self.acceptor.join().unwrap_or_default();
                // Otherwise they are closed here and now.
                if stop == STOP_HAND_OVER {
                    handover.listeners = listeners;
                }
            }
            Err(error) => log::error!("the acceptor cannot be woken: {error}"),
        }
        self.shared.stop.store(stop, Ordering::Relaxed);
        for roster in &self.rosters {
            roster.wake();
        }
        for worker in self.workers {
            handover.clients.append(&mut worker.join().unwrap_or_default());
        }
        // Whoever goes on counts them anew, even if it is this process.
        self.shared.server.process.set(Process::CurrConnections, 0);
        handover
    }
}

/// Starts a thread. That a panic of it ends the process is the panic hook's affair (see `server`).
fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// All sockets, for `stats conns`.
struct Table {
    /// Descriptor and spelled address of each listener.
    listeners: Vec<(i32, String)>,
    /// Descriptor and spelled address of each worker's copy of each UDP socket.
    udp: Vec<(i32, String, Arc<Pulse>)>,
    rosters: Vec<Arc<Roster>>,
    started_seconds: u32,
}

impl Table {
    fn new(
        listeners: &[Listener],
        udp: Vec<(i32, String, Arc<Pulse>)>,
        rosters: Vec<Arc<Roster>>,
        started_seconds: u32,
    ) -> Table {
        let accepting = listeners.iter().filter(|listener| !matches!(listener.address(), Address::Udp(_)));
        let listeners = accepting.map(|listener| (listener.fd(), listener.spelled())).collect();
        Table { listeners, udp, rosters, started_seconds }
    }
}

impl ConnTable for Table {
    fn rows(&self, now: crate::clock::Now) -> Vec<ConnRow> {
        let mut rows: Vec<ConnRow> = self
            .listeners
            .iter()
            .map(|(fd, address)| ConnRow {
                fd: *fd,
                addr: address.clone(),
                listen_addr: None,
                state: "conn_listening",
                secs_since_last_cmd: now.seconds.saturating_sub(self.started_seconds),
                udp: false,
            })
            .collect();
        rows.extend(self.udp.iter().map(|(fd, address, pulse)| ConnRow {
            fd: *fd,
            addr: address.clone(),
            listen_addr: None,
            state: "conn_read",
            secs_since_last_cmd: pulse.idle_seconds(now),
            udp: true,
        }));
        for roster in &self.rosters {
            roster.rows(now, &mut rows);
        }
        rows.sort_by_key(|row| row.fd);
        rows
    }
}
