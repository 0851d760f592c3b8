//! TLS configuration of a listener.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{StoresServerSessions, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

/// Whether a client has to present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// The handshake fails without one.
    Required,
    /// It may; one that does not verify fails the handshake all the same.
    Optional,
}

/// What a TLS listener presents and accepts.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Folder with `NAME.pem` (the certificate chain, leaf first) and `NAME-key.pem`.
    pub certs: PathBuf,
    /// The NAME to present. Default: `server`.
    pub name: String,
    /// Certificate authorities for client certificates. Default: clients are not asked for one.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
    /// Protocol versions. Default: TLS 1.2 and 1.3.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Protocols offered by ALPN on TCP, in order of preference. Default: `h2` and `http/1.1`. Empty: the extension is
    /// ignored.
    pub alpn: Vec<Vec<u8>>,
}

impl Tls {
    /// The defaults, with certificates from this folder.
    pub fn new(certs: impl Into<PathBuf>) -> Self {
        Tls {
            certs: certs.into(),
            name: "server".into(),
            client_ca: None,
            versions: vec![&TLS13, &TLS12],
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }

    /// Reads the files and builds the acceptor.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = self.config(&self.versions)?;
        config.alpn_protocols = self.alpn.clone();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files and builds what a QUIC listener presents: TLS 1.3 (RFC 9001, 4.2) and `h3`, whatever
    /// `versions` and `alpn` say.
    pub fn quic(&self, early_data: EarlyData) -> Result<QuicServerConfig, TlsError> {
        let mut config = self.config(&[&TLS13])?;
        config.alpn_protocols = vec![b"h3".to_vec()];
        if early_data != EarlyData::Off {
            // QUIC limits early data by its own windows, and knows this value only (RFC 9001, 4.6.1).
            config.max_early_data_size = u32::MAX;
        }
        if early_data == EarlyData::Reject {
            config.session_storage = Arc::new(Forgetful);
        }
        QuicServerConfig::try_from(config).map_err(|reason| TlsError::Quic(reason.to_string()))
    }

    fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(TlsError::Config)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some((path, auth)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(TlsError::Config)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .map_err(|reason| TlsError::ClientCa(path.clone(), reason.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(&self.certs.join(format!("{}.pem", self.name)))?;
        let key_path = self.certs.join(format!("{}-key.pem", self.name));
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|reason| TlsError::Pem(key_path, reason.to_string()))?;
        builder.with_single_cert(chain, key).map_err(TlsError::Config)
    }
}

/// What a QUIC listener does with early data (0-RTT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyData {
    /// Session tickets do not allow it.
    #[default]
    Off,
    /// Takes it.
    Accept,
    /// Session tickets allow it, but no session is ever resumed, so that all of it is rejected.
    Reject,
}

/// Hands out sessions, and has none of them when they come back.
#[derive(Debug)]
struct Forgetful;

impl StoresServerSessions for Forgetful {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        true
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|reason| TlsError::Pem(path.to_path_buf(), reason.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::Pem(path.to_path_buf(), "no certificate in it".into()));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|reason| TlsError::Read(path.to_path_buf(), reason))
}

/// Why a TLS listener cannot be configured.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file is not the PEM it should be.
    Pem(PathBuf, String),
    /// The client authorities cannot be used.
    ClientCa(PathBuf, String),
    /// rustls refuses the combination, such as a key that is not the certificate's.
    Config(rustls::Error),
    /// QUIC refuses it.
    Quic(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read(path, reason) => write!(f, "{}: {reason}", path.display()),
            TlsError::Pem(path, reason) | TlsError::ClientCa(path, reason) => {
                write!(f, "{}: {reason}", path.display())
            }
            TlsError::Config(reason) => write!(f, "TLS configuration: {reason}"),
            TlsError::Quic(reason) => write!(f, "TLS configuration for QUIC: {reason}"),
        }
    }
}

impl std::error::Error for TlsError {}
