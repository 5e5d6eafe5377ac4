//! Listeners that were open before this process began: a service manager made them (socket activation) and handed them over
//! as descriptors. What they are bound to is asked of the sockets themselves.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use socket2::{Domain, Socket, Type};

use super::certificates::{ClientCert, Tls};
use super::listener::{ListenError, Listener};
use crate::settings::BindingProtocol;
use crate::sync::Arc;
use crate::sys::reason;

/// Takes over listening sockets, TCP (with `tls` where that is on) or unix. Their backlog is whoever made them's affair.
///
/// # Errors
/// When one is something else: a datagram socket, a connection, no socket at all.
pub fn listen_inherited(
    sockets: impl IntoIterator<Item = OwnedFd>,
    protocol: BindingProtocol,
    tls: Option<&Arc<Tls>>,
) -> Result<Vec<Listener>, ListenError> {
    let take = |(number, socket): (usize, OwnedFd)| {
        take(socket, protocol, tls).map_err(|why| ListenError::inherited(number, &why))
    };
    sockets.into_iter().enumerate().map(take).collect()
}

fn take(socket: OwnedFd, protocol: BindingProtocol, tls: Option<&Arc<Tls>>) -> Result<Listener, String> {
    let socket = Socket::from(socket);
    let say = |error: std::io::Error| reason(&error);
    if socket.r#type().map_err(say)? != Type::STREAM || !socket.is_listener().map_err(say)? {
        return Err("it is not a listening stream socket".to_owned());
    }
    let family = socket.domain().map_err(say)?;
    if family == Domain::UNIX {
        Listener::from_unix(UnixListener::from(socket), protocol).map_err(say)
    } else if family == Domain::IPV4 || family == Domain::IPV6 {
        let listener = Listener::from_tcp(TcpListener::from(socket), protocol).map_err(say)?;
        Ok(match tls {
            Some(tls) => listener.with_tls(Arc::clone(tls), ClientCert::AsConfigured),
            None => listener,
        })
    } else {
        Err("it is neither TCP nor a unix socket".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    fn inherit(sockets: Vec<OwnedFd>) -> Result<Vec<Address>, String> {
        let listeners = listen_inherited(sockets, BindingProtocol::Negotiating, None);
        let listeners = listeners.map_err(|error| error.to_string())?;
        Ok(listeners.iter().map(|listener| listener.address().clone()).collect())
    }

    #[test]
    fn listening_sockets_are_taken_over_as_what_they_are() {
        let folder = std::env::temp_dir().join(format!("memhold-inherited-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let taken = inherit(vec![tcp.into(), unix.into()]);
        assert_eq!(taken, Ok(vec![Address::Tcp(address), Address::Unix(path)]));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn anything_else_is_refused_by_its_number() {
        let tcp = || OwnedFd::from(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let expected = "failed to listen on inherited socket 1: it is not a listening stream socket";
        assert_eq!(inherit(vec![tcp(), udp.into()]), Err(expected.to_owned()));
        let file = std::fs::File::open("/dev/null").unwrap();
        let expected = "failed to listen on inherited socket 0: Socket operation on non-socket";
        assert_eq!(inherit(vec![file.into()]), Err(expected.to_owned()));
    }
}
