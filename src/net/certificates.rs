//! What TLS needs of files and options, as configurations of rustls (section 15.4): certificates, keys, who must show a
//! certificate, versions, suites, resumption.
//!
//! A connection takes the configuration of its listener when it is accepted and keeps it, so that [`Tls::refresh`] only concerns
//! new ones. Sessions are resumed by tickets, which cost the server no memory; each configuration has a key of its own for them, so
//! that a ticket of a listener that asks for no certificate opens no other, and none outlives a refresh.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::settings::{TlsSettings, TlsVersion, VerifyMode};
use crate::sync::{Mutex, StdArc, lock};
use crate::sys::reason;

/// Which certificate of the client a listener asks for: the prefixes of `-l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCert {
    /// No prefix: as `ssl_verify_mode` says.
    AsConfigured,
    /// `btls`: none.
    NotAsked,
    /// `mtls`: it must have one.
    Required,
}

/// TLS of a whole server.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    /// Where relative names begin: a daemon changes its folder before it reads the files again.
    folder: PathBuf,
    current: Mutex<Configs>,
}

/// One reading of the files.
#[derive(Clone, Debug)]
struct Configs {
    as_configured: StdArc<ServerConfig>,
    not_asked: StdArc<ServerConfig>,
    /// Absent without `ssl_ca_cert`: nobody could be verified.
    required: Option<StdArc<ServerConfig>>,
}

impl Tls {
    /// Reads what the options name.
    ///
    /// # Errors
    /// The line that says which file or option is at fault, in memcached's words with rustls' reason; the exit code is 64.
    pub fn load(settings: &TlsSettings) -> Result<Tls, String> {
        let folder = std::env::current_dir().unwrap_or_default();
        let current = Mutex::new(read(settings, &folder)?);
        Ok(Tls { settings: settings.clone(), folder, current })
    }

    /// Reads all files again, for connections from now on. When that fails nothing changes.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub fn refresh(&self) -> Result<(), String> {
        let fresh = read(&self.settings, &self.folder)?;
        *lock(&self.current) = fresh;
        Ok(())
    }

    /// Whether clients can be verified, as [`ClientCert::Required`] demands.
    #[must_use]
    pub fn can_require(&self) -> bool {
        lock(&self.current).required.is_some()
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self, client: ClientCert) -> StdArc<ServerConfig> {
        let current = lock(&self.current);
        StdArc::clone(match (client, &current.required) {
            (ClientCert::NotAsked, _) => &current.not_asked,
            (ClientCert::Required, Some(required)) => required,
            // A refresh without authorities is refused, so this one is strict as well.
            (ClientCert::AsConfigured | ClientCert::Required, _) => &current.as_configured,
        })
    }
}

fn read(settings: &TlsSettings, folder: &Path) -> Result<Configs, String> {
    let provider = StdArc::new(provider(settings.ciphers.as_deref())?);
    let files = Files::read(settings, folder, &provider)?;
    let make = |mode| files.config(settings, &provider, mode);
    let required = if files.authorities.is_some() { Some(make(VerifyMode::Require)?) } else { None };
    Ok(Configs { as_configured: make(settings.verify_mode)?, not_asked: make(VerifyMode::None)?, required })
}

/// What the files hold.
struct Files {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<StdArc<RootCertStore>>,
    /// Spelled, for the line about a key that does not belong to the certificate.
    key_name: String,
}

impl Files {
    fn read(settings: &TlsSettings, folder: &Path, provider: &CryptoProvider) -> Result<Files, String> {
        let blame = |what: &str, file: &Option<PathBuf>, why: String| format!("{what}: {} : {why}", shown(file));
        let chain = bytes(settings.chain_cert.as_deref(), folder)
            .and_then(|text| chain(&text))
            .map_err(|why| blame("Error loading the certificate chain", &settings.chain_cert, why))?;
        let unusable = |why: String| blame("Error loading the key", &settings.key, why);
        let key =
            bytes(settings.key.as_deref(), folder).and_then(|text| key(text, settings.key_format)).map_err(unusable)?;
        provider.key_provider.load_private_key(key.clone_key()).map_err(|error| unusable(error.to_string()))?;
        let authorities = match &settings.ca_cert {
            None => None,
            Some(file) => Some(StdArc::new(
                bytes(Some(file), folder)
                    .and_then(|text| authorities(&text))
                    .map_err(|why| blame("Error loading the CA certificate", &settings.ca_cert, why))?,
            )),
        };
        Ok(Files { chain, key, authorities, key_name: shown(&settings.key) })
    }

    fn config(
        &self,
        settings: &TlsSettings,
        provider: &StdArc<CryptoProvider>,
        mode: VerifyMode,
    ) -> Result<StdArc<ServerConfig>, String> {
        let versions: &[&SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            TlsVersion::Tls13 => &[&version::TLS13],
        };
        let invalid = |error: &dyn std::fmt::Display| format!("Error validating the certificate: {error}");
        let builder = ServerConfig::builder_with_provider(StdArc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|error| invalid(&error))?;
        let builder = match (mode, &self.authorities) {
            // Without authorities no certificate could be right, and none is needed.
            (VerifyMode::None, _) | (VerifyMode::Request, None) => builder.with_no_client_auth(),
            (_, None) => return Err("Error loading the CA certificate: ssl_verify_mode needs ssl_ca_cert".to_owned()),
            (_, Some(authorities)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(StdArc::clone(authorities), StdArc::clone(provider));
                let verifier = if mode == VerifyMode::Request { verifier.allow_unauthenticated() } else { verifier };
                let verifier = verifier.build().map_err(|error| {
                    format!("Error loading the CA certificate: {} : {error}", shown(&settings.ca_cert))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(self.chain.clone(), self.key.clone_key()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => format!("Error loading the key: {} : {error}", self.key_name),
                error => invalid(&error),
            })?;
        config.session_storage = StdArc::new(NoServerSessionStorage {});
        if settings.session_cache {
            config.ticketer = ring::Ticketer::new().map_err(|error| invalid(&error))?;
        } else {
            config.send_tls13_tickets = 0;
        }
        Ok(StdArc::new(config))
    }
}

fn shown(file: &Option<PathBuf>) -> String {
    file.as_ref().map_or_else(|| "(null)".to_owned(), |file| file.display().to_string())
}

fn bytes(file: Option<&Path>, folder: &Path) -> Result<Vec<u8>, String> {
    fs::read(folder.join(file.ok_or("no file was given")?)).map_err(|error| reason(&error))
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = certificates(text)?;
    if chain.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(chain) }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| spelled(&error))
}

fn key(bytes: Vec<u8>, format: u32) -> Result<PrivateKeyDer<'static>, String> {
    match format {
        1 => PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| spelled(&error)),
        2 => PrivateKeyDer::try_from(bytes).map_err(str::to_owned),
        _ => Err("ssl_keyformat 1 (PEM) and 2 (DER) are what there is; others are OpenSSL's alone".to_owned()),
    }
}

fn spelled(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing of that kind in it (encrypted keys are not supported)".to_owned(),
        error => error.to_string(),
    }
}

fn authorities(text: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in chain(text)? {
        store.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(store)
}

/// rustls' suites of TLS 1.2 by OpenSSL's names. Those of TLS 1.3 are always there, as `ssl_ciphers` has it in memcached.
const TLS12_SUITES: [(&str, SupportedCipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", ring::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// ring's algorithms, with the suites of TLS 1.2 that `list` names, in its order.
fn provider(list: Option<&str>) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    let Some(list) = list else { return Ok(provider) };
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    for word in list.split([':', ' ']).filter(|word| !word.is_empty()) {
        let Some((_, suite)) = TLS12_SUITES.iter().find(|(name, _)| *name == word) else {
            return Err(format!(
                "Error setting the provided cipher(s): {list} ({word} is OpenSSL's alone; names such as {} are not)",
                TLS12_SUITES[0].0
            ));
        };
        provider.cipher_suites.push(*suite);
    }
    Ok(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_taken_by_openssls_names_and_others_are_refused() {
        let chosen = provider(Some("ECDHE-RSA-AES128-GCM-SHA256")).unwrap().cipher_suites;
        assert_eq!(chosen.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
        assert_eq!(chosen.iter().filter(|suite| suite.tls13().is_some()).count(), 3);
        let refused = provider(Some("HIGH:!aNULL")).unwrap_err();
        assert!(refused.starts_with("Error setting the provided cipher(s): HIGH:!aNULL (HIGH is OpenSSL's alone"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = Some(PathBuf::from("/no/such/file.pem"));
        let settings = TlsSettings { chain_cert: missing, ..TlsSettings::default() };
        let expected = "Error loading the certificate chain: /no/such/file.pem : No such file or directory";
        assert_eq!(Tls::load(&settings).unwrap_err(), expected);
        let expected = "Error loading the certificate chain: (null) : no file was given";
        assert_eq!(Tls::load(&TlsSettings::default()).unwrap_err(), expected);
    }
}
