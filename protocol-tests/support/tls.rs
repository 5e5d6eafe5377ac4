//! TLS for tests: authorities and certificates made on the spot, a folder that holds them for the server, and clients that trust
//! what they are told to.

use super::{PATIENCE, server::Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

/// An authority that signs certificates for `localhost` and 127.0.0.1.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has random numbers");
        Authority(CertifiedIssuer::self_signed(params, key).expect("nothing is wrong with the parameters"))
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key.
    pub fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().expect("the system has random numbers");
        let certificate = CertificateParams::new(names).and_then(|params| params.signed_by(&key, &self.0));
        (certificate.expect("nothing is wrong with the parameters"), key)
    }
}

/// A folder with what a server needs: `chain.pem`, `key.pem`, `key.der`, and `ca.pem` with the authority of clients.
pub struct Files {
    folder: PathBuf,
    /// Signs the server's certificates.
    pub servers: Authority,
    /// Signs the clients'.
    pub clients: Authority,
}

impl Files {
    /// Makes all of it. `name` tells the folders of a process apart.
    pub fn new(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("memhold-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is room for temporary files");
        let files = Files { folder, servers: Authority::new(), clients: Authority::new() };
        files.write("ca.pem", files.clients.pem().as_bytes());
        files.renew();
        files
    }

    /// A new certificate of the server, by its present authority.
    pub fn renew(&self) {
        let (certificate, key) = self.servers.sign();
        self.write("chain.pem", certificate.pem().as_bytes());
        self.write("key.pem", key.serialize_pem().as_bytes());
        self.write("key.der", key.serialized_der());
    }

    /// Puts a file there.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("there is room for temporary files");
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The argument of `-o` that names chain and key, with `more` behind.
    pub fn option(&self, more: &str) -> String {
        let (chain, key) = (self.path("chain.pem"), self.path("key.pem"));
        let comma = if more.is_empty() { "" } else { "," };
        format!("ssl_chain_cert={},ssl_key={}{comma}{more}", chain.display(), key.display())
    }

    /// What `ssl_ca_cert` is to say.
    pub fn ca_option(&self) -> String {
        format!("ssl_ca_cert={}", self.path("ca.pem").display())
    }

    /// Starts a server with these files.
    pub fn start(&self, more: &str, arguments: &[&str]) -> Server {
        let option = self.option(more);
        let arguments = [&["-Z", "-o", &option], arguments].concat();
        Server::start(&super::server::memhold(), &arguments)
    }

    /// A client that trusts the server's authority and shows no certificate.
    pub fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.servers, None, rustls::DEFAULT_VERSIONS)
    }

    /// The same with a certificate that `authority` signed.
    pub fn client_signed_by(&self, authority: &Authority) -> TlsClient {
        TlsClient::trusting(&self.servers, Some(authority.sign()), rustls::DEFAULT_VERSIONS)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A client's configuration; it remembers sessions.
pub struct TlsClient(Arc<ClientConfig>);

/// A conversation over TLS.
pub type TlsLink = StreamOwned<ClientConnection, TcpStream>;

impl TlsClient {
    /// Trusts `authority` alone, shows `identity`, speaks `versions`.
    pub fn trusting(
        authority: &Authority,
        identity: Option<(rcgen::Certificate, KeyPair)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsClient {
        let identity = identity.map(|(certificate, key)| (vec![certificate.der().clone()], key));
        TlsClient::with_chain(authority, identity, versions, None)
    }

    /// The same with a chain of certificates, and records of at most so many bytes.
    pub fn with_chain(
        authority: &Authority,
        identity: Option<(Vec<CertificateDer<'static>>, KeyPair)>,
        versions: &[&'static SupportedProtocolVersion],
        record_bytes: Option<usize>,
    ) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).expect("it is an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring has suites for every version")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(chain, key).expect("certificate and key belong together")
            }
        };
        config.max_fragment_size = record_bytes;
        config.resumption = Resumption::in_memory_sessions(16);
        TlsClient(Arc::new(config))
    }

    /// Connects and completes the handshake.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TlsLink> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE * 4))?;
        socket.set_write_timeout(Some(PATIENCE * 4))?;
        let name = ServerName::try_from("localhost").expect("it is a name");
        let mut session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(session, socket))
    }

    /// The first bytes of a handshake: a ClientHello.
    pub fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from("localhost").expect("it is a name");
        let mut session = ClientConnection::new(Arc::clone(&self.0), name).expect("the configuration is complete");
        let mut hello = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut hello).expect("memory takes all");
        }
        hello
    }

    /// Connects and asks for the version, which only those who are let in are told. A client learns of a refusal in TLS 1.3 only
    /// after its own part of the handshake.
    pub fn is_served(&self, address: SocketAddr) -> bool {
        self.connect(address)
            .is_ok_and(|mut link| link.write_all(b"version\r\n").is_ok() && reads(&mut link, b"VERSION 1.6.45\r\n"))
    }
}

/// Whether exactly `expected` comes next.
pub fn reads(link: &mut impl Read, expected: &[u8]) -> bool {
    let mut got = vec![0; expected.len()];
    link.read_exact(&mut got).is_ok() && got == expected
}

/// Sends a command and gives everything up to and including `ending`.
pub fn ask(link: &mut TlsLink, command: &[u8], ending: &[u8]) -> Vec<u8> {
    link.write_all(command).expect("the server takes the command");
    let mut got = Vec::new();
    let mut piece = [0; 16 << 10];
    while !got.ends_with(ending) {
        match link.read(&mut piece).expect("the server answers") {
            0 => break,
            n => got.extend_from_slice(&piece[..n]),
        }
    }
    got
}
