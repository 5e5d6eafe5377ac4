//! A connection to a server, as its clients have one: requests out, lines and values in. It waits, but not for ever.

use super::Failure;
use crate::sys::reason;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The port when none is named.
const DEFAULT_PORT: u16 = 11211;
/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may be silent, or not read.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest line that a server sends: a dump's, with a key of 250 bytes as 750.
const LINE_MAX: u64 = 4096;
/// Bytes read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// A connected socket, TCP or unix.
pub trait Socket: Read + Write + AsRawFd + Send {
    /// Lets reads and writes return at once from now on.
    ///
    /// # Errors
    /// When the system refuses.
    fn nonblocking(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }
}

impl Socket for UnixStream {
    fn nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }
}

/// Connects to `HOST:PORT`, `HOST`, `[IPv6]:PORT`, or the unix socket at a path, which has a slash in it.
///
/// # Errors
/// When nobody answers there.
pub fn connect(server: &str) -> io::Result<Box<dyn Socket>> {
    if server.contains('/') { unix(server) } else { tcp(server) }
}

/// A connection.
pub struct Link {
    stream: BufReader<Box<dyn Socket>>,
    /// How the operator called it.
    server: String,
    /// The line read last, without its end.
    line: Vec<u8>,
}

impl Link {
    /// Connects as [`connect`] does.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(server: &str) -> Result<Link, Failure> {
        let socket = connect(server).map_err(|error| Failure(format!("{server}: {}", reason(&error))))?;
        let stream = BufReader::with_capacity(BUFFER_BYTES, socket);
        Ok(Link { stream, server: server.to_owned(), line: Vec::new() })
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the connection is gone, or the server reads nothing for half a minute.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.get_mut().write_all(bytes);
        sent.map_err(|error| self.broken(&error))
    }

    /// The next line, without its CR LF or LF.
    ///
    /// # Errors
    /// When the connection ends, the server is silent for half a minute, or what it sends is no line.
    pub fn line(&mut self) -> Result<&[u8], Failure> {
        self.line.clear();
        let read = (&mut self.stream).take(LINE_MAX).read_until(b'\n', &mut self.line);
        read.map_err(|error| self.broken(&error))?;
        if self.line.pop() != Some(b'\n') {
            let what = if self.line.len() as u64 + 1 == LINE_MAX { "sent no line" } else { "closed the connection" };
            return Err(Failure(format!("{}: the server {what}", self.server)));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(&self.line)
    }

    /// Reads `length` bytes into `room`, which is emptied before.
    ///
    /// # Errors
    /// As [`Link::line`].
    pub fn bytes(&mut self, length: usize, room: &mut Vec<u8>) -> Result<(), Failure> {
        room.clear();
        let read = (&mut self.stream).take(length as u64).read_to_end(room);
        match read {
            Err(error) => Err(self.broken(&error)),
            Ok(read) if read < length => Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
        }
    }

    /// Asks for one line.
    ///
    /// # Errors
    /// As [`Link::send`] and [`Link::line`].
    pub fn ask(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        self.send(request)?;
        self.line()
    }

    /// The numbers of `stats` that are called `names`; 0 for one that is not there.
    ///
    /// # Errors
    /// When the server does not answer as one that speaks memcached's text protocol.
    pub fn stats<const N: usize>(&mut self, names: [&str; N]) -> Result<[u64; N], Failure> {
        self.send(b"stats\r\n")?;
        let mut found = [0; N];
        loop {
            let line = String::from_utf8_lossy(self.line()?).into_owned();
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("STAT"), Some(name), Some(value)) => {
                    for (wanted, found) in names.iter().zip(&mut found).filter(|(wanted, _)| **wanted == name) {
                        let _ = wanted;
                        *found = value.parse().unwrap_or(0);
                    }
                }
                (Some("STAT"), ..) => {}
                (Some("END"), ..) => return Ok(found),
                _ => return Err(self.refused(line.as_bytes())),
            }
        }
    }

    /// The failure that an unexpected answer is.
    pub fn refused(&self, answer: &[u8]) -> Failure {
        let answer: String = String::from_utf8_lossy(answer).chars().filter(|c| !c.is_control()).take(200).collect();
        Failure(format!("{}: the server answered: {answer}", self.server))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let what = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("the server did nothing for {} seconds", PATIENCE.as_secs())
            }
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => reason(error),
        };
        Failure(format!("{}: {what}", self.server))
    }
}

fn unix(path: &str) -> io::Result<Box<dyn Socket>> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(Box::new(socket))
}

fn tcp(server: &str) -> io::Result<Box<dyn Socket>> {
    let (host, port) = host_and_port(server)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(Box::new(socket));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn host_and_port(server: &str) -> io::Result<(&str, u16)> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "not HOST:PORT, nor a path with a slash in it");
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
        (host, port.strip_prefix(':'))
    } else {
        match server.split_once(':') {
            // An IPv6 address that is not in brackets has no port.
            Some((_, rest)) if rest.contains(':') => (server, None),
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        }
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong())?;
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_in_every_usual_way() {
        let read = |server| host_and_port(server).ok();
        assert_eq!(read("127.0.0.1:11212"), Some(("127.0.0.1", 11212)));
        assert_eq!(read("cache.example"), Some(("cache.example", 11211)));
        assert_eq!(read("[::1]:5"), Some(("::1", 5)));
        assert_eq!(read("[::1]"), Some(("::1", 11211)));
        assert_eq!(read("::1"), Some(("::1", 11211)));
        for wrong in ["", ":1", "host:", "host:70000", "host:x", "[::1", "[]:1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
