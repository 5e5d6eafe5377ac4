//! What an upgrade in place takes along of the net: listeners and clients, each a descriptor that outlives `execve`, and what
//! has to be known of it.
//!
//! Workers hand their clients back between two turns, so nothing is half done but what a conversation allows to be: the
//! beginning of a request, and replies that the socket did not take. What has come meanwhile waits in the kernel. TLS connections
//! are closed in order, since their keys live in this process, and so are those of watchers and dumps.

use std::collections::HashSet;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use super::certificates::{ClientCert, Tls};
use super::client::HandedParts;
use super::listener::{ListenSocket, Listener};
use crate::conn::Conn;
use crate::conn::handover::{Broken, Reader, Writer, read_protocol, write_protocol};
use crate::sync::Arc;
use crate::sys::{reason, socket};

/// Everything of the net that goes on in the next process.
#[derive(Default)]
pub struct Handover {
    pub(super) listeners: Vec<Listener>,
    pub(super) clients: Vec<HandedClient>,
}

/// A client on its way.
pub(super) struct HandedClient {
    pub(super) socket: OwnedFd,
    /// TCP, not unix.
    pub(super) tcp: bool,
    /// Since its last progress.
    pub(super) idle_seconds: u32,
    pub(super) parts: HandedParts,
}

impl Handover {
    /// Listeners, and nobody yet.
    #[must_use]
    pub fn of(listeners: Vec<Listener>) -> Handover {
        Handover { listeners, clients: Vec::new() }
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How many listeners there are.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Writes it down. It has to live on until the next process begins: it owns the descriptors.
    pub fn write(&self, writer: &mut Writer) {
        writer.number(self.listeners.len() as u64);
        for listener in &self.listeners {
            write_fd(listener.fd(), writer);
            writer.byte(match &listener.socket {
                ListenSocket::Tcp(_) => 0,
                ListenSocket::Unix(_) => 1,
                ListenSocket::Udp(_) => 2,
            });
            write_protocol(listener.protocol(), writer);
            writer.byte(match listener.client_cert() {
                None => 0,
                Some(ClientCert::AsConfigured) => 1,
                Some(ClientCert::NotAsked) => 2,
                Some(ClientCert::Required) => 3,
            });
        }
        writer.number(self.clients.len() as u64);
        for client in &self.clients {
            write_fd(client.socket.as_raw_fd(), writer);
            writer.flag(client.tcp);
            writer.number(u64::from(client.idle_seconds));
            let HandedParts { conn, input, output, again, closing } = &client.parts;
            conn.write(writer);
            writer.bytes(input);
            writer.bytes(output);
            writer.flag(*again);
            writer.flag(*closing);
        }
    }

    /// Lets all descriptors outlive `execve`.
    ///
    /// # Errors
    /// The system's.
    pub fn outlive_exec(&self) -> io::Result<()> {
        for listener in &self.listeners {
            socket::set_outlives_exec(listener.as_fd(), true)?;
        }
        self.clients.iter().try_for_each(|client| socket::set_outlives_exec(client.socket.as_fd(), true))
    }

    /// Takes over what the process before has written down, and the descriptors with it. `tls` is for listeners that had it.
    ///
    /// # Errors
    /// Why that is not possible.
    pub fn read(reader: &mut Reader<'_>, tls: Option<&Arc<Tls>>) -> Result<Handover, String> {
        let mut taken = Descriptors::default();
        let mut handover = Handover::default();
        for _ in 0..number(reader)? {
            handover.listeners.push(read_listener(reader, &mut taken, tls)?);
        }
        for _ in 0..number(reader)? {
            handover.clients.push(read_client(reader, &mut taken)?);
        }
        Ok(handover)
    }
}

impl Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListenSocket::Tcp(socket) => socket.as_fd(),
            ListenSocket::Unix(socket) => socket.as_fd(),
            ListenSocket::Udp(socket) => socket.as_fd(),
        }
    }
}

fn broken(_: Broken) -> String {
    "the handover makes no sense".to_owned()
}

fn number(reader: &mut Reader<'_>) -> Result<u64, String> {
    reader.number().map_err(broken)
}

fn write_fd(fd: RawFd, writer: &mut Writer) {
    writer.number(u64::try_from(fd).unwrap_or(u64::MAX));
}

/// Descriptors that have an owner already.
#[derive(Default)]
struct Descriptors(HashSet<RawFd>);

impl Descriptors {
    fn take(&mut self, reader: &mut Reader<'_>) -> Result<OwnedFd, String> {
        let fd = reader.number().map_err(broken)?;
        // The first three are the standard streams.
        if fd <= 2 || !self.0.insert(fd) {
            return Err(broken(Broken));
        }
        let told = |error: io::Error| format!("descriptor {fd}: {}", reason(&error));
        let owned = socket::adopt(fd).map_err(told)?;
        socket::set_outlives_exec(owned.as_fd(), false).map_err(told)?;
        Ok(owned)
    }
}

fn read_listener(reader: &mut Reader<'_>, taken: &mut Descriptors, tls: Option<&Arc<Tls>>) -> Result<Listener, String> {
    let fd = taken.take(reader)?;
    let kind = reader.byte().map_err(broken)?;
    let protocol = read_protocol(reader).map_err(broken)?;
    let listener = match kind {
        0 => Listener::from_tcp(TcpListener::from(fd), protocol),
        1 => Listener::from_unix(UnixListener::from(fd), protocol),
        2 => Listener::from_udp(UdpSocket::from(fd), protocol),
        _ => return Err(broken(Broken)),
    };
    let listener = listener.map_err(|error| format!("a listener: {}", reason(&error)))?;
    let client = match reader.byte().map_err(broken)? {
        0 => return Ok(listener),
        1 => ClientCert::AsConfigured,
        2 => ClientCert::NotAsked,
        3 => ClientCert::Required,
        _ => return Err(broken(Broken)),
    };
    let tls = tls.ok_or("a listener speaks TLS, which is off")?;
    Ok(listener.with_tls(Arc::clone(tls), client))
}

fn read_client(reader: &mut Reader<'_>, taken: &mut Descriptors) -> Result<HandedClient, String> {
    let socket = taken.take(reader)?;
    let rest = move || -> Result<HandedClient, Broken> {
        // In the order in which they were written.
        Ok(HandedClient {
            tcp: reader.flag()?,
            idle_seconds: reader.number()?,
            parts: HandedParts {
                conn: Conn::read(reader)?,
                input: reader.bytes()?.to_vec(),
                output: reader.bytes()?.to_vec(),
                again: reader.flag()?,
                closing: reader.flag()?,
            },
            socket,
        })
    };
    rest().map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BindingProtocol;
    use std::os::fd::IntoRawFd as _;
    use std::os::unix::net::UnixStream;

    /// Written with descriptors that nobody else owns, as those are that outlive `execve`.
    fn written() -> Vec<u8> {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let handover = Handover {
            listeners: vec![
                Listener::from_tcp(tcp, BindingProtocol::Ascii).unwrap(),
                Listener::from_udp(udp, BindingProtocol::Negotiating).unwrap(),
            ],
            clients: vec![HandedClient {
                socket: one.into(),
                tcp: false,
                idle_seconds: 12,
                parts: HandedParts {
                    conn: Conn::new(),
                    input: b"get".to_vec(),
                    output: b"END\r\n".to_vec(),
                    again: true,
                    closing: false,
                },
            }],
        };
        let mut writer = Writer::default();
        handover.write(&mut writer);
        for listener in handover.listeners {
            match listener.socket {
                ListenSocket::Tcp(socket) => drop(OwnedFd::from(socket).into_raw_fd()),
                ListenSocket::Unix(socket) => drop(OwnedFd::from(socket).into_raw_fd()),
                ListenSocket::Udp(socket) => drop(OwnedFd::from(socket).into_raw_fd()),
            }
        }
        for client in handover.clients {
            let _left_open = client.socket.into_raw_fd();
        }
        writer.into_bytes()
    }

    #[test]
    fn listeners_and_clients_are_read_as_they_were_written() {
        let bytes = written();
        let mut reader = Reader::new(&bytes);
        let handover = Handover::read(&mut reader, None).unwrap();
        assert_eq!(reader.end(), Ok(()));
        assert_eq!((handover.listeners(), handover.clients()), (2, 1));
        let protocols: Vec<_> = handover.listeners.iter().map(Listener::protocol).collect();
        assert_eq!(protocols, [BindingProtocol::Ascii, BindingProtocol::Negotiating]);
        let client = &handover.clients[0];
        let HandedParts { input, output, again, closing, .. } = &client.parts;
        assert_eq!((&input[..], &output[..]), (&b"get"[..], &b"END\r\n"[..]));
        assert!(*again && !*closing && !client.tcp && client.idle_seconds == 12);
        handover.outlive_exec().unwrap();
    }

    #[test]
    fn a_handover_that_is_cut_off_or_names_a_descriptor_twice_is_refused() {
        let bytes = written();
        // None of these is far enough to name a descriptor, which would be closed with the attempt.
        for len in 0..16 {
            assert!(Handover::read(&mut Reader::new(&bytes[..len]), None).is_err(), "{len}");
        }
        let mut twice = Writer::default();
        twice.number(1);
        twice.number(2);
        assert!(Handover::read(&mut Reader::new(&twice.into_bytes()), None).is_err(), "a standard stream");
        let mut absent = Writer::default();
        absent.number(1);
        absent.number(1 << 30);
        let refused = Handover::read(&mut Reader::new(&absent.into_bytes()), None).err().unwrap();
        assert_eq!(refused, "descriptor 1073741824: Bad file descriptor");
    }
}
