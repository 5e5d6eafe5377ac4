//! UDP (section 8): each datagram is a conversation of its own, and each answer goes back in as many datagrams as it needs.
//!
//! ```text
//!  0            2          4         6          8
//! ┌────────────┬──────────┬─────────┬──────────┬──────────────────────┐
//! │ request id │ sequence │ total   │ reserved │ commands, or a piece │   big-endian; a request is one datagram
//! └────────────┴──────────┴─────────┴──────────┴──────────────────────┘
//! ```
//!
//! Where memcached sends a series for each reply object, each command's answer is one series here, as the document has it (section 19,
//! item 7). Nothing is kept between two datagrams: an answer that the network does not take is lost, as UDP is.
//!
//! Senders can be forged, so what an answer may cost is bounded by `udp_answer_max`, and only loopback is served without it:
//! a `get` of 15 bytes for a value of 1 MiB is an amplification of some 59,000.

use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::listener::{Endpoint, Failure, ListenError, ListenSocket, Listener, TcpOptions};
use super::roster::{Pulse, State};
use super::stream::again_if_interrupted;
use crate::commands::Context;
use crate::commands::server::Server;
use crate::conn::{Conn, Next, Output};
use crate::settings::{BindingProtocol, Settings, UdpAnswerMax};
use crate::stats::Counter;
use crate::sync::Arc;

/// Bytes in front of every datagram.
const HEADER_BYTES: usize = 8;

/// Bytes of a datagram that is sent, as memcached's.
const DATAGRAM_BYTES: usize = 1400;

/// Bytes of an answer in one of them.
const PAYLOAD_BYTES: usize = DATAGRAM_BYTES - HEADER_BYTES;

/// Longest datagram there is.
const RECEIVE_BYTES: usize = 65536;

/// Datagrams read before others have their turn ...
const DATAGRAMS_PER_TURN: usize = 32;

/// ... or so many bytes of them: one datagram may hold some ten thousand commands.
const BYTES_PER_TURN: usize = 32 << 10;

/// The worker's output buffer, grown by a long answer, is cut back to this.
const OUTPUT_KEPT: usize = 64 << 10;

/// What an answer needs beside the value of the largest item: its line and its END.
const AROUND_VALUE_BYTES: usize = 4096;

/// Keys from here on are no clients: UDP sockets, and the waker at the very end.
pub(super) const FIRST_KEY: usize = usize::MAX - 4096;

/// What the sender of a text command is told instead of an answer that is too large.
const TOO_LARGE: &[u8] = b"SERVER_ERROR answer exceeds udp_answer_max\r\n";
const NO_DUMPS: &[u8] = b"CLIENT_ERROR not allowed over UDP\r\n";

/// Binds every address of every element of `-l` for datagrams.
///
/// # Errors
/// [`ListenError`] with memcached's lines; or with one line when an address is not loopback and nobody said how large answers may be.
pub fn listen_udp(options: &TcpOptions<'_>, answer_max: UdpAnswerMax) -> Result<Vec<Listener>, ListenError> {
    let fail = |failure: Failure| failure.at(&options.place("UDP"));
    let mut listeners = Vec::new();
    let mut in_use = None;
    for endpoint in Endpoint::read_each(options) {
        let endpoint = endpoint.map_err(fail)?;
        for address in endpoint.addresses().map_err(fail)? {
            if answer_max == UdpAnswerMax::Unsaid && !address.ip().is_loopback() {
                return Err(ListenError(format!(
                    "UDP on {} needs -o udp_answer_max=<bytes> (or none): forged requests can aim large answers at anybody",
                    address.ip()
                )));
            }
            match bind(address, options.mark) {
                Ok(socket) => {
                    let listener = Listener::from_udp(socket.into(), endpoint.protocol);
                    listeners.push(listener.map_err(|error| fail(Failure::system("setsockopt", &error)))?);
                }
                // As with TCP: one that works is enough, and this machine may have no IPv6.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRINUSE | libc::EAFNOSUPPORT)) => {
                    in_use = Some(error);
                }
                Err(error) => return Err(fail(Failure::system("bind", &error))),
            }
        }
    }
    match in_use {
        Some(error) if listeners.is_empty() => Err(fail(Failure::system("bind", &error))),
        _ => Ok(listeners),
    }
}

/// Asked of the kernel for what is being sent; it gives what it allows.
const SEND_BUFFER_BYTES: usize = 16 << 20;

fn bind(address: SocketAddr, mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if mark != 0
        && let Err(error) = socket.set_mark(mark)
    {
        log::warn!("setsockopt(SO_MARK): {error}");
    }
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    // No SO_REUSEADDR: with UDP it would let a second server take half of the requests.
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// A worker's copy of a UDP socket.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    key: usize,
    protocol: BindingProtocol,
    /// Most bytes of all answers to one datagram, headers included.
    answer_max: usize,
    pulse: Arc<Pulse>,
}

/// How a turn ended.
pub(super) enum After {
    /// Nothing waits.
    Rest,
    /// More may wait.
    Again,
    /// A client asked to stop the server.
    Shutdown { graceful: bool },
}

impl Port {
    /// Copies the listener's socket for the worker of `registry`; `number` tells a worker's ports apart.
    pub(super) fn open(listener: &Listener, number: usize, registry: &Registry, server: &Server) -> io::Result<Port> {
        let ListenSocket::Udp(socket) = &listener.socket else { return Err(ErrorKind::Unsupported.into()) };
        let copy = std::os::fd::AsFd::as_fd(socket).try_clone_to_owned()?;
        let mut socket = UdpSocket::from_std(copy.into());
        let key = FIRST_KEY + number;
        registry.register(&mut socket, Token(key), Interest::READABLE)?;
        let pulse = Arc::new(Pulse::new(server.clock.now(), State::Read));
        let protocol = listener.protocol();
        Ok(Port { socket, key, protocol, answer_max: answer_max(&server.settings), pulse })
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Answers some of the datagrams that wait. `input` holds at least [`RECEIVE_BYTES`].
    pub(super) fn turn(&mut self, input: &mut [u8], output: &mut Output, cx: &mut Context<'_>) -> After {
        let mut bytes = 0;
        for _ in 0..DATAGRAMS_PER_TURN {
            if bytes >= BYTES_PER_TURN {
                break;
            }
            let (length, sender) = match self.socket.recv_from(&mut input[..RECEIVE_BYTES]) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return After::Rest,
                // Among them what an earlier answer met: a closed port, an address that is none.
                Err(error) => {
                    log::debug!("recvfrom: {error}");
                    continue;
                }
            };
            self.pulse.progress(cx.now);
            cx.stats.add(Counter::BytesRead, length as u64);
            bytes += length;
            let Some(request) = Request::read(&input[..length]) else { continue };
            let after = self.answer(&request, sender, output, cx);
            output.clear();
            output.shrink(OUTPUT_KEPT);
            if let Some(graceful) = after {
                return After::Shutdown { graceful };
            }
        }
        After::Again
    }

    /// Runs the commands of one datagram. Says so when the server is to stop, and whether gracefully.
    fn answer(
        &self,
        request: &Request<'_>,
        sender: SocketAddr,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<bool> {
        let mut conn = Conn::speaking(self.protocol);
        let mut left = self.answer_max;
        let mut at = 0;
        loop {
            output.clear();
            let (mut next, whole) = run_one(&mut conn, request.commands, &mut at, left, output, cx);
            if conn.dumps() || conn.watches() {
                // It would never end: memcached lets a watcher take the socket away from its worker (section 19, item 7).
                next = Next::Close;
                request.say_instead(output, NO_DUMPS);
            } else if next == Next::Read && conn.reads_keys() {
                // The line does not end, so it is forgotten.
                output.clear();
            } else if !whole || cost(output.len()) > left {
                request.say_instead(output, TOO_LARGE);
            }
            let cost = cost(output.len());
            if cost <= left {
                left -= cost;
                self.send(request.id, sender, output, cx);
            }
            match next {
                Next::Again => {}
                Next::Shutdown { graceful } => return Some(graceful),
                // The end, or no memory for it now: then it is lost.
                Next::Read | Next::Watch | Next::Later | Next::Close => return None,
            }
        }
    }

    /// Sends `output` as a series of datagrams. What the socket does not take is lost.
    fn send(&self, id: [u8; 2], sender: SocketAddr, output: &mut Output, cx: &Context<'_>) {
        let Ok(total) = u16::try_from(output.len().div_ceil(PAYLOAD_BYTES)) else { return };
        let mut datagram = [0; DATAGRAM_BYTES];
        for sequence in 0..total {
            datagram[..2].copy_from_slice(&id);
            datagram[2..4].copy_from_slice(&sequence.to_be_bytes());
            datagram[4..6].copy_from_slice(&total.to_be_bytes());
            let end = HEADER_BYTES + fill(output, &mut datagram[HEADER_BYTES..]);
            match again_if_interrupted(|| self.socket.send_to(&datagram[..end], sender)) {
                Ok(sent) => cx.stats.add(Counter::BytesWritten, sent as u64),
                Err(error) => {
                    log::debug!("sendto: {error}");
                    return;
                }
            }
        }
    }
}

/// Runs one command. Of one whose answer reaches `left` bytes the rest is run without an answer; then the answer is not whole.
fn run_one(
    conn: &mut Conn,
    commands: &[u8],
    at: &mut usize,
    left: usize,
    output: &mut Output,
    cx: &mut Context<'_>,
) -> (Next, bool) {
    // With no room at all nothing would be run.
    let room = left.max(1);
    let mut progress = conn.process_one(&commands[*at..], output, room, cx);
    *at += progress.consumed;
    let mut whole = true;
    while progress.next == Next::Again && conn.reads_keys() {
        whole = false;
        progress = conn.process_one(&commands[*at..], &mut Output::new(), room, cx);
        *at += progress.consumed;
    }
    (progress.next, whole)
}

/// Moves what fits of `output` to `place`.
fn fill(output: &mut Output, place: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < place.len() && !output.is_empty() {
        let mut rest = &mut place[filled..];
        let Ok((_, moved)) = output.send(rest.len(), |slices| rest.write_vectored(slices)) else { break };
        filled += moved;
    }
    filled
}

/// Bytes of a series that carries so many.
const fn cost(bytes: usize) -> usize {
    bytes + bytes.div_ceil(PAYLOAD_BYTES) * HEADER_BYTES
}

/// The bound for all answers to one datagram.
fn answer_max(settings: &Settings) -> usize {
    match settings.udp_answer_max {
        UdpAnswerMax::Bytes(bytes) => bytes,
        UdpAnswerMax::Unsaid | UdpAnswerMax::Waived => cost(settings.item_size_max_bytes + AROUND_VALUE_BYTES),
    }
}

/// A datagram that was received.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    id: [u8; 2],
    commands: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a datagram. `None` for one that is to be ignored: without commands, or a part of a request in several.
    fn read(datagram: &'a [u8]) -> Option<Request<'a>> {
        let (header, commands) = datagram.split_first_chunk::<HEADER_BYTES>()?;
        let total = u16::from_be_bytes([header[4], header[5]]);
        (total == 1 && !commands.is_empty()).then_some(Request { id: [header[0], header[1]], commands })
    }

    /// Puts `line` in the place of an answer; nothing for binary requests, which know no lines.
    fn say_instead(&self, output: &mut Output, line: &[u8]) {
        output.clear();
        if self.commands.first() != Some(&BINARY_MAGIC) {
            output.bytes_mut().extend_from_slice(line);
        }
    }
}

/// First byte of a binary request.
const BINARY_MAGIC: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_datagram_with_something_in_it() {
        let expected = Request { id: [1, 2], commands: b"version\r\n" };
        assert_eq!(Request::read(b"\x01\x02\0\0\0\x01\0\0version\r\n"), Some(expected));
        // The sequence and the reserved bytes are not looked at.
        assert!(Request::read(b"\x01\x02\xff\xff\0\x01\xff\xffv").is_some());
        for ignored in [
            &b""[..],
            b"\0\x01\0\0\0\x01\0",
            b"\0\x01\0\0\0\x01\0\0",
            b"\0\x01\0\0\0\x02\0\0get a\r\n",
            b"\0\x01\0\0\0\0\0\0get a\r\n",
        ] {
            assert_eq!(Request::read(ignored), None);
        }
    }

    #[test]
    fn an_answer_costs_its_bytes_and_a_header_for_each_datagram() {
        assert_eq!([0, 1, 1392, 1393].map(cost), [0, 9, 1400, 1409]);
    }
}
