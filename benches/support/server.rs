//! A server under test: started on a free port, pinned to a core, killed when dropped; its CPU time and memory.
//!
//! Everything is read from `/proc` and done through `taskset` and `prlimit` of util-linux, so that no bench needs a
//! system call of its own.

#[path = "../../protocol-tests/support/ports.rs"]
mod ports;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use memhold::tools::bench::items::Items;
use memhold::tools::bench::mix::Mix;
use memhold::tools::bench::player::{Limit, Plan, Player};
use memhold::tools::bench::usage::{self, Cpu};
use memhold::tools::link::Target;

use super::Failure;
use super::scenario::World;
use ports::{free_port, listens};

/// A running server.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command` (a server and what to run it under) with memcached's options and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not listen within some seconds.
    pub fn start(command: &[&OsStr], options: &[&str]) -> Result<Server, Failure> {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let shown = command.join(OsStr::new(" "));
        let mut child = Command::new(command[0])
            .args(&command[1..])
            // memcached refuses to run as root unless told the user; anyone else is not asked.
            .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", shown.display()))?;
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(format!("{} ended at once: {status}", shown.display()).into());
            }
            // Another bench may have taken the port since it was found free; its server must not be measured.
            if listens(child.id(), port) && TcpStream::connect(address).is_ok() {
                return Ok(Server { child, address });
            }
            if Instant::now() > deadline {
                // From here on the drop kills it.
                drop(Server { child, address });
                return Err(format!("{} does not listen on {address}", shown.display()).into());
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// The process that was started. `taskset` and valgrind become the server, so it is the server's own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How clients reach it.
    pub fn target(&self) -> Target {
        Target::plain(self.address.to_string())
    }

    /// Stores everything of a world.
    ///
    /// # Errors
    ///
    /// When the server answers wrongly, refuses one or hangs up.
    pub fn fill(&self, world: &World) -> Result<(), Failure> {
        self.store(&world.sessions, Some(&world.counters))?;
        world.stored().into_iter().try_for_each(|items| self.store(items, None))
    }

    /// Stores items, and counters with them.
    ///
    /// # Errors
    ///
    /// As [`Server::fill`].
    pub fn store(&self, items: &Arc<Items>, counters: Option<&Arc<Items>>) -> Result<(), Failure> {
        // Counters are stored where some are counted up.
        let mix = Mix { incrs: u64::from(counters.is_some()), ..Mix::GETS };
        let plan = Plan { mix, ..Plan::new(self.target(), Arc::clone(items), Arc::clone(counters.unwrap_or(items))) };
        let mut player = Player::connect(Arc::new(plan), FILL_CONNECTIONS, 1)?;
        player.play(Limit::Fill { rest: 0, step: 1 })?;
        match player.take_report()?.counts.refused {
            0 => Ok(()),
            refused => Err(format!("{refused} items were refused").into()),
        }
    }

    /// A number of the server's `stats`.
    ///
    /// # Errors
    ///
    /// When there is no such line or the connection fails.
    pub fn stat(&self, name: &str) -> Result<u64, Failure> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"stats\r\nquit\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let find = |line: &str| line.strip_prefix("STAT ")?.strip_prefix(name)?.trim().parse().ok();
        Ok(text.lines().find_map(find).ok_or_else(|| format!("no {name} in stats"))?)
    }

    /// What the server has used so far, once it has finished what its last replies left to do.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn cpu(&self) -> io::Result<Cpu> {
        // The kernel brings the nanoseconds up to date when a thread goes to sleep.
        sleep(Duration::from_millis(3));
        Cpu::of(self.pid())
    }

    /// Resident memory in bytes, once it has stopped changing.
    ///
    /// # Errors
    ///
    /// When the process is gone or its memory may not be read.
    pub fn resident_bytes(&self) -> Result<u64, Failure> {
        let mut last = usage::resident_bytes(self.pid())?;
        let mut unchanged = 0;
        for _ in 0..SETTLE_LOOKS_MAX {
            sleep(Duration::from_millis(500));
            let now = usage::resident_bytes(self.pid())?;
            unchanged = if now == last { unchanged + 1 } else { 0 };
            if unchanged == SETTLE_LOOKS {
                break;
            }
            last = now;
        }
        Ok(last)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both only fail when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The cores for the server and for the client: the first and the last this process may use.
pub struct Cores {
    pub server: Option<String>,
}

impl Cores {
    /// Pins this process to its core. Says so and goes on unpinned where that cannot be done.
    pub fn claim() -> Cores {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        let numbers: Vec<&str> = allowed.split([',', '-']).map(str::trim).collect();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
            return Cores { server: None };
        };
        let pid = std::process::id().to_string();
        if first != last && run("taskset", &["-p", "-c", last, &pid]) {
            return Cores { server: Some((*first).to_owned()) };
        }
        eprintln!("server and client share their cores: the figures will vary");
        Cores { server: None }
    }

    /// The command that starts `path` on the server's core.
    pub fn command<'a>(&'a self, path: &'a Path) -> Vec<&'a OsStr> {
        let mut command = Vec::new();
        if let Some(core) = &self.server {
            command.extend(["taskset", "-c", core].map(OsStr::new));
        }
        command.push(path.as_os_str());
        command
    }
}

/// Lets this process, and the servers it starts, open so many files.
pub fn allow_files(count: usize) {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    if soft.is_none_or(|soft| soft < count) {
        let pid = std::process::id().to_string();
        run("prlimit", &["--pid", &pid, &format!("--nofile={count}:")]);
    }
}

/// Runs a program of the system. Whether it did what it was told.
pub fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Under valgrind, on a machine that has other things to do, a start takes its time.
const START_TIME_MAX: Duration = Duration::from_secs(120);

/// memcached doubles its hash table at most once a second, so memory that stood still for one may grow again.
const SETTLE_LOOKS: usize = 5;

const SETTLE_LOOKS_MAX: usize = 60;

const FILL_CONNECTIONS: usize = 4;
