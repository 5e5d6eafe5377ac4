//! What goes on in another process of the net: listeners and clients, each a descriptor, and what has to be known of it. How the
//! descriptors get there is the caller's affair: they outlive `execve`, or travel in a [`parcel`](super::parcel); they have to arrive in
//! the order of [`Handover::descriptors`].
//!
//! Workers hand their clients back between two turns, so nothing is half done but what a conversation allows to be: the
//! beginning of a request, and replies that the socket did not take. What has come meanwhile waits in the kernel. TLS connections
//! are closed in order, since their keys live in this process, and so are those of watchers and dumps.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use super::certificates::{ClientCert, Tls};
use super::client::HandedParts;
use super::listener::{ListenSocket, Listener};
use crate::conn::Conn;
use crate::conn::handover::{Broken, Reader, Writer, read_protocol, write_protocol};
use crate::sync::Arc;
use crate::sys::reason;

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

    /// Closes all listeners.
    #[must_use]
    pub fn without_listeners(self) -> Handover {
        self.with(Vec::new())
    }

    /// With these listeners; those that it had are closed.
    #[must_use]
    pub fn with(self, listeners: Vec<Listener>) -> Handover {
        Handover { listeners, ..self }
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

    /// The descriptors of all, which it owns: first those of the listeners.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(Listener::as_fd);
        listeners.chain(self.clients.iter().map(|client| client.socket.as_fd())).collect()
    }

    /// Writes down what there is to know beside the descriptors.
    pub fn write(&self, writer: &mut Writer) {
        writer.number(self.listeners.len() as u64);
        for listener in &self.listeners {
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

    /// Takes over what the process before has written down, with its descriptors, `None` for one that did not arrive. A client without
    /// its descriptor is left out and counted. `tls` is for listeners that had it.
    ///
    /// # Errors
    /// Why that is not possible.
    pub fn read(
        mut reader: Reader<'_>,
        descriptors: impl IntoIterator<Item = Option<OwnedFd>>,
        tls: Option<&Arc<Tls>>,
    ) -> Result<(Handover, usize), String> {
        let mut descriptors = descriptors.into_iter();
        let (mut handover, mut lost) = (Handover::default(), 0);
        for _ in 0..number(&mut reader)? {
            let socket = descriptors.next().flatten().ok_or("a listener is missing")?;
            handover.listeners.push(read_listener(&mut reader, socket, tls)?);
        }
        for _ in 0..number(&mut reader)? {
            let (tcp, idle_seconds, parts) = read_client(&mut reader).map_err(broken)?;
            match descriptors.next().flatten() {
                Some(socket) => handover.clients.push(HandedClient { socket, tcp, idle_seconds, parts }),
                None => lost += 1,
            }
        }
        reader.end().map_err(broken)?;
        Ok((handover, lost))
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

fn read_listener(reader: &mut Reader<'_>, socket: OwnedFd, tls: Option<&Arc<Tls>>) -> Result<Listener, String> {
    let kind = reader.byte().map_err(broken)?;
    let protocol = read_protocol(reader).map_err(broken)?;
    let listener = match kind {
        0 => Listener::from_tcp(TcpListener::from(socket), protocol),
        1 => Listener::from_unix(UnixListener::from(socket), protocol),
        2 => Listener::from_udp(UdpSocket::from(socket), protocol),
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

/// In the order in which it was written.
fn read_client(reader: &mut Reader<'_>) -> Result<(bool, u32, HandedParts), Broken> {
    let (tcp, idle_seconds) = (reader.flag()?, reader.number()?);
    let parts = HandedParts {
        conn: Conn::read(reader)?,
        input: reader.bytes()?.to_vec(),
        output: reader.bytes()?.to_vec(),
        again: reader.flag()?,
        closing: reader.flag()?,
    };
    Ok((tcp, idle_seconds, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BindingProtocol;
    use std::os::unix::net::UnixStream;

    fn handover() -> Handover {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = |input: &[u8]| HandedClient {
            socket: UnixStream::pair().unwrap().0.into(),
            tcp: false,
            idle_seconds: 12,
            parts: HandedParts {
                conn: Conn::new(),
                input: input.to_vec(),
                output: b"END\r\n".to_vec(),
                again: true,
                closing: false,
            },
        };
        Handover {
            listeners: vec![
                Listener::from_tcp(tcp, BindingProtocol::Ascii).unwrap(),
                Listener::from_udp(udp, BindingProtocol::Negotiating).unwrap(),
            ],
            clients: vec![client(b"get"), client(b"mg")],
        }
    }

    fn written(handover: &Handover) -> (Vec<u8>, Vec<Option<OwnedFd>>) {
        let mut writer = Writer::default();
        handover.write(&mut writer);
        let descriptors = handover.descriptors().iter().map(|fd| fd.try_clone_to_owned().ok()).collect();
        (writer.into_bytes(), descriptors)
    }

    #[test]
    fn listeners_and_clients_are_read_as_they_were_written() {
        let (bytes, descriptors) = written(&handover());
        let (handover, lost) = Handover::read(Reader::new(&bytes), descriptors, None).unwrap();
        assert_eq!((handover.listeners(), handover.clients(), lost), (2, 2, 0));
        let protocols: Vec<_> = handover.listeners.iter().map(Listener::protocol).collect();
        assert_eq!(protocols, [BindingProtocol::Ascii, BindingProtocol::Negotiating]);
        let client = &handover.clients[0];
        let HandedParts { input, output, again, closing, .. } = &client.parts;
        assert_eq!((&input[..], &output[..]), (&b"get"[..], &b"END\r\n"[..]));
        assert!(*again && !*closing && !client.tcp && client.idle_seconds == 12);
    }

    #[test]
    fn a_client_whose_descriptor_did_not_arrive_is_left_out_and_the_others_keep_theirs() {
        let (bytes, mut descriptors) = written(&handover());
        descriptors[2] = None;
        let (handover, lost) = Handover::read(Reader::new(&bytes), descriptors, None).unwrap();
        assert_eq!((handover.clients(), lost), (1, 1));
        assert_eq!(handover.clients[0].parts.input, b"mg");
        // Fewer than there are clients, as when a limit was met.
        let (bytes, descriptors) = written(&handover);
        let (handover, lost) = Handover::read(Reader::new(&bytes), descriptors.into_iter().take(2), None).unwrap();
        assert_eq!((handover.listeners(), handover.clients(), lost), (2, 0, 1));
    }

    #[test]
    fn a_handover_that_is_cut_off_or_lacks_a_listener_is_refused() {
        let (bytes, descriptors) = written(&handover());
        for len in 0..bytes.len() {
            let copies = descriptors.iter().map(|fd| fd.as_ref().and_then(|fd| fd.try_clone().ok()));
            assert!(Handover::read(Reader::new(&bytes[..len]), copies, None).is_err(), "{len}");
        }
        let refused = Handover::read(Reader::new(&bytes), descriptors.into_iter().skip(3), None).err();
        assert!(refused.is_some_and(|why| why.contains("listener")));
        let refused = Handover::read(Reader::new(&bytes), [], None).err();
        assert_eq!(refused.as_deref(), Some("a listener is missing"));
    }
}
