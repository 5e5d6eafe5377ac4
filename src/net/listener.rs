//! Where clients knock: reads the elements of `-l`, resolves and binds them, or makes the one unix socket of `-s`
//! (sections 15.1 and 15.3 of the reference).
//!
//! A [`Listener`] is bound, listening and non-blocking; whoever accepts from it sets nothing more, because Linux
//! hands `TCP_NODELAY` and `SO_KEEPALIVE` of the listener down to what is accepted.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::certificates::{ClientCert, Tls};
use super::roster::spell;
use super::stream::Stream;
use super::tls::TlsStream;
use crate::settings::BindingProtocol;
use crate::sync::Arc;
use crate::sys::reason;

/// What `-p`, `-l`, `-b`, `-B` and `sock_cookie_id` say about TCP.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    /// `-l`: elements joined by commas or semicolons; `None` listens on every address.
    pub interfaces: Option<&'a str>,
    /// `-p`: the port of elements that name none; 0 and -1 are any free port.
    pub port: i32,
    /// `-b`: length of the queue of connections not yet accepted.
    pub backlog: i32,
    /// `-B`: what is spoken where an element has no `proto[...]`.
    pub protocol: BindingProtocol,
    /// What may be spoken at all, because clients have to authenticate themselves in it.
    pub only: Option<BindingProtocol>,
    /// `SO_MARK`, 0 for none.
    pub mark: u32,
    /// `-Z`.
    pub tls: Option<&'a Arc<Tls>>,
}

impl TcpOptions<'_> {
    /// The option to blame when there is no listener, in memcached's words.
    pub(super) fn place(&self, transport: &str) -> String {
        match self.interfaces {
            None => format!("{transport} port {}", self.port),
            Some(list) => format!("one of interface(s) {list}"),
        }
    }
}

/// A socket that waits for clients.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: ListenSocket,
    protocol: BindingProtocol,
    address: Address,
    tls: Option<(Arc<Tls>, ClientCert)>,
}

/// The socket itself, by family.
#[derive(Debug)]
pub(super) enum ListenSocket {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
    /// Never accepts; the workers read from copies of it.
    Udp(mio::net::UdpSocket),
}

/// What a listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, with the port it really got.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
    /// UDP, with the port it really got.
    Udp(SocketAddr),
}

impl Listener {
    /// What its connections speak.
    #[must_use]
    pub fn protocol(&self) -> BindingProtocol {
        self.protocol
    }

    /// What it is bound to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Speaks TLS with clients from now on, and asks them for a certificate as `client` says. Only for TCP.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>, client: ClientCert) -> Listener {
        Listener { tls: Some((tls, client)), ..self }
    }

    /// The same for another poll.
    pub(super) fn unregistered(self) -> Listener {
        let socket = match self.socket {
            ListenSocket::Tcp(socket) => ListenSocket::Tcp(OwnedFd::from(socket).into()),
            ListenSocket::Unix(socket) => ListenSocket::Unix(OwnedFd::from(socket).into()),
            ListenSocket::Udp(socket) => ListenSocket::Udp(OwnedFd::from(socket).into()),
        };
        Listener { socket, ..self }
    }

    /// Which certificate it asks clients for, when it speaks TLS.
    pub(super) fn client_cert(&self) -> Option<ClientCert> {
        self.tls.as_ref().map(|(_, client)| *client)
    }

    /// Puts TLS on an accepted socket where that is spoken.
    pub(super) fn encipher(&self, stream: mio::net::TcpStream) -> Stream {
        match &self.tls {
            None => Stream::Tcp(stream),
            Some((tls, client)) => Stream::Tls(Box::new(TlsStream::new(stream, tls.config(*client)))),
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        match &self.socket {
            ListenSocket::Tcp(socket) => socket.as_raw_fd(),
            ListenSocket::Unix(socket) => socket.as_raw_fd(),
            ListenSocket::Udp(socket) => socket.as_raw_fd(),
        }
    }

    /// As `stats conns` spells it.
    pub(super) fn spelled(&self) -> String {
        match &self.address {
            Address::Tcp(address) => spell(Some(SockAddr::from(*address))),
            Address::Unix(path) => spell(SockAddr::unix(path).ok()),
            Address::Udp(address) => spell(Some(SockAddr::from(*address))).replacen("tcp", "udp", 1),
        }
    }

    /// Takes over a TCP socket that listens already (one that a service manager or a former process held).
    ///
    /// # Errors
    /// When the socket is not one, or its options cannot be set.
    pub fn from_tcp(socket: TcpListener, protocol: BindingProtocol) -> io::Result<Listener> {
        let address = Address::Tcp(socket.local_addr()?);
        socket.set_nonblocking(true)?;
        let socket = Socket::from(socket);
        prepare_for_clients(&socket)?;
        let socket = ListenSocket::Tcp(mio::net::TcpListener::from_std(socket.into()));
        Ok(Listener { socket, protocol, address, tls: None })
    }

    /// A bound UDP socket.
    pub(super) fn from_udp(socket: std::net::UdpSocket, protocol: BindingProtocol) -> io::Result<Listener> {
        let address = Address::Udp(socket.local_addr()?);
        socket.set_nonblocking(true)?;
        let socket = ListenSocket::Udp(mio::net::UdpSocket::from_std(socket));
        Ok(Listener { socket, protocol, address, tls: None })
    }

    /// Takes over a unix socket that listens already.
    ///
    /// # Errors
    /// When the socket is not one.
    pub fn from_unix(socket: UnixListener, protocol: BindingProtocol) -> io::Result<Listener> {
        let path = socket.local_addr()?.as_pathname().map(Path::to_path_buf).unwrap_or_default();
        socket.set_nonblocking(true)?;
        let socket = ListenSocket::Unix(mio::net::UnixListener::from_std(socket));
        Ok(Listener { socket, protocol, address: Address::Unix(path), tls: None })
    }
}

/// Binds every address of every element of `-l`.
///
/// # Errors
/// [`ListenError`] with memcached's lines; nothing stays bound then.
pub fn listen_tcp(options: &TcpOptions<'_>) -> Result<Vec<Listener>, ListenError> {
    bind_all(options).map_err(|failure| failure.at(&options.place("TCP")))
}

/// Makes the unix socket of `-s` with the permission bits of `-a`. A socket left behind at `path` is removed first, any
/// other kind of file is kept and draws an error.
///
/// # Errors
/// [`ListenError`] with memcached's lines.
pub fn listen_unix(path: &Path, mask: u32, backlog: i32, protocol: BindingProtocol) -> Result<Listener, ListenError> {
    bind_unix(path, mask, backlog, protocol).map_err(|failure| failure.at(&format!("UNIX socket: {}", path.display())))
}

/// The lines that `MEMCACHED_PORT_FILENAME` is to hold: one for each address of TCP and UDP, with the port it got (section 9).
#[must_use]
pub fn port_lines(listeners: &[Listener]) -> String {
    let mut lines = String::new();
    for listener in listeners {
        let (transport, address) = match &listener.address {
            Address::Tcp(address) => ("TCP", address),
            Address::Udp(address) => ("UDP", address),
            Address::Unix(_) => continue,
        };
        let family = if address.is_ipv4() { "INET" } else { "INET6" };
        lines.push_str(&format!("{transport} {family}: {}\n", address.port()));
    }
    lines
}

/// Why there is no listener. `Display` gives the lines that memcached writes to standard error, without the last line
/// end; the exit code is 71.
#[derive(Debug, PartialEq, Eq)]
pub struct ListenError(pub(super) String);

impl ListenError {
    pub(super) fn inherited(number: usize, why: &str) -> ListenError {
        ListenError(format!("failed to listen on inherited socket {number}: {why}"))
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ListenError {}

/// What went wrong, before it is known which option is to blame.
pub(super) struct Failure {
    /// The line that tells the step, if there is one.
    detail: Option<String>,
    reason: String,
}

impl Failure {
    fn spelled(detail: String) -> Failure {
        Failure { detail: Some(detail), reason: "Invalid argument".to_owned() }
    }

    pub(super) fn system(step: &str, error: &io::Error) -> Failure {
        let reason = reason(error);
        Failure { detail: Some(format!("{step}(): {reason}")), reason }
    }

    pub(super) fn at(self, place: &str) -> ListenError {
        let last = format!("failed to listen on {place}: {}", self.reason);
        ListenError(match self.detail {
            Some(detail) => format!("{detail}\n{last}"),
            None => last,
        })
    }
}

/// One element of `-l`, read but not yet resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint<'a> {
    /// Name or address; `None` is every address.
    host: Option<&'a str>,
    port: u16,
    pub(super) protocol: BindingProtocol,
    /// `None` for a listener in the clear.
    tls: Option<ClientCert>,
}

impl<'a> Endpoint<'a> {
    fn everywhere(options: &TcpOptions<'_>) -> Endpoint<'a> {
        let tls = options.tls.map(|_| ClientCert::AsConfigured);
        Endpoint { host: None, port: default_port(options), protocol: options.protocol, tls }
    }

    /// Reads `[notls:|btls:|mtls:][proto[<p>]:][tag[<t>]:]<address>[:<port>]` (section 15.1).
    fn read(element: &'a str, options: &TcpOptions<'_>) -> Result<Endpoint<'a>, Failure> {
        let (tls, rest) = read_tls(element, options)?;
        let (protocol, rest) = read_protocol(rest)?;
        let protocol = allowed(protocol.unwrap_or(options.protocol), options.only)?;
        let (host, port) = read_address(skip_tag(rest)?)?;
        Ok(Endpoint {
            host: (host != "*").then_some(host),
            port: port.unwrap_or_else(|| default_port(options)),
            protocol,
            tls,
        })
    }

    /// Reads the elements of `-l` one after the other; one that stands for every address where there is no list.
    pub(super) fn read_each(options: &TcpOptions<'a>) -> impl Iterator<Item = Result<Endpoint<'a>, Failure>> {
        let everywhere = options.interfaces.is_none().then(|| Ok(Endpoint::everywhere(options)));
        let elements = options.interfaces.unwrap_or_default().split([',', ';']).map(str::trim);
        let elements = elements.filter(|element| !element.is_empty());
        everywhere.into_iter().chain(elements.map(|element| Endpoint::read(element, options)))
    }

    /// Every address it stands for.
    ///
    /// # Errors
    /// As memcached tells of a name that is none.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        self.resolve().map_err(|error| {
            let text = reason(&error);
            let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
            Failure { detail: Some(format!("getaddrinfo(): {text}")), reason: "Invalid argument".to_owned() }
        })
    }

    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self.host {
            None => {
                let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
                Ok(everywhere.map(|address| SocketAddr::new(address, self.port)).into())
            }
            Some(host) => Ok((host, self.port).to_socket_addrs()?.collect()),
        }
    }
}

/// The port of elements that name none. -1 and 0 are any free one; `Settings` refuses what does not fit.
fn default_port(options: &TcpOptions<'_>) -> u16 {
    u16::try_from(options.port).unwrap_or(0)
}

/// Takes `notls:`, `btls:` or `mtls:` off the front: what kind of TLS is spoken, if any.
fn read_tls<'a>(element: &'a str, options: &TcpOptions<'_>) -> Result<(Option<ClientCert>, &'a str), Failure> {
    let prefixes = [("notls:", None), ("btls:", Some(ClientCert::NotAsked)), ("mtls:", Some(ClientCert::Required))];
    let found = prefixes.iter().find_map(|(prefix, kind)| Some((*kind, element.strip_prefix(prefix)?)));
    match (found, options.tls) {
        (None, tls) => Ok((tls.map(|_| ClientCert::AsConfigured), element)),
        (Some(_), None) => Err(Failure::spelled("'notls' option is valid only when SSL is enabled".to_owned())),
        (Some((Some(ClientCert::Required), _)), Some(tls)) if !tls.can_require() => {
            Err(Failure::spelled("'mtls' option needs -o ssl_ca_cert".to_owned()))
        }
        (Some(found), Some(_)) => Ok(found),
    }
}

/// Takes `proto[<p>]:` off the front. A word that is no protocol changes nothing, as in memcached.
fn read_protocol(element: &str) -> Result<(Option<BindingProtocol>, &str), Failure> {
    let Some(spec) = element.strip_prefix("proto[") else {
        return Ok((None, element));
    };
    let Some((word, rest)) = spec.split_once(']') else {
        return Err(Failure::spelled(format!("Invalid protocol spec: \"[{spec}\"")));
    };
    let protocol = if word.starts_with("ascii") {
        Some(BindingProtocol::Ascii)
    } else if word.starts_with("binary") {
        Some(BindingProtocol::Binary)
    } else if word.starts_with("negotiating") {
        Some(BindingProtocol::Negotiating)
    } else if word.starts_with("proxy") {
        return Err(Failure::spelled(format!("Server not built with proxy: {word}")));
    } else {
        None
    };
    Ok((protocol, rest.strip_prefix(':').unwrap_or(rest)))
}

/// With authentication, a listener that would negotiate speaks the one protocol that has it, and none may speak the other one
/// (section 7.2).
fn allowed(protocol: BindingProtocol, only: Option<BindingProtocol>) -> Result<BindingProtocol, Failure> {
    let Some(only) = only.filter(|&only| only != protocol) else { return Ok(protocol) };
    if protocol != BindingProtocol::Negotiating {
        let text = match only {
            BindingProtocol::Binary => "You cannot allow the ASCII protocol while using SASL.",
            _ => "You cannot allow the BINARY protocol while using ascii authentication tokens.",
        };
        return Err(Failure::spelled(format!("ERROR: {text}")));
    }
    log::warn!("a listener that would negotiate speaks {} only, because of authentication", only.name());
    Ok(only)
}

/// Takes `tag[<t>]:` or `tag_<t>_:` off the front. Tags name listeners to memcached's proxy and mean nothing here.
fn skip_tag(element: &str) -> Result<&str, Failure> {
    let (spec, end) = if let Some(spec) = element.strip_prefix("tag[") {
        (spec, ']')
    } else if let Some(spec) = element.strip_prefix("tag_") {
        (spec, '_')
    } else {
        return Ok(element);
    };
    let Some((tag, rest)) = spec.split_once(end) else {
        return Err(Failure::spelled(format!("Invalid tag in socket config: \"{element}\"")));
    };
    if !(1..=8).contains(&tag.len()) {
        return Err(Failure::spelled(format!("Listener tags must be between 1 and 8 characters: \"{tag}\"")));
    }
    Ok(rest.strip_prefix(':').unwrap_or(rest))
}

/// Splits `<address>[:<port>]`: a bare IPv6 address has several colons and then no port.
fn read_address(text: &str) -> Result<(&str, Option<u16>), Failure> {
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let Some((host, rest)) = inside.split_once(']') else {
            return Err(Failure::spelled(format!("Invalid IPV6 address: \"{text}\"")));
        };
        (host, rest.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        }
    };
    match port {
        None => Ok((host, None)),
        // Any free port: what -p calls -1.
        Some("-1") => Ok((host, Some(0))),
        Some(digits) => match digits.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(Failure::spelled(format!("Invalid port number: \"{digits}\""))),
        },
    }
}

fn bind_all(options: &TcpOptions<'_>) -> Result<Vec<Listener>, Failure> {
    let mut listeners = Vec::new();
    for endpoint in Endpoint::read_each(options) {
        listeners.append(&mut bind_endpoint(&endpoint?, options)?);
    }
    if listeners.is_empty() {
        return Err(Failure { detail: None, reason: "Invalid argument".to_owned() });
    }
    Ok(listeners)
}

/// Binds every address of one element. Those in use, or of a family that this machine does not have, are passed over as
/// long as one works; any other error is final (section 15.1).
fn bind_endpoint(endpoint: &Endpoint<'_>, options: &TcpOptions<'_>) -> Result<Vec<Listener>, Failure> {
    let addresses = endpoint.addresses()?;
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut passed_over = None;
    for address in addresses {
        let socket = match tcp_socket(address, options.mark) {
            Ok(socket) => socket,
            Err(error) => {
                passed_over = Some(error);
                continue;
            }
        };
        match socket.bind(&SockAddr::from(address)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                passed_over = Some(error);
                continue;
            }
            Err(error) => return Err(Failure::system("bind", &error)),
        }
        socket.listen(options.backlog).map_err(|error| Failure::system("listen", &error))?;
        let listener = Listener::from_tcp(socket.into(), endpoint.protocol);
        let listener = listener.map_err(|error| Failure::system("setsockopt", &error))?;
        listeners.push(match (endpoint.tls, options.tls) {
            (Some(client), Some(tls)) => listener.with_tls(Arc::clone(tls), client),
            _ => listener,
        });
    }
    match passed_over {
        Some(error) if listeners.is_empty() => Err(Failure { detail: None, reason: reason(&error) }),
        _ => Ok(listeners),
    }
}

fn tcp_socket(address: SocketAddr, mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and :: can be bound side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if mark != 0
        && let Err(error) = socket.set_mark(mark)
    {
        log::warn!("setsockopt(SO_MARK): {error}");
    }
    Ok(socket)
}

/// Options that accepted sockets inherit.
fn prepare_for_clients(socket: &Socket) -> io::Result<()> {
    socket.set_keepalive(true)?;
    socket.set_tcp_nodelay(true)
}

fn bind_unix(path: &Path, mask: u32, backlog: i32, protocol: BindingProtocol) -> Result<Listener, Failure> {
    if path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket()) {
        // When this fails, bind tells why.
        let _ = std::fs::remove_file(path);
    }
    let address = SockAddr::unix(path).map_err(|error| Failure::system("bind", &error))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| Failure::system("socket", &error))?;
    socket.bind(&address).map_err(|error| Failure::system("bind", &error))?;
    // Nobody can connect before `listen`, so the time between bind and this leaves no gap, and the process' umask,
    // which all threads share, stays as it is.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mask & 0o777))
        .map_err(|error| Failure::system("chmod", &error))?;
    socket.listen(backlog).map_err(|error| Failure::system("listen", &error))?;
    Listener::from_unix(socket.into(), protocol).map_err(|error| Failure::system("listen", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(interfaces: Option<&str>) -> TcpOptions<'_> {
        TcpOptions {
            interfaces,
            port: 11211,
            backlog: 16,
            protocol: BindingProtocol::Negotiating,
            only: None,
            mark: 0,
            tls: None,
        }
    }

    fn read(element: &str) -> Result<(Option<&str>, u16, BindingProtocol), String> {
        match Endpoint::read(element, &options(None)) {
            Ok(endpoint) => Ok((endpoint.host, endpoint.port, endpoint.protocol)),
            Err(failure) => Err(failure.detail.unwrap_or_default()),
        }
    }

    #[test]
    fn an_element_is_an_address_with_or_without_a_port() {
        use BindingProtocol::Negotiating;
        assert_eq!(read("127.0.0.1"), Ok((Some("127.0.0.1"), 11211, Negotiating)));
        assert_eq!(read("127.0.0.1:7"), Ok((Some("127.0.0.1"), 7, Negotiating)));
        assert_eq!(read("name:7"), Ok((Some("name"), 7, Negotiating)));
        assert_eq!(read("::1"), Ok((Some("::1"), 11211, Negotiating)));
        assert_eq!(read("[::1]"), Ok((Some("::1"), 11211, Negotiating)));
        assert_eq!(read("[::1]:7"), Ok((Some("::1"), 7, Negotiating)));
        assert_eq!(read("*"), Ok((None, 11211, Negotiating)));
        assert_eq!(read("*:7"), Ok((None, 7, Negotiating)));
        assert_eq!(read("127.0.0.1:-1"), Ok((Some("127.0.0.1"), 0, Negotiating)));
    }

    #[test]
    fn prefixes_choose_the_protocol_and_a_tag_is_passed_over() {
        use BindingProtocol::{Ascii, Binary, Negotiating};
        assert_eq!(read("proto[ascii]:127.0.0.1:7"), Ok((Some("127.0.0.1"), 7, Ascii)));
        assert_eq!(read("proto[binary]:[::1]:7"), Ok((Some("::1"), 7, Binary)));
        assert_eq!(read("proto[what]:*"), Ok((None, 11211, Negotiating)));
        assert_eq!(read("tag[b]:127.0.0.1"), Ok((Some("127.0.0.1"), 11211, Negotiating)));
        assert_eq!(read("tag_b_:127.0.0.1:7"), Ok((Some("127.0.0.1"), 7, Negotiating)));
        assert_eq!(read("proto[ascii]:tag[b]:[::1]:7"), Ok((Some("::1"), 7, Ascii)));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (element, text) in [
            ("127.0.0.1:x", "Invalid port number: \"x\""),
            ("127.0.0.1:65536", "Invalid port number: \"65536\""),
            ("127.0.0.1:", "Invalid port number: \"\""),
            ("[::1", "Invalid IPV6 address: \"[::1\""),
            ("proto[ascii:h", "Invalid protocol spec: \"[ascii:h\""),
            ("proto[proxy]:h", "Server not built with proxy: proxy"),
            ("tag[123456789]:h", "Listener tags must be between 1 and 8 characters: \"123456789\""),
            ("tag[]:h", "Listener tags must be between 1 and 8 characters: \"\""),
            ("tag_h", "Invalid tag in socket config: \"tag_h\""),
            ("notls:h", "'notls' option is valid only when SSL is enabled"),
            ("mtls:h", "'notls' option is valid only when SSL is enabled"),
        ] {
            assert_eq!(read(element), Err(text.to_owned()), "{element}");
        }
    }

    #[test]
    fn a_list_binds_every_element_and_tells_the_ports_it_got() {
        let listeners = listen_tcp(&options(Some("127.0.0.1:0,;127.0.0.1:-1"))).unwrap();
        assert_eq!(listeners.len(), 2);
        let lines: String = listeners
            .iter()
            .map(|listener| match listener.address() {
                Address::Tcp(address) => format!("TCP INET: {}\n", address.port()),
                Address::Unix(_) | Address::Udp(_) => String::new(),
            })
            .collect();
        assert_eq!(port_lines(&listeners), lines);
        assert!(!lines.contains(" 0\n"));
    }

    #[test]
    fn an_address_in_use_is_reported_by_the_option_to_blame() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let element = taken.local_addr().unwrap().to_string();
        let error = listen_tcp(&options(Some(&element))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to listen on one of interface(s) {element}: Address already in use")
        );
        let mut everywhere = options(None);
        everywhere.port = i32::from(taken.local_addr().unwrap().port());
        // 0.0.0.0 is in use, :: may work; then that one is enough.
        if let Err(error) = listen_tcp(&everywhere) {
            assert_eq!(
                error.to_string(),
                format!("failed to listen on TCP port {}: Address already in use", everywhere.port)
            );
        }
    }

    #[test]
    fn a_bind_error_other_than_in_use_is_final() {
        let error = listen_tcp(&options(Some("127.0.0.1:0,203.0.113.1:0"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bind(): Cannot assign requested address\nfailed to listen on one of interface(s) \
             127.0.0.1:0,203.0.113.1:0: Cannot assign requested address"
        );
    }

    /// A folder of its own for each test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("memhold-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_unix_socket_left_behind_is_replaced_and_gets_its_permissions() {
        let folder = Folder::new("stale");
        let path = folder.0.join("socket");
        for mask in [0o700, 0o755] {
            let listener = listen_unix(&path, mask, 16, BindingProtocol::Negotiating).unwrap();
            assert_eq!(listener.address(), &Address::Unix(path.clone()));
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, mask);
        }
    }

    #[test]
    fn another_kind_of_file_is_kept_where_a_unix_socket_should_be() {
        let folder = Folder::new("file");
        let path = folder.0.join("precious");
        std::fs::write(&path, "text").unwrap();
        let error = listen_unix(&path, 0o700, 16, BindingProtocol::Negotiating).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "bind(): Address already in use\nfailed to listen on UNIX socket: {}: Address already in use",
                path.display()
            )
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
    }
}
