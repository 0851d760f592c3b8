//! Certificates made on the spot, and TLS servers that tell what they saw.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hansom_engine::transport::{Identity, PrivateKey, Roots, TlsClient, TlsOptions};
use hansom_engine::{Dial, TransportKind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// Fails the test if `future` takes longer than any healthy run could.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

/// A certificate authority, of its own or under another.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate, then those above it, without the root.
    above: Vec<Vec<u8>>,
    pub(crate) root: Vec<u8>,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let params = authority_params(name);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, above: Vec::new(), root }
    }

    /// An authority this one signs for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let params = authority_params(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        let mut above = vec![certificate.der().to_vec()];
        above.extend(self.above.iter().cloned());
        Self { params, key, above, root: self.root.clone() }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A certificate for `names` (DNS names and addresses).
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: fn(&mut CertificateParams),
    ) -> Identity {
        self.issue_for(&KeyPair::generate().unwrap(), names, change)
    }

    pub(crate) fn issue_for(
        &self,
        key: &KeyPair,
        names: &[&str],
        change: fn(&mut CertificateParams),
    ) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let mut chain = vec![params.signed_by(key, &self.issuer()).unwrap().der().to_vec()];
        chain.extend(self.above.iter().cloned());
        Identity { chain, key: PrivateKey::Pkcs8(key.serialize_der()) }
    }

    /// Options that trust this authority's root only.
    pub(crate) fn trusted(&self) -> TlsOptions {
        TlsOptions { roots: Roots::Der(vec![self.root.clone()]), ..TlsOptions::default() }
    }
}

/// A certificate that signed itself; also an authority with `ca`, as `openssl req -x509` makes it.
pub(crate) fn self_signed(name: &str, ca: bool) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let chain = vec![params.self_signed(&key).unwrap().der().to_vec()];
    Identity { chain, key: PrivateKey::Pkcs8(key.serialize_der()) }
}

fn chain_of(identity: &Identity) -> Vec<CertificateDer<'static>> {
    identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect()
}

pub(crate) fn key_of(identity: &Identity) -> PrivateKeyDer<'static> {
    match &identity.key {
        PrivateKey::Pkcs8(der) => PrivateKeyDer::Pkcs8(der.clone().into()),
        other => panic!("{other:?} is not made here"),
    }
}

/// A server configuration with `identity`, for both versions.
pub(crate) fn plain_config(identity: &Identity) -> ServerConfig {
    config_for(identity, rustls::DEFAULT_VERSIONS)
}

pub(crate) fn config_for(
    identity: &Identity,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    builder(versions)
        .with_no_client_auth()
        .with_single_cert(chain_of(identity), key_of(identity))
        .unwrap()
}

/// A server configuration that insists on certificates by `clients`.
pub(crate) fn config_asking_for(
    identity: &Identity,
    clients: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(clients.root.clone())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    builder(versions)
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain_of(identity), key_of(identity))
        .unwrap()
}

pub(crate) fn builder(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap()
}

/// What the server learned from a handshake.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) sni: Option<String>,
    pub(crate) client_certificate: Option<Vec<u8>>,
    pub(crate) cipher_suite: u16,
    pub(crate) group: Option<u16>,
}

impl Seen {
    fn from(session: &ServerConnection) -> Self {
        Self {
            sni: session.server_name().map(ToOwned::to_owned),
            client_certificate: session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.to_vec()),
            cipher_suite: session.negotiated_cipher_suite().unwrap().suite().into(),
            group: session.negotiated_key_exchange_group().map(|group| group.name().into()),
        }
    }
}

/// Something that happened to one connection of a server.
#[derive(Debug)]
pub(crate) enum Happening {
    Shaken(Seen),
    HandshakeFailed(std::io::Error),
    /// The client said `close_notify`, or the connection broke or ended without.
    Ended(std::io::Result<()>),
}

/// A TLS server on 127.0.0.1 that echoes whatever comes.
pub(crate) struct Server {
    pub(crate) port: u16,
    happenings: mpsc::UnboundedReceiver<Happening>,
}

impl Server {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        Self::start_at("127.0.0.1:0", config).await
    }

    pub(crate) async fn start_at(address: &str, config: ServerConfig) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (sender, happenings) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut stream = match acceptor.accept(socket).await {
                        Ok(stream) => stream,
                        Err(error) => return sender.send(Happening::HandshakeFailed(error)),
                    };
                    let _ = sender.send(Happening::Shaken(Seen::from(stream.get_ref().1)));
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        match stream.read(&mut buffer).await {
                            Ok(0) => return sender.send(Happening::Ended(Ok(()))),
                            Ok(count) => {
                                if let Err(error) = stream.write_all(&buffer[..count]).await {
                                    return sender.send(Happening::Ended(Err(error)));
                                }
                            }
                            Err(error) => return sender.send(Happening::Ended(Err(error))),
                        }
                    }
                });
            }
        });
        Self { port, happenings }
    }

    pub(crate) async fn next(&mut self) -> Happening {
        within(self.happenings.recv()).await.expect("the server is gone")
    }

    pub(crate) async fn seen(&mut self) -> Seen {
        match self.next().await {
            Happening::Shaken(seen) => seen,
            other => panic!("{other:?}"),
        }
    }

    /// The alert that ended a handshake from the server's point of view.
    pub(crate) async fn alert(&mut self) -> rustls::AlertDescription {
        match self.next().await {
            Happening::HandshakeFailed(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(rustls::Error::AlertReceived(alert)) => *alert,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What to dial to reach this server as `name`.
    pub(crate) fn dial(&self, name: &str, options: TlsOptions) -> Dial {
        Dial {
            server_name: name.to_owned(),
            tls: Some(TlsClient::lazy(options)),
            ..Dial::new(TransportKind::Tls, "127.0.0.1", self.port)
        }
    }
}
