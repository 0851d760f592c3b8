//! TLS configuration of a listener.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
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
    /// Protocols offered by ALPN, in order of preference. Default: `http/1.1`. Empty: the extension is ignored.
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
            alpn: vec![b"http/1.1".to_vec()],
        }
    }

    /// Reads the files and builds the acceptor.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
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
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Config)?;
        config.alpn_protocols = self.alpn.clone();
        Ok(TlsAcceptor::from(Arc::new(config)))
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
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read(path, reason) => write!(f, "{}: {reason}", path.display()),
            TlsError::Pem(path, reason) | TlsError::ClientCa(path, reason) => {
                write!(f, "{}: {reason}", path.display())
            }
            TlsError::Config(reason) => write!(f, "TLS configuration: {reason}"),
        }
    }
}

impl std::error::Error for TlsError {}
