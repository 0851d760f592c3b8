//! Certificates made on the spot, and server configurations with them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hansom_engine::transport::{Identity, PrivateKey, Roots, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

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
