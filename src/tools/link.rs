//! A connection to a server, as its clients have one: requests out, lines and values in. It waits, but not for ever.

use super::Failure;
use super::tls::Tls;
use crate::sys::reason;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, RawFd};
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
pub trait Socket: Read + Write + Send {
    /// What the system calls it.
    fn descriptor(&self) -> RawFd;

    /// Lets reads and writes return at once from now on.
    ///
    /// # Errors
    /// When the system refuses.
    fn nonblocking(&self) -> io::Result<()>;

    /// Sends what it has taken and kept.
    ///
    /// # Errors
    /// When the connection is gone, but not when the system takes nothing more just now.
    fn push_out(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether there may be more to read at once after a read that did not fill its buffer.
    fn keeps_back(&self) -> bool {
        false
    }
}

impl Socket for TcpStream {
    fn descriptor(&self) -> RawFd {
        self.as_raw_fd()
    }

    fn nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }
}

impl Socket for UnixStream {
    fn descriptor(&self) -> RawFd {
        self.as_raw_fd()
    }

    fn nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }
}

/// A server, and how its clients come in.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `HOST:PORT`, `HOST`, `[IPv6]:PORT`, or the path of a unix socket, which has a slash in it.
    pub address: String,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Name and password, if they are asked for.
    pub login: Option<Login>,
}

/// Who somebody is.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl Target {
    /// A server that is spoken to in the clear and asks nobody who they are.
    #[must_use]
    pub fn plain(address: impl Into<String>) -> Target {
        Target { address: address.into(), tls: None, login: None }
    }

    /// Connects and logs in: with SASL in the binary protocol, else in the text protocol.
    ///
    /// # Errors
    /// When nobody answers there, its certificate or our password is not accepted.
    pub fn connect(&self, is_binary: bool) -> io::Result<Box<dyn Socket>> {
        let mut socket: Box<dyn Socket> = match &self.tls {
            None => connect(&self.address)?,
            Some(tls) => {
                let (host, _) = host_and_port(&self.address)?;
                Box::new(tls.handshake(host, tcp(&self.address)?)?)
            }
        };
        if let Some(login) = &self.login {
            let accepted = if is_binary { login.sasl(&mut *socket)? } else { login.text(&mut *socket)? };
            if !accepted {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "name or password is not accepted"));
            }
        }
        Ok(socket)
    }
}

impl Login {
    /// Under `-S`: the mechanism PLAIN (section 7.1). Whether it is accepted.
    fn sasl(&self, socket: &mut dyn Socket) -> io::Result<bool> {
        let body = ["PLAIN", "\0", &self.name, "\0", &self.password].concat();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let header = [&[0x80, 0x21, 0, 5, 0, 0, 0, 0][..], &length, &[0; 12]].concat();
        socket.write_all(&[&header, body.as_bytes()].concat())?;
        socket.push_out()?;
        let mut reply = [0; 24];
        socket.read_exact(&mut reply)?;
        let length = u32::from_be_bytes([reply[8], reply[9], reply[10], reply[11]]);
        io::copy(&mut socket.take(u64::from(length)), &mut io::sink())?;
        Ok(reply[6..8] == [0, 0])
    }

    /// Under `-Y`: a set of any key (section 7.2). Whether it is accepted.
    fn text(&self, socket: &mut dyn Socket) -> io::Result<bool> {
        let Login { name, password } = self;
        let length = name.len() + 1 + password.len();
        socket.write_all(format!("set login 0 0 {length}\r\n{name} {password}\r\n").as_bytes())?;
        socket.push_out()?;
        let mut reply = Vec::new();
        BufReader::with_capacity(1, socket.take(LINE_MAX)).read_until(b'\n', &mut reply)?;
        Ok(reply == b"STORED\r\n")
    }
}

/// Connects to `HOST:PORT`, `HOST`, `[IPv6]:PORT`, or the unix socket at a path, which has a slash in it.
///
/// # Errors
/// When nobody answers there.
pub fn connect(server: &str) -> io::Result<Box<dyn Socket>> {
    if server.contains('/') { unix(server) } else { Ok(Box::new(tcp(server)?)) }
}

/// A connection.
pub struct Link {
    stream: BufReader<Box<dyn Socket>>,
    /// How the operator called it.
    server: String,
    /// The line read last, without its end.
    line: Vec<u8>,
    /// Whether it has answered anything.
    heard: bool,
}

impl Link {
    /// Connects as [`connect`] does.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(server: &str) -> Result<Link, Failure> {
        let socket = connect(server).map_err(|error| Failure(format!("{server}: {}", reason(&error))))?;
        let stream = BufReader::with_capacity(BUFFER_BYTES, socket);
        Ok(Link { stream, server: server.to_owned(), line: Vec::new(), heard: false })
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
            return Err(if self.line.len() as u64 + 1 == LINE_MAX {
                Failure(format!("{}: the server sent no line", self.server))
            } else {
                self.broken(&io::ErrorKind::UnexpectedEof.into())
            });
        }
        self.heard = true;
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
            _ => ended(error, !self.heard),
        };
        Failure(format!("{}: {what}", self.server))
    }
}

/// How a connection ended. When it did before anything was answered in the clear, that is mostly for one reason.
#[must_use]
pub fn ended(error: &io::Error, unheard: bool) -> String {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => reason(error),
    };
    let is_end = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    if unheard && is_end { format!("{what}, without any answer: perhaps it wants TLS") } else { what }
}

fn unix(path: &str) -> io::Result<Box<dyn Socket>> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(Box::new(socket))
}

fn tcp(server: &str) -> io::Result<TcpStream> {
    let (host, port) = host_and_port(server)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket);
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
