//! TLS 1.2 and 1.3 towards servers, by rustls.
//!
//! Every connection made with equal options shares one prepared configuration: the roots are
//! parsed once, and session tickets are only ever used under the options they were obtained with.

pub(crate) mod alert;
mod cache;
mod client_config;
mod verify;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::{Link, classify, quic};
use crate::error::Error;

/// TLS options of a connection. The default verifies chain and name against Mozilla's roots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// Whether the server's certificate is verified. Without, any certificate will do, though the
    /// server must still hold its key. Default true.
    pub verify: bool,
    /// Whether the certificate must be for the server's name. Only counts with `verify`. Default
    /// true.
    pub check_hostname: bool,
    /// Whom to trust. Default [`Roots::Mozilla`].
    pub roots: Roots,
    /// The most intermediate certificates, not counting self-issued ones, between the server's
    /// certificate and a root. Default: no limit but the verifier's own, which is six.
    pub depth: Option<u32>,
    /// Certificates of this side; the first that suits the server's request is used. Default none.
    pub identity: Vec<Identity>,
    /// Versions to offer. Default both.
    pub versions: Vec<TlsVersion>,
    /// Cipher suites to offer, by IANA number, in order of preference; unsupported ones are left
    /// out. Default: all that are supported.
    pub cipher_suites: Option<Vec<u16>>,
    /// Key exchange groups to offer, by IANA number, in order of preference; unsupported ones are
    /// left out. Default X25519MLKEM768, X25519, secp256r1, secp384r1.
    pub groups: Option<Vec<u16>>,
    /// Signature schemes to accept and to sign with, by IANA number, in order of preference;
    /// unsupported ones are left out. They bind the certificates of the chain as well. Default:
    /// all that are supported.
    pub signature_schemes: Option<Vec<u16>>,
    /// Whether the server is told which name is meant. Default [`Sni::Default`].
    pub sni: Sni,
    /// Application protocols to offer, in order of preference. Default none.
    pub alpn: Vec<Vec<u8>>,
    /// Whether sessions are resumed. Default true.
    pub resumption: bool,
    /// Whether secrets are appended to the file the environment variable `SSLKEYLOGFILE` names.
    /// Default false.
    pub key_log: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            verify: true,
            check_hostname: true,
            roots: Roots::Mozilla,
            depth: None,
            identity: Vec::new(),
            versions: vec![TlsVersion::Tls12, TlsVersion::Tls13],
            cipher_suites: None,
            groups: None,
            signature_schemes: None,
            sni: Sni::Default,
            alpn: Vec::new(),
            resumption: true,
            key_log: false,
        }
    }
}

/// Whom to trust.
///
/// A chain is trusted as soon as one of its certificates is signed by the key of a root of that
/// name: expired or cross-signed roots later in the chain do no harm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's list, compiled in.
    Mozilla,
    /// The system's list, read when first needed.
    System,
    /// These certificates, in DER. Ones that cannot be parsed are left out.
    Der(Vec<Vec<u8>>),
}

/// A certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Certificates in DER, the one of this side first.
    pub chain: Vec<Vec<u8>>,
    /// The key of the first certificate.
    pub key: PrivateKey,
}

/// A private key in DER. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PrivateKey {
    /// PKCS #8 (RFC 5958)
    Pkcs8(Vec<u8>),
    /// PKCS #1, RSA (RFC 8017)
    Pkcs1(Vec<u8>),
    /// SEC 1, elliptic curve (RFC 5915)
    Sec1(Vec<u8>),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    Tls12,
    /// TLS 1.3 (RFC 8446)
    Tls13,
}

/// Server name indication (RFC 6066, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sni {
    /// The server's name, unless it is an address.
    Default,
    /// None. The name is still verified.
    Disabled,
}

/// TLS options for any number of connections, prepared when first needed.
pub struct TlsClient {
    options: TlsOptions,
    tcp: Mutex<Option<Arc<ClientConfig>>>,
}

impl TlsClient {
    /// Prepares `options` now. This parses roots and keys, which takes up to tens of milliseconds
    /// unless equal options were prepared before.
    ///
    /// # Errors
    /// [`Error::Option`] names the option that cannot be honoured.
    pub fn new(options: &TlsOptions) -> Result<Arc<Self>, Error> {
        let client = Self::lazy(options.clone());
        client.prepare().map(|_| client)
    }

    /// Takes `options` to be prepared by the first handshake, off the runtime's own threads; what
    /// is wrong with them comes out of that handshake. Cheap.
    #[must_use]
    pub fn lazy(options: TlsOptions) -> Arc<Self> {
        Arc::new(Self { options, tcp: Mutex::new(None) })
    }

    async fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, Error> {
        // Whoever holds the lock for long is preparing, on a thread that may block.
        if let Ok(config) = self.tcp.try_lock()
            && let Some(config) = &*config
        {
            return Ok(Arc::clone(config));
        }
        let client = Arc::clone(self);
        off_thread(move || client.prepare()).await
    }

    fn prepare(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut config = self.tcp.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*config {
            return Ok(Arc::clone(config));
        }
        let prepared = cache::prepare(&self.options)?;
        *config = Some(Arc::clone(&prepared));
        Ok(prepared)
    }

    /// The same trust, identity and so on for QUIC connections that speak HTTP/3.
    pub(crate) async fn quic(self: &Arc<Self>) -> Result<Arc<quic::Prepared>, Error> {
        let client = Arc::clone(self);
        off_thread(move || cache::prepare_quic(&client.options)).await
    }
}

/// Runs `prepare` on a thread that may block.
async fn off_thread<T: Send + 'static>(
    prepare: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(prepare)
        .await
        // Panicked, or the runtime is stopping.
        .unwrap_or(Err(Error::Closed))
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

/// Does the TLS handshake on `link`, for which `server_name` is the name or address to verify.
/// Takes as long as the server does: callers bound it. A link already encrypted is returned as it
/// is.
///
/// # Errors
/// [`Error::Tls`], [`Error::Option`], [`Error::Closed`] or [`Error::Posix`]. The link is gone then.
pub(crate) async fn handshake(
    link: Link,
    client: &Arc<TlsClient>,
    server_name: &str,
) -> Result<Link, Error> {
    let socket = match link.into_socket() {
        Ok(socket) => socket,
        Err(encrypted) => return Ok(encrypted),
    };
    let name = parse_server_name(server_name)?;
    let config = client.config().await?;
    let connector = tokio_rustls::TlsConnector::from(config);
    connector.connect(name, socket).await.map(Link::encrypted).map_err(classify)
}

/// The name a certificate must be for: an address literal (brackets and zone cut) or a DNS name
/// (trailing dots cut).
pub(crate) fn parse_server_name(text: &str) -> Result<ServerName<'static>, Error> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let without_zone = bare.split_once('%').map_or(bare, |(address, _)| address);
    if let Ok(address) = without_zone.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(text.trim_end_matches('.').to_owned()).map_err(|_| Error::Option {
        name: "server_name_indication".into(),
        reason: "neither a DNS name nor an address".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_tidied() {
        let parsed = |text| parse_server_name(text).map(|name| name.to_str().into_owned());
        assert_eq!(parsed("example.com"), Ok("example.com".into()));
        assert_eq!(parsed("example.com.."), Ok("example.com".into()));
        assert_eq!(parsed("[::1]"), Ok("::1".into()));
        assert_eq!(parsed("fe80::1%eth0"), Ok("fe80::1".into()));
        assert_eq!(parsed("127.0.0.1"), Ok("127.0.0.1".into()));
        for bad in ["", "a b", "b\u{fc}cher.example", "a..b"] {
            assert!(matches!(parsed(bad), Err(Error::Option { .. })), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let identity = Identity { chain: Vec::new(), key: PrivateKey::Pkcs8(vec![42, 43]) };
        assert!(!format!("{identity:?}").contains("42"));
    }
}
