//! TLS as a client speaks it: whom to trust, the handshake, and a socket with it that reads and writes like any other.

use super::Failure;
use super::link::Socket;
use crate::sync::StdArc;
use crate::sys::reason;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, StreamOwned,
};
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::Path;

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct Tls(StdArc<ClientConfig>);

impl Tls {
    /// With servers whose certificates one of the authorities in `file` has signed.
    ///
    /// # Errors
    /// When it cannot be read or holds no certificate.
    pub fn trusting(file: &Path) -> Result<Tls, Failure> {
        let failure = |why: String| Failure(format!("{}: {why}", file.display()));
        let text = std::fs::read(file).map_err(|error| failure(reason(&error)))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| failure(error.to_string()))?;
            roots.add(certificate).map_err(|error| failure(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failure("no certificate in it".to_owned()));
        }
        make(|builder| builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// With whoever answers.
    ///
    /// # Errors
    /// When the library has none of the versions that are needed.
    pub fn trusting_everybody() -> Result<Tls, Failure> {
        let verifier = StdArc::new(Everybody(ring::default_provider()));
        make(|builder| builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    /// Makes TLS out of a connection to `host`.
    ///
    /// # Errors
    /// When the two do not agree.
    pub fn handshake(&self, host: &str, socket: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(StdArc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(plainly)?;
        }
        Ok(stream)
    }
}

/// What most probably is the matter with a peer whose bytes are no messages of TLS.
fn plainly(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    if matches!(inner, Some(Error::InvalidMessage(_))) { io::Error::other("it does not speak TLS") } else { error }
}

fn make(
    finish: impl FnOnce(rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>) -> ClientConfig,
) -> Result<Tls, Failure> {
    let builder = ClientConfig::builder_with_provider(StdArc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| Failure(error.to_string()))?;
    Ok(Tls(StdArc::new(finish(builder))))
}

impl Socket for StreamOwned<ClientConnection, TcpStream> {
    fn descriptor(&self) -> RawFd {
        self.sock.as_raw_fd()
    }

    fn nonblocking(&self) -> io::Result<()> {
        self.sock.set_nonblocking(true)
    }

    fn push_out(&mut self) -> io::Result<()> {
        match self.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    fn keeps_back(&self) -> bool {
        true
    }
}

/// Checks signatures, but not whose they are.
#[derive(Debug)]
struct Everybody(CryptoProvider);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
