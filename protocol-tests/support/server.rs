//! Servers as processes: found, started on a free port of loopback, waited for, and ended when dropped.

pub use super::ports::free_port;
use super::ports::listens;
use super::{Link, PATIENCE, eventually_within};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The binary under test: the one cargo built, or `MEMHOLD_TEST_BINARY`.
pub fn memhold() -> PathBuf {
    std::env::var_os("MEMHOLD_TEST_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_memhold")), PathBuf::from)
}

/// The real memcached to compare with: `MEMHOLD_PEER` or the system's. `None` when there is none and the environment allows
/// to go on without (`MEMHOLD_WITHOUT_MEMCACHED=1`), which is said loudly.
///
/// # Panics
/// When there is none and nothing allows that: a comparison left out must never look like one that passed.
pub fn memcached() -> Option<PathBuf> {
    let path = std::env::var_os("MEMHOLD_PEER").map_or_else(|| PathBuf::from("/usr/bin/memcached"), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("MEMHOLD_WITHOUT_MEMCACHED").is_some(),
        "{} is not there: install memcached, or set MEMHOLD_WITHOUT_MEMCACHED=1 to leave the comparison out",
        path.display()
    );
    println!("SKIPPED: no memcached to compare with ({}), as MEMHOLD_WITHOUT_MEMCACHED allows", path.display());
    None
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts `binary` on a free port of 127.0.0.1 with `arguments` and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up within [`PATIENCE`], with what it wrote to standard error.
    pub fn start(binary: &Path, arguments: &[&str]) -> Server {
        let mut last = String::new();
        // Another process may take the port between our look and the server's bind, hence a second and third try. What answers there
        // meanwhile is not taken for ours.
        for _ in 0..3 {
            match Server::try_start(binary, arguments) {
                Ok(server) => return server,
                Err(said) => last = said,
            }
        }
        panic!("{} {arguments:?} does not start: {last}", binary.display());
    }

    fn try_start(binary: &Path, arguments: &[&str]) -> Result<Server, String> {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut child = Command::new(binary)
            .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut errors = child.stderr.take().expect("standard error was asked for");
        if comes_up(&mut child, address, PATIENCE).is_some() {
            // A server that talks (-v) must not stop because nobody listens.
            std::thread::spawn(move || {
                let mut sink = [0_u8; 4096];
                while errors.read(&mut sink).is_ok_and(|n| n > 0) {}
            });
            return Ok(Server { child, address });
        }
        let _ = child.kill();
        let _ = child.wait();
        let mut said = String::new();
        let _ = errors.read_to_string(&mut said);
        Err(said)
    }

    /// A new connection to it.
    pub fn connect(&self) -> Link {
        Link::open(self.address).expect("the server accepts connections")
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `version` says: `1.6.45`.
    pub fn version(&self) -> String {
        let said = self.connect().ask(b"version\r\n", b"\r\n");
        String::from_utf8_lossy(&said).trim().trim_start_matches("VERSION ").to_owned()
    }

    /// Sends a signal by the name that `kill` knows.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the process to end by itself.
    pub fn wait_end(&mut self) -> Option<ExitStatus> {
        wait_end(&mut self.child, PATIENCE)
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the server lives").count()
    }

    /// Resident bytes of the process.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `child` itself listens at `address`, and gives its first client. `None` when it ends instead, or patience does.
pub fn comes_up(child: &mut Child, address: SocketAddr, patience: Duration) -> Option<Link> {
    let mut link = None;
    eventually_within(patience, || {
        if listens(child.id(), address.port()) {
            link = Link::open(address).ok();
        }
        link.is_some() || !matches!(child.try_wait(), Ok(None))
    });
    link
}

/// A server in the background, by its pid file; ended when dropped.
pub struct Daemon(pub PathBuf);

impl Daemon {
    /// Its process, once it has written the file.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            signal(pid, "TERM");
        }
    }
}

/// Sends `name` (`TERM`, `USR1`, ...) to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid} works");
}

/// Waits at most `patience` for `child` to end.
pub fn wait_end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let mut status = None;
    eventually_within(patience, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    status
}
