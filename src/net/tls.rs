//! A client's socket with TLS on it: what is read is deciphered, what is written is enciphered, and the conversation above
//! knows nothing of it.
//!
//! rustls does the protocol and owns no buffer (its unbuffered connection), so the large ones are the worker's ([`Scratch`]). Between
//! two turns a client keeps only the beginning of a record that has not arrived whole, at most [`RECORD_BYTES_MAX`], and what the
//! socket did not take of one write. Nothing more is enciphered before that has gone, and the client is charged for both, and
//! for its handshake, like for everything it keeps (`budget.rs`). The rustls connection itself comes with the client's first bytes.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use mio::net::TcpStream;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{HandshakeKind, ServerConfig};

use super::stream::again_if_interrupted;
use crate::stats::{Process, ProcessStats};
use crate::sync::StdArc;

/// Most bytes of a record, or of a handshake message in several, that are kept until the rest comes. A record has at most 18 KiB; a
/// longer message (a chain of client certificates) has to come at once.
pub(super) const RECORD_BYTES_MAX: usize = 20 << 10;

/// What a handshake under way costs the process beside its incomplete record, in bytes: counted over a thousand of them.
pub(super) const HANDSHAKE_BYTES: usize = 8 << 10;

/// Bytes read from a socket at once, those kept from before included. Deciphered they are fewer.
const INCOMING_BYTES: usize = 64 << 10;

/// Seconds in which a client has to complete its handshake.
pub(super) const HANDSHAKE_SECONDS: u32 = 30;

/// A TLS connection over TCP. Unix sockets are never enciphered (section 15.3).
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    session: Session,
    /// The beginning of a record.
    partial: Vec<u8>,
    /// Enciphered bytes that the socket did not take; those before `sent` are gone.
    unsent: Vec<u8>,
    sent: usize,
    /// The client has said that it sends nothing more.
    peer_closed: bool,
}

enum Session {
    /// Nothing has been said.
    New(StdArc<ServerConfig>),
    Running(Box<UnbufferedServerConnection>),
    /// Over, by a fault or a goodbye.
    Ended,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Session::New(_) => "New",
            Session::Running(_) => "Running",
            Session::Ended => "Ended",
        })
    }
}

/// What a worker lends for one call. Empty until the first TLS client comes.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that are to be sent.
    filled: usize,
    /// Replies in one piece.
    gathered: Vec<u8>,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TlsRead {
    /// Bytes of the conversation.
    pub(super) plain: usize,
    /// The socket has nothing more for now.
    pub(super) drained: bool,
    /// Nothing more will come.
    pub(super) ended: bool,
}

impl TlsStream {
    pub(super) fn new(socket: TcpStream, config: StdArc<ServerConfig>) -> TlsStream {
        TlsStream {
            socket,
            session: Session::New(config),
            partial: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            peer_closed: false,
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether the client has not yet proved that it speaks TLS.
    pub(super) fn is_handshaking(&self) -> bool {
        match &self.session {
            Session::New(_) => true,
            Session::Running(session) => session.is_handshaking(),
            Session::Ended => false,
        }
    }

    /// Whether bytes wait that the socket did not take.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Bytes of memory to charge the client for.
    pub(super) fn held_bytes(&self) -> usize {
        let handshake = match &self.session {
            Session::Running(session) if session.is_handshaking() => HANDSHAKE_BYTES,
            _ => 0,
        };
        self.partial.capacity() + self.unsent.capacity() + handshake
    }

    /// Reads once and deciphers all that is complete into `plain`, which holds at least twice [`RECORD_BYTES_MAX`]. Answers
    /// of the handshake are sent on the way.
    pub(super) fn read(
        &mut self,
        plain: &mut [u8],
        scratch: &mut Scratch,
        facts: &ProcessStats,
    ) -> io::Result<TlsRead> {
        if self.peer_closed {
            return Ok(TlsRead { ended: true, ..TlsRead::default() });
        }
        scratch.incoming.resize(INCOMING_BYTES, 0);
        let kept = self.partial.len();
        // What is deciphered is no longer than what was read, so it fits.
        let end = plain.len().min(INCOMING_BYTES);
        scratch.incoming[..kept].copy_from_slice(&self.partial);
        let room = &mut scratch.incoming[kept..end];
        let read = again_if_interrupted(|| self.socket.read(room))?;
        if read == 0 {
            if kept > 0 || self.is_handshaking() && !matches!(self.session, Session::New(_)) {
                self.count_fault(facts);
            }
            return Ok(TlsRead { ended: true, ..TlsRead::default() });
        }
        let drained = read < room.len();
        if let Session::New(config) = &self.session {
            let session = UnbufferedServerConnection::new(StdArc::clone(config)).map_err(io::Error::other)?;
            self.session = Session::Running(Box::new(session));
        }
        let result = self.decipher(kept + read, plain, scratch, facts);
        self.send_outgoing(scratch)?;
        // The end that was told is seen by the next call.
        let drained = drained && !self.peer_closed;
        result.map(|plain| TlsRead { plain, drained, ended: false })
    }

    /// Deciphers the first `length` bytes of the scratch's input and keeps the incomplete rest.
    fn decipher(
        &mut self,
        length: usize,
        plain: &mut [u8],
        scratch: &mut Scratch,
        facts: &ProcessStats,
    ) -> io::Result<usize> {
        let Session::Running(session) = &mut self.session else { return Err(ErrorKind::NotConnected.into()) };
        let shook_hands = session.is_handshaking();
        let Scratch { incoming, outgoing, filled, .. } = scratch;
        let mut at = 0;
        let mut deciphered = 0;
        let fault = loop {
            let UnbufferedStatus { mut discard, state } = session.process_tls_records(&mut incoming[at..length]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        discard += record.discard;
                        let end = deciphered + record.payload.len();
                        let Some(place) = plain.get_mut(deciphered..end) else {
                            return Err(io::Error::other("more was deciphered than received"));
                        };
                        place.copy_from_slice(record.payload);
                        deciphered = end;
                    }
                }
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(state) => {
                    if !answer(state, outgoing, filled) {
                        at += discard;
                        break None;
                    }
                }
                Err(fault) => {
                    at += discard;
                    break Some(fault);
                }
            }
            at += discard;
        };
        if let Some(fault) = fault {
            // What rustls tells the client about it. Asked only while there is some, rustls does not look at its input again, which
            // would be another fault.
            while session.wants_write() {
                match session.process_tls_records(&mut []).state {
                    Ok(state @ ConnectionState::EncodeTlsData(_)) => answer(state, outgoing, filled),
                    _ => break,
                };
            }
            log::debug!("TLS: {fault}");
            self.count_fault(facts);
            self.session = Session::Ended;
            self.partial = Vec::new();
            // The bytes that came before the fault were authentic.
            self.peer_closed = true;
            return if deciphered > 0 {
                Ok(deciphered)
            } else {
                Err(io::Error::new(ErrorKind::InvalidData, fault.to_string()))
            };
        }
        if shook_hands && session.handshake_kind() == Some(HandshakeKind::Full) && !session.is_handshaking() {
            facts.add(Process::SslNewSessions, 1);
        }
        let rest = &incoming[at..length];
        if rest.len() > RECORD_BYTES_MAX {
            self.count_fault(facts);
            return Err(ErrorKind::InvalidData.into());
        }
        self.partial = rest.to_vec();
        Ok(deciphered)
    }

    /// Enciphers all of `slices` and sends what the socket takes of it; the rest waits in the stream. `WouldBlock` when an earlier
    /// rest waits still: then nothing was taken.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], scratch: &mut Scratch) -> io::Result<usize> {
        if !self.flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let Session::Running(session) = &mut self.session else { return Err(ErrorKind::NotConnected.into()) };
        let Scratch { outgoing, filled, gathered, .. } = scratch;
        let plain = match slices {
            [slice] => &**slice,
            slices => {
                gathered.clear();
                slices.iter().for_each(|slice| gathered.extend_from_slice(slice));
                gathered
            }
        };
        loop {
            let UnbufferedStatus { discard, state } = session.process_tls_records(&mut self.partial);
            let go_on = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    encipher(outgoing, filled, |place| traffic.encrypt(plain, place))?;
                    false
                }
                Ok(state) => {
                    if !answer(state, outgoing, filled) {
                        return Err(ErrorKind::NotConnected.into());
                    }
                    true
                }
                Err(_) => return Err(ErrorKind::InvalidData.into()),
            };
            self.partial.drain(..discard);
            if !go_on {
                break;
            }
        }
        let length = plain.len();
        self.send_outgoing(scratch)?;
        Ok(length)
    }

    /// Sends what waits. Whether all has gone.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.unsent.len() {
            let rest = &self.unsent[self.sent..];
            match again_if_interrupted(|| self.socket.write(rest)) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        Ok(true)
    }

    /// Tells the client that the connection ends in good order, if the socket takes that now.
    pub(super) fn say_goodbye(&mut self, scratch: &mut Scratch) {
        let Session::Running(session) = &mut self.session else { return };
        if session.is_handshaking() || !self.unsent.is_empty() {
            return;
        }
        let Scratch { outgoing, filled, .. } = scratch;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = session.process_tls_records(&mut self.partial).state {
            let _ = encipher(outgoing, filled, |place| traffic.queue_close_notify(place));
        }
        let _ = self.socket.write(&outgoing[..*filled]);
        *filled = 0;
        self.session = Session::Ended;
    }

    fn send_outgoing(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let bytes = &scratch.outgoing[..scratch.filled];
        scratch.filled = 0;
        let mut sent = 0;
        // Order: behind what waits already.
        while self.unsent.is_empty() && sent < bytes.len() {
            match again_if_interrupted(|| self.socket.write(&bytes[sent..])) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// `ssl_handshake_errors` counts what happens before a client is known, `ssl_proto_errors` what happens later.
    fn count_fault(&self, facts: &ProcessStats) {
        let fact = if self.is_handshaking() { Process::SslHandshakeErrors } else { Process::SslProtoErrors };
        facts.add(fact, 1);
    }
}

/// Does what rustls wants done beside the traffic. False when it wants nothing but more input.
fn answer<Data>(state: ConnectionState<'_, '_, Data>, outgoing: &mut Vec<u8>, filled: &mut usize) -> bool {
    match state {
        ConnectionState::EncodeTlsData(mut data) => loop {
            match data.encode(&mut outgoing[*filled..]) {
                Ok(n) => {
                    *filled += n;
                    return true;
                }
                Err(EncodeError::InsufficientSize(needed)) => outgoing.resize(*filled + needed.required_size, 0),
                Err(EncodeError::AlreadyEncoded) => return true,
            }
        },
        // It is sent at the end of the call.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            true
        }
        // More input, or the end; early data is never offered.
        _ => false,
    }
}

/// Calls `make` with enough room behind what is filled.
fn encipher(
    outgoing: &mut Vec<u8>,
    filled: &mut usize,
    mut make: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<()> {
    loop {
        match make(&mut outgoing[*filled..]) {
            Ok(n) => {
                *filled += n;
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needed)) => outgoing.resize(*filled + needed.required_size, 0),
            Err(EncryptError::EncryptExhausted) => return Err(ErrorKind::ConnectionAborted.into()),
        }
    }
}
