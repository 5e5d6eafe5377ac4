//! What the tests of this folder share: servers started on ports of their own and ended with the test, and
//! connections that never wait for ever.
//!
//! A server here is a process with an address, whichever binary it is; nothing in this file knows memhold from memcached.

#![allow(dead_code, reason = "each test target uses its own part of this module")]

pub mod folder;
pub mod frame;
#[cfg(test)]
pub mod manager;
pub mod middle;
pub mod ports;
pub mod random;
pub mod server;
pub mod setting;
#[cfg(test)]
pub mod tls;
pub mod transcript;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a server may take over an answer before the test calls it missing.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// One client's connection: bytes out, bytes in until something is there or patience ends.
pub struct Link {
    stream: TcpStream,
    /// What has arrived and was not yet taken.
    pub received: Vec<u8>,
    /// Whether the server has closed its side.
    pub closed: bool,
}

impl Link {
    /// Connects to a server that is already listening.
    pub fn open(address: SocketAddr) -> io::Result<Link> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE * 4))?;
        Ok(Link { stream, received: Vec::new(), closed: false })
    }

    /// Sends all of `bytes`. A server that has closed meanwhile is no error here: reading tells.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.closed = true;
        }
    }

    /// Waits at most `patience` for more bytes (or the end). Whether anything came.
    pub fn wait(&mut self, patience: Duration) -> bool {
        let mut piece = [0_u8; 65536];
        if self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).is_err() {
            return false;
        }
        match self.stream.read(&mut piece) {
            Ok(0) => {
                self.closed = true;
                true
            }
            Ok(n) => {
                self.received.extend_from_slice(&piece[..n]);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                self.closed = true;
                true
            }
        }
    }

    /// Reads until `done` says so, the server closes or patience ends. Whether `done` said so.
    pub fn read_until(&mut self, done: impl FnMut(&[u8]) -> bool) -> bool {
        self.read_within(PATIENCE, done)
    }

    /// The same with four times the patience: for what may have to wait until rude clients are closed.
    pub fn read_until_patiently(&mut self, done: impl FnMut(&[u8]) -> bool) -> bool {
        self.read_within(PATIENCE * 4, done)
    }

    /// The same with a patience of one's own.
    pub fn read_within(&mut self, patience: Duration, mut done: impl FnMut(&[u8]) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if done(&self.received) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.closed || left.is_zero() {
                return false;
            }
            self.wait(left);
        }
    }

    /// Whether the server closes the connection before patience ends; what arrives until then is kept.
    pub fn reaches_end(&mut self) -> bool {
        self.read_until(|_| false);
        self.closed
    }

    /// Takes what has arrived.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Sends one command and gives everything up to and including the first `ending`.
    pub fn ask(&mut self, command: &[u8], ending: &[u8]) -> Vec<u8> {
        self.send(command);
        self.read_until(|bytes| bytes.windows(ending.len()).any(|window| window == ending));
        self.take()
    }

    /// The value of a line of `stats` or, with a `group`, of `stats <group>`; empty when there is no such line.
    pub fn stat(&mut self, group: &str, name: &str) -> String {
        let command = format!("{}\r\n", format!("stats {group}").trim_end());
        let said = self.ask(command.as_bytes(), b"END\r\n");
        let (said, start) = (String::from_utf8(said).expect("stats are ASCII"), format!("STAT {name} "));
        said.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
    }

    /// The socket itself, for tests that are rude to it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Whether `what` becomes true before patience ends.
pub fn eventually(what: impl FnMut() -> bool) -> bool {
    eventually_within(PATIENCE, what)
}

/// The same with a patience of one's own.
pub fn eventually_within(patience: Duration, mut what: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !what() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A connection to a unix socket that is there, or soon will be.
pub fn unix_connection(path: impl AsRef<Path>) -> UnixStream {
    let path = path.as_ref();
    let mut stream = None;
    assert!(
        eventually(|| {
            stream = UnixStream::connect(path).ok();
            stream.is_some()
        }),
        "{} takes clients",
        path.display()
    );
    let stream = stream.expect("it was waited for");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// Bytes as a transcript writes them: `\r\n`, `\xNN`, long runs as `{count*byte}`.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let run = bytes[at..].iter().take_while(|other| **other == byte).count();
        let spelled = match byte {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b'{' => "\\x7b".to_owned(),
            b' ' if at + 1 == bytes.len() => "\\x20".to_owned(),
            0x20..=0x7e => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        if run >= 24 {
            text.push_str(&format!("{{{run}*{spelled}}}"));
            at += run;
        } else {
            text.push_str(&spelled);
            at += 1;
        }
    }
    text
}
