//! The server as a process: what happens between the arguments and the exit code.
//!
//! - [`options`]: arguments become settings; [`getopt`] splits the words, [`config`] finds more of them in files;
//!   [`manual`], [`documents`] and [`completions`] tell about them.
//! - [`process`]: limits, user, detaching, pid file; [`memory`]: what the store is told; [`kept`]: the file it is kept in;
//!   [`signals`], [`logging`].
//! - [`passwords`]: who may come in.
//! - [`upgrade`]: a new version in place of this one; [`stored`]: the next process of a service; [`paper`]: what both are told.
//! - [`subcommands`]: the rows from which `tools` makes its command lines.
//! - [`background`]: the thread that lets the store work; [`notify`]: the service manager, its watchdog and its sockets.
//!
//! [`run`] keeps memcached's order of steps (end of section 9), because the order decides which of two mistakes is told
//! and which user binds the sockets. Only this layer reads arguments, environment and signals.

pub mod background;
pub mod compatibility;
pub mod completions;
pub mod config;
pub mod documents;
pub mod exit;
pub mod getopt;
pub mod kept;
pub mod logging;
pub mod manual;
pub mod memory;
pub mod notify;
pub mod options;
pub mod paper;
pub mod passwords;
pub mod process;
pub mod signals;
pub mod stored;
pub mod subcommands;
pub mod upgrade;

use crate::clock::Clock;
use crate::commands::Server;
use crate::net::{self, Handover, Listener, Tls, Workers};
use crate::settings::{MIB, Settings};
use crate::store::Store;
use crate::sync::Arc;
use crate::sys::{self, reason, resources};
use background::Background;
use exit::{Exit, FAILURE, OS_ERROR, SUCCESS, USAGE};
use logging::say;
use notify::Watchdog;
use process::PidFile;
use signals::{Asked, Signals, Stop};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use upgrade::{Started, Takeover};

/// Runs the server until it is told to stop. `program` is the name in messages, `words` what was typed after it.
/// Returns the exit code.
#[must_use]
pub fn run(program: &str, words: &[Vec<u8>]) -> u8 {
    match start(program, words) {
        Ok(running) => running.wait(),
        Err(exit) => leave(&exit),
    }
}

/// A server that serves.
struct Running {
    server: Arc<Server>,
    signals: Signals,
    workers: Workers,
    background: Background,
    store: Store,
    watchdog: Option<Watchdog>,
    /// Only with `-d`: then it is removed at the end.
    pid_file: Option<PidFile>,
    /// What an upgrade needs to know.
    started: Option<Started>,
}

fn start(program: &str, words: &[Vec<u8>]) -> Result<Running, Exit> {
    let parsed = options::parse(program, words)?;
    parsed.warnings.iter().for_each(|line| say(line));
    let mut settings = parsed.settings;
    let mut takeover = Takeover::find()?;
    settings.port_file = std::env::var_os("MEMCACHED_PORT_FILENAME").map(Into::into);
    settings.runtime_directory = std::env::var_os("RUNTIME_DIRECTORY").and_then(kept::first_directory);

    settings.sasl_pwdb = settings.sasl_pwdb.or_else(|| std::env::var_os("MEMCACHED_SASL_PWDB").map(Into::into));
    if parsed.check_takeover {
        return Err(upgrade::check(&settings, load_tls));
    }
    let tls = load_tls(&settings)?;
    process::limits(&settings, takeover.as_ref().map_or(0, Takeover::connections))?;
    process::user(&settings)?;
    // As whom they will be read again.
    let (watch, credentials) = (passwords::Watch::new(&settings), passwords::load(&settings)?);
    passwords::find_again(&mut settings);
    let folder = std::env::current_dir().ok().filter(|_| process::leaves_folder(&settings));
    if takeover.is_none() {
        process::daemonize(&settings)?;
    } else {
        process::leave_folder(&settings).map_err(|error| Exit::new(FAILURE, reason(&error)))?;
    }
    // What outlived the process before is on already, and would only be asked twice.
    let filtered_before = takeover.as_ref().is_some_and(|takeover| takeover.filtered);
    let filter = if filtered_before { None } else { process::filter_calls(&settings)? };
    let filtered = filtered_before || settings.drop_privileges != Some(false) && filter.is_none();
    let started = Started::now(filtered, folder);
    let warnings = [process::lock_memory(&settings), memory::too_much_memory(&settings), filter];
    warnings.iter().flatten().for_each(|line| say(line));
    options::check::hashpower(&settings)?;

    sys::memory::give_freed_memory_back();
    // From here on there are threads.
    logging::start(settings.verbosity);
    abort_on_panic();
    let signals = Signals::hold()?;
    let seed = RandomState::new().build_hasher().finish();
    let clock = Clock::start();
    let opened = kept::open(
        &settings,
        &memory::store_config(&settings, seed),
        clock.now(),
        takeover.as_ref().map(|takeover| &takeover.arena),
    )?;
    let store = opened.store;
    settings.memory_file = opened.file;
    let mut server = Server::new(settings, clock);
    // The time of the items' memory goes on, and `uptime` with it (section 16.4).
    server.started_seconds = opened.birth.unwrap_or(server.started_seconds);
    let server = Arc::new(server);
    store.tell(Arc::clone(&server.logger));
    // Set here and only here; the commands may not call the system themselves.
    let _ = server.cpu_time.set(resources::cpu_time);
    let _ = server.fault.set(sys::memory::fault);
    server.credentials.replace(credentials);
    let threads = |error| Exit::new(FAILURE, format!("Can't create thread: {}", reason(&error)));
    let background = Background::start(store.for_thread(), Arc::clone(&server), watch).map_err(threads)?;
    let handover = match &mut takeover {
        Some(takeover) => takeover.handover(tls.as_ref())?,
        None => open_doors(&server.settings, tls.as_ref())?,
    };
    if let Some(tls) = tls {
        let _ = server.refresh_certs.set(Box::new(move || tls.refresh()));
    }
    if takeover.is_some() {
        let (clients, pid) = (handover.clients(), std::process::id());
        say(&format!("memhold {} has taken over process {pid} with {clients} clients", env!("CARGO_PKG_VERSION")));
    }
    let workers = serve(&server, &store, handover).map_err(threads)?;
    let pid_file = write_pid_file(&server.settings, takeover.is_some());
    // That all is well means something only once there is somebody to be well.
    notify::ready(&status(&server.settings));
    let watchdog = Watchdog::start(workers.watch()).map_err(threads)?;
    Ok(Running { server, signals, workers, background, store, watchdog, pid_file, started: started.ok() })
}

/// Starts the threads that serve.
fn serve(server: &Arc<Server>, store: &Store, handover: Handover) -> io::Result<Workers> {
    let on_shutdown = Box::new(|graceful| if graceful { Stop::Graceful.ask() } else { Stop::Now.ask() });
    Workers::resume(Arc::clone(server), store.for_thread(), handover, on_shutdown)
}

/// What TLS needs, while files may be read that only root can.
fn load_tls(settings: &Settings) -> Result<Option<Arc<Tls>>, Exit> {
    if !settings.tls.enabled {
        return Ok(None);
    }
    let tls = Tls::load(&settings.tls).map_err(|line| Exit::new(USAGE, line))?;
    Ok(Some(Arc::new(tls)))
}

/// Listeners, and clients where the service manager has kept some.
fn open_doors(settings: &Settings, tls: Option<&Arc<Tls>>) -> Result<Handover, Exit> {
    let inherited = notify::inherited()
        .map_err(|error| Exit::new(OS_ERROR, format!("failed to take inherited sockets: {}", reason(&error))))?;
    let kept = inherited.kept.and_then(|kept| stored::take(kept, settings, tls)).unwrap_or_default();
    if inherited.sockets.is_empty() && kept.listeners() > 0 {
        process::enough_connections(settings, kept.listeners())?;
        return Ok(kept);
    }
    // A socket unit says where to listen; the others are closed before they are bound anew.
    let clients = kept.without_listeners();
    listen(settings, inherited.sockets, tls).map(|listeners| clients.with(listeners))
}

/// Binds, and tells whoever waits for it which ports it became.
fn listen(settings: &Settings, inherited: Vec<OwnedFd>, tls: Option<&Arc<Tls>>) -> Result<Vec<Listener>, Exit> {
    if settings.tcp_port < -1 && settings.socket_path.is_none() {
        return Err(Exit::new(OS_ERROR, impossible_port(settings)));
    }
    let listeners = if inherited.is_empty() {
        net::listen(settings, tls)
    } else {
        // They stand in the place of -p and -s, and of -l for TCP: whoever made them has chosen where to listen.
        net::listen_inherited(inherited, settings.binding_protocol, tls).and_then(|mut listeners| {
            listeners.append(&mut net::listen_datagrams(settings, tls)?);
            Ok(listeners)
        })
    };
    let listeners = listeners.map_err(|error| Exit::new(OS_ERROR, error.to_string()))?;
    process::enough_connections(settings, listeners.len())?;
    if let Some(path) = settings.port_file.as_deref().filter(|_| settings.socket_path.is_none())
        && let Err(line) = process::write_ports(path, &net::port_lines(&listeners))
    {
        say(&line);
    }
    Ok(listeners)
}

/// A few words for `systemctl status`.
fn status(settings: &Settings) -> String {
    let megabytes = settings.memory_bytes / MIB;
    format!(
        "Serving {} connections at most, {megabytes} MB of items, {} threads",
        settings.maxconns, settings.num_threads
    )
}

/// What memcached says of a port below -1: it is only refused when it is to be bound.
fn impossible_port(settings: &Settings) -> String {
    let place = match &settings.inter {
        None => format!("TCP port {}", settings.tcp_port),
        Some(list) => format!("one of interface(s) {list}"),
    };
    format!("getaddrinfo(): Servname not supported for ai_socktype\nfailed to listen on {place}: Success")
}

/// After an upgrade the file names this very process, which is not worth a warning.
fn write_pid_file(settings: &Settings, upgraded: bool) -> Option<PidFile> {
    let (pid_file, warnings) = PidFile::write(settings.pid_file.as_deref()?);
    warnings.iter().filter(|_| !upgraded).for_each(|line| say(line));
    settings.daemon.then_some(pid_file)
}

impl Running {
    /// Serves until a signal or a client says stop, then stops in order: first whoever brings work, then whoever does it.
    /// Returns the exit code.
    fn wait(mut self) -> u8 {
        let stop = loop {
            match self.signals.wait() {
                Asked::Reload => reload(&self.server),
                Asked::Upgrade => match self.ask_next() {
                    Ok(()) => match self.give_way() {
                        Ok(running) => self = running,
                        Err(exit) => return leave(&exit),
                    },
                    Err(why) => {
                        say(&format!("no upgrade, this version goes on: {why}"));
                        // At least what SIGHUP does.
                        reload(&self.server);
                    }
                },
                Asked::Stop(stop) => break stop,
            }
        };
        self.signals.release();
        if let Some(line) = stop.farewell(self.server.live.verbosity()) {
            say(line);
        }
        notify::stopping();
        if let Some(watchdog) = self.watchdog {
            watchdog.stop();
        }
        if stop == Stop::Term && notify::may_keep() {
            stored::leave(&self.workers.hand_over(), &self.server.settings);
        } else {
            self.workers.stop(stop == Stop::Graceful);
        }
        self.background.stop();
        match self.store.close() {
            Ok(Some(items)) => log::info!("memory file closed with {items} items"),
            Ok(None) => {}
            // The next process takes it over as after a death.
            Err(text) => log::error!("memory file not closed in order: {text}"),
        }
        if let Some(line) = self.pid_file.and_then(PidFile::remove) {
            say(&line);
        }
        SUCCESS
    }

    /// Whether the next version can take over.
    fn ask_next(&self) -> Result<(), String> {
        let started = self.started.as_ref().ok_or("it is not known how this process was started")?;
        started.ask_next(&self.server.settings, &self.store)
    }

    /// Becomes the next version. Returns when that failed: goes on serving, with the same clients.
    fn give_way(self) -> Result<Running, Exit> {
        let Running { server, signals, workers, background, store, watchdog, pid_file, started } = self;
        if let Some(watchdog) = watchdog {
            watchdog.stop();
        }
        let handover = workers.hand_over();
        background.stop();
        if let Some(started) = &started {
            let why = started.become_next(&handover, &store);
            say(&format!("no upgrade, this version goes on: {why}"));
        }
        let threads = |error| Exit::new(FAILURE, format!("Can't create thread: {}", reason(&error)));
        let watch = passwords::Watch::new(&server.settings);
        let background = Background::start(store.for_thread(), Arc::clone(&server), watch).map_err(threads)?;
        let workers = serve(&server, &store, handover).map_err(threads)?;
        let watchdog = Watchdog::start(workers.watch()).map_err(threads)?;
        Ok(Running { server, signals, workers, background, store, watchdog, pid_file, started })
    }
}

/// SIGHUP: reads again what is read from files. Never fatal.
fn reload(server: &Server) {
    let authenticates = server.settings.protocol_of_authentication().is_some();
    if authenticates {
        passwords::reload(server);
    }
    match server.refresh_certs() {
        None if authenticates => {}
        None => log::info!("SIGHUP: nothing to read again"),
        Some(Ok(())) => log::info!("SIGHUP: certificates read again"),
        Some(Err(line)) => log::error!("{line}"),
    }
}

/// Makes a panic of any thread the end of the process: a server that has lost one of its threads would look alive and
/// not be.
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

/// Prints the last lines and returns the exit code.
fn leave(exit: &Exit) -> u8 {
    for line in &exit.lines {
        if exit.code == SUCCESS {
            // `memhold -h | head -1` closes the pipe early, which is fine.
            let _ = writeln!(std::io::stdout(), "{line}");
        } else {
            say(line);
        }
    }
    exit.code
}
