//! A client's socket, whatever its family: non-blocking bytes in, bytes out. TLS would be one more kind here, so nothing
//! above asks which kind it is, except for what memcached treats differently (unix sockets are exempt from
//! `idle_timeout`) and for the event interest below.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn fd(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Stream::Tcp(_))
    }

    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        again_if_interrupted(|| match self {
            Stream::Tcp(stream) => stream.read(bytes),
            Stream::Unix(stream) => stream.read(bytes),
        })
    }

    pub(super) fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        again_if_interrupted(|| match self {
            Stream::Tcp(stream) => stream.read_vectored(slices),
            Stream::Unix(stream) => stream.read_vectored(slices),
        })
    }

    /// Writes what there is. One slice goes out by a plain `send`, which the kernel serves cheaper than a vector of one.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        again_if_interrupted(|| match (&mut *self, slices) {
            (Stream::Tcp(stream), [slice]) => stream.write(slice),
            (Stream::Tcp(stream), slices) => stream.write_vectored(slices),
            (Stream::Unix(stream), [slice]) => stream.write(slice),
            (Stream::Unix(stream), slices) => stream.write_vectored(slices),
        })
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
            Stream::Tcp(_) => Ok(false),
            Stream::Unix(stream) => stream.reregister(registry, token, Interest::READABLE).map(|()| true),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}

fn again_if_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
