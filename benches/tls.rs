//! Measures what TLS costs the server: memory of an idle connection, CPU time of a handshake and of a get, beside the same in the clear
//! and beside memcached with OpenSSL.
//!
//! One worker on a core of its own; one client that waits for each answer. What decides is the server's CPU time, not the clock.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use support::server::{Cores, Server, allow_files};
use support::{Failure, options};

fn main() -> Result<(), Failure> {
    let matches = options::command("tls", "What TLS costs the server, beside memcached with OpenSSL").get_matches();
    let cores = Cores::claim();
    allow_files(CONNECTIONS + 100);
    let identity = Identity::make()?;
    println!("| | ours, clear | ours, TLS | theirs, clear | theirs, TLS |\n| --- | --- | --- | --- | --- |");
    let mut columns = Vec::new();
    for path in options::servers(&matches) {
        columns.push(measure(&cores, &path, &identity, false)?);
        columns.push(measure(&cores, &path, &identity, true)?);
    }
    for (row, title) in TITLES.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|column| column[row].clone()).collect();
        println!("| {title} | {} |", cells.join(" | "));
    }
    Ok(())
}

const TITLES: [&str; 7] = [
    "bytes of an idle connection",
    "us of CPU to take a client",
    "the same, session resumed",
    "us of CPU for a get of 100 bytes",
    "the same, 16 gets at a time",
    "us of CPU for a get of 100 KB",
    "us of CPU for a set of 100 KB",
];

/// All figures of one server, in the order of [`TITLES`].
fn measure(cores: &Cores, path: &Path, identity: &Identity, tls: bool) -> Result<[String; 7], Failure> {
    let option = identity.option();
    let mut options = vec!["-t", "1", "-c", "4096"];
    if tls {
        options.extend(["-Z", "-o", &option]);
    }
    let server = Server::start(&cores.command(path), &options)?;
    let client = Dialer { config: tls.then(|| identity.client(Resumption::disabled())) };
    let mut link = client.dial(&server, None)?;
    store(&mut link, "small", 100)?;
    store(&mut link, "large", 100_000)?;

    let before = server.resident_bytes()?;
    let crowd: Vec<Link> = (0..CONNECTIONS).map(|_| client.dial(&server, None)).collect::<Result<_, _>>()?;
    let idle = server.resident_bytes()?.saturating_sub(before) / CONNECTIONS as u64;
    drop(crowd);

    let take = |kind| per_turn(&server, HANDSHAKES, || client.dial(&server, kind).map(drop));
    let full = take(Some(HandshakeKind::Full).filter(|_| tls))?;
    let resumed = if tls {
        let client = Dialer { config: Some(identity.client(Resumption::in_memory_sessions(32))) };
        drop(client.dial(&server, None)?);
        per_turn(&server, HANDSHAKES, || client.dial(&server, Some(HandshakeKind::Resumed)).map(drop))?
    } else {
        full
    };
    let get = per_turn(&server, GETS, || expect(&mut link, b"get small\r\n", 19 + 100 + 2 + 5))?;
    let requests = b"get small\r\n".repeat(DEPTH);
    let deep = per_turn(&server, GETS / DEPTH, || expect(&mut link, &requests, (19 + 100 + 2 + 5) * DEPTH))?;
    let large = per_turn(&server, LARGE, || expect(&mut link, b"get large\r\n", 22 + 100_000 + 2 + 5))?;
    let stored = per_turn(&server, LARGE, || store(&mut link, "large", 100_000))?;
    let spell = |figure: f64| format!("{figure:.1}");
    Ok([
        idle.to_string(),
        spell(full),
        spell(resumed),
        spell(get),
        format!("{:.2}", deep / DEPTH as f64),
        spell(large),
        spell(stored),
    ])
}

/// Microseconds of the server's CPU time for each turn, after some turns that do not count.
fn per_turn(server: &Server, turns: usize, mut turn: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    for _ in 0..turns / 10 {
        turn()?;
    }
    let before = server.cpu()?.nanos;
    for _ in 0..turns {
        turn()?;
    }
    Ok((server.cpu()?.nanos - before) as f64 / turns as f64 / 1000.0)
}

fn expect(link: &mut Link, request: &[u8], bytes: usize) -> Result<(), Failure> {
    link.write_all(request)?;
    let mut got = vec![0; bytes];
    link.read_exact(&mut got)?;
    if got.ends_with(b"END\r\n") { Ok(()) } else { Err("another answer than expected".into()) }
}

fn store(link: &mut Link, key: &str, bytes: usize) -> Result<(), Failure> {
    let request = [format!("set {key} 0 0 {bytes}\r\n").as_bytes(), &vec![b'v'; bytes], b"\r\n"].concat();
    link.write_all(&request)?;
    let mut got = [0; 8];
    link.read_exact(&mut got)?;
    if &got == b"STORED\r\n" { Ok(()) } else { Err("it was not stored".into()) }
}

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}
type Link = Box<dyn Both>;

/// Makes connections of one kind.
struct Dialer {
    config: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// Connects, and asks something, so that the server has done all it does for a new client; checks the kind of handshake.
    fn dial(&self, server: &Server, kind: Option<HandshakeKind>) -> Result<Link, Failure> {
        let socket = TcpStream::connect(server.address)?;
        socket.set_nodelay(true)?;
        let mut link: Link = match &self.config {
            None => Box::new(socket),
            Some(config) => {
                let session = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
                let mut stream = StreamOwned::new(session, socket);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                if kind.is_some_and(|kind| stream.conn.handshake_kind() != Some(kind)) {
                    return Err("another kind of handshake than meant".into());
                }
                Box::new(stream)
            }
        };
        link.write_all(b"mn\r\n")?;
        link.read_exact(&mut [0; 4])?;
        Ok(link)
    }
}

/// A certificate in files, and clients that trust it.
struct Identity {
    folder: PathBuf,
    certificate: CertifiedKey<rcgen::KeyPair>,
}

impl Identity {
    fn make() -> Result<Identity, Failure> {
        let certificate = generate_simple_self_signed(["localhost".to_owned()])?;
        let folder = std::env::temp_dir().join(format!("memhold-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("chain.pem"), certificate.cert.pem())?;
        std::fs::write(folder.join("key.pem"), certificate.signing_key.serialize_pem())?;
        Ok(Identity { folder, certificate })
    }

    fn option(&self) -> String {
        let (chain, key) = (self.folder.join("chain.pem"), self.folder.join("key.pem"));
        format!("ssl_chain_cert={},ssl_key={},ssl_session_cache", chain.display(), key.display())
    }

    /// A client that trusts it.
    fn client(&self, resumption: Resumption) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.cert.der().clone()).expect("it was made for that");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has suites for them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = resumption;
        Arc::new(config)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const CONNECTIONS: usize = 1000;
const HANDSHAKES: usize = 300;
const GETS: usize = 16_000;
const DEPTH: usize = 16;
const LARGE: usize = 500;
