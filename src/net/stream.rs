//! A client's socket, whatever its kind: non-blocking bytes in, bytes out. Nothing above asks which kind it is, except for what
//! memcached treats differently (unix sockets are exempt from `idle_timeout`), for the event interest below, and for reading, where
//! TLS needs buffers of its own.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;

use super::tls::{Scratch, TlsStream};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Behind a pointer: the others stay as small as they are.
    Tls(Box<TlsStream>),
}

/// Bytes that may wait unsent in the kernel for one of many clients. By itself the kernel takes megabytes for each that does not read, and
/// once TCP's memory of the whole machine is used up it drops other clients' segments.
const UNSENT_BYTES: u32 = 256 << 10;

impl Stream {
    pub(super) fn fd(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
            Stream::Tls(stream) => stream.fd(),
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        !matches!(self, Stream::Unix(_))
    }

    /// The TLS connection, if it is one.
    pub(super) fn tls(&self) -> Option<&TlsStream> {
        match self {
            Stream::Tls(stream) => Some(stream),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn tls_mut(&mut self) -> Option<&mut TlsStream> {
        match self {
            Stream::Tls(stream) => Some(stream),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// From now on the kernel keeps no more than [`UNSENT_BYTES`] unsent for this client: what it does not read waits in item memory or
    /// with the worker.
    pub(super) fn curb(&self) {
        let curbed = match self {
            Stream::Tcp(stream) => SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES),
            Stream::Unix(_) | Stream::Tls(_) => Ok(()),
        };
        if let Err(error) = curbed {
            log::debug!("setsockopt(TCP_NOTSENT_LOWAT): {error}");
        }
    }

    /// A socket that another process has handed over.
    pub(super) fn handed_over(socket: OwnedFd, tcp: bool) -> Stream {
        if tcp { Stream::Tcp(socket.into()) } else { Stream::Unix(socket.into()) }
    }

    /// The socket alone, for another process; `None` where TLS keeps what that cannot have.
    pub(super) fn hand_over(self) -> Option<OwnedFd> {
        match self {
            Stream::Tcp(stream) => Some(stream.into()),
            Stream::Unix(stream) => Some(stream.into()),
            Stream::Tls(_) => None,
        }
    }

    /// Whether a handshake has to be completed before anything is said.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(TlsStream::is_handshaking)
    }

    /// Reads from a socket without TLS; see [`TlsStream::read`].
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        again_if_interrupted(|| {
            let (read, _) = match self {
                Stream::Tcp(stream) => recv(stream, &mut *bytes, RecvFlags::empty())?,
                Stream::Unix(stream) => recv(stream, &mut *bytes, RecvFlags::empty())?,
                Stream::Tls(_) => return Err(io::ErrorKind::Unsupported.into()),
            };
            Ok(read)
        })
    }

    pub(super) fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        again_if_interrupted(|| match self {
            Stream::Tcp(stream) => stream.read_vectored(slices),
            Stream::Unix(stream) => stream.read_vectored(slices),
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// Writes what there is. One slice goes out by a plain `send`, which the kernel serves cheaper than a vector of one.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], scratch: &mut Scratch) -> io::Result<usize> {
        again_if_interrupted(|| match (&mut *self, slices) {
            (Stream::Tcp(stream), [slice]) => Ok(send(stream, slice, SendFlags::NOSIGNAL)?),
            (Stream::Tcp(stream), slices) => stream.write_vectored(slices),
            (Stream::Unix(stream), [slice]) => Ok(send(stream, slice, SendFlags::NOSIGNAL)?),
            (Stream::Unix(stream), slices) => stream.write_vectored(slices),
            (Stream::Tls(stream), slices) => stream.write(slices, scratch),
        })
    }

    /// Writes a line before anything was said, in the clear whatever the kind, as memcached does.
    pub(super) fn refuse(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(line),
            Stream::Unix(stream) => stream.write(line),
            Stream::Tls(stream) => stream.socket().write(line),
        }
    }

    /// First registration: readable only. A new socket is always writable, so asking for that too would wake the worker for
    /// nothing.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    /// Also asks to be told when the socket can take more.
    pub(super) fn watch_writable(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().reregister(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes [`Stream::watch_writable`] back where it costs. TCP tells only the end of a refusal, so it stays
    /// registered; a unix socket tells of every piece that its peer takes, which would wake the worker for each reply.
    pub(super) fn unwatch_writable(&mut self, registry: &Registry, token: Token) -> io::Result<bool> {
        match self {
            Stream::Tcp(_) | Stream::Tls(_) => Ok(false),
            Stream::Unix(stream) => stream.reregister(registry, token, Interest::READABLE).map(|()| true),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
            Stream::Tls(stream) => stream.socket(),
        }
    }
}

/// Calls again when a signal came between.
pub(super) fn again_if_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
