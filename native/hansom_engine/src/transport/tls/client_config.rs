//! From options to a rustls configuration.

use std::borrow::Cow;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CipherSuite, ClientConfig, InconsistentKeys, KeyLogFile, NamedGroup, RootCertStore,
    SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
};

use super::verify::{Trust, Verifier};
use super::{Identity, PrivateKey, Roots, Sni, TlsOptions, TlsVersion};
use crate::error::Error;
use crate::transport::quic::Prepared;

/// Sessions kept per configuration; rustls counts eight tickets a server.
const SESSIONS: usize = 128 * 8;

fn refused(name: &'static str, reason: impl Into<Cow<'static, str>>) -> Error {
    Error::Option { name: name.into(), reason: reason.into() }
}

/// Nothing the option asks for is there.
fn unsupported(name: &'static str) -> Error {
    refused(name, "")
}

pub(super) fn build(options: &TlsOptions) -> Result<ClientConfig, Error> {
    build_with_verifier(options).map(|(config, _)| config)
}

/// The configuration for QUIC connections that speak HTTP/3, which is over TLS 1.3 (RFC 9001,
/// section 4.2); the rest is as `options` say.
pub(super) fn build_quic(options: &TlsOptions) -> Result<Prepared, Error> {
    if !options.versions.contains(&TlsVersion::Tls13) {
        return Err(unsupported("versions"));
    }
    let options = TlsOptions {
        versions: vec![TlsVersion::Tls13],
        alpn: vec![b"h3".to_vec()],
        ..options.clone()
    };
    let (config, verifier) = build_with_verifier(&options)?;
    Prepared::new(config, verifier, options.resumption)
}

fn build_with_verifier(options: &TlsOptions) -> Result<(ClientConfig, Arc<Verifier>), Error> {
    let provider = provider(options)?;
    let versions = versions(options, &provider)?;
    let schemes = schemes(options, &provider)?;
    let identities = identities(&options.identity, &provider, &schemes)?;
    let trust = if options.verify {
        Some(Trust {
            roots: roots(&options.roots)?,
            depth: options.depth,
            check_hostname: options.check_hostname,
        })
    } else {
        None
    };
    let verifier =
        Arc::new(Verifier::new(trust, schemes, provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .map_err(|error| refused("versions", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone());
    let mut config = if identities.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(Identities(identities)))
    };
    config.enable_sni = options.sni == Sni::Default;
    config.alpn_protocols = alpn(&options.alpn)?;
    config.resumption = if options.resumption {
        Resumption::in_memory_sessions(SESSIONS)
    } else {
        Resumption::disabled()
    };
    if options.key_log {
        config.key_log = Arc::new(KeyLogFile::new());
    }
    Ok((config, verifier))
}

fn provider(options: &TlsOptions) -> Result<CryptoProvider, Error> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(wanted) = &options.cipher_suites {
        provider.cipher_suites = wanted
            .iter()
            .filter_map(|id| {
                let id = CipherSuite::from(*id);
                aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|suite| suite.suite() == id)
            })
            .copied()
            .collect();
        if provider.cipher_suites.is_empty() {
            return Err(unsupported("ciphers"));
        }
    }
    if let Some(wanted) = &options.groups {
        provider.kx_groups = wanted
            .iter()
            .filter_map(|id| {
                let id = NamedGroup::from(*id);
                aws_lc_rs::ALL_KX_GROUPS.iter().find(|group| group.name() == id)
            })
            .copied()
            .collect();
        if provider.kx_groups.is_empty() {
            return Err(unsupported("supported_groups"));
        }
    }
    Ok(provider)
}

/// The versions asked for that a cipher suite is left for: offering another could only fail.
fn versions(
    options: &TlsOptions,
    provider: &CryptoProvider,
) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    if options.versions.is_empty() {
        return Err(unsupported("versions"));
    }
    let versions: Vec<_> = [
        (TlsVersion::Tls13, &rustls::version::TLS13),
        (TlsVersion::Tls12, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| options.versions.contains(version))
    .map(|(_, version)| version)
    .filter(|version| provider.cipher_suites.iter().any(|suite| suite.version() == *version))
    .collect();
    if versions.is_empty() {
        return Err(unsupported("ciphers"));
    }
    Ok(versions)
}

fn schemes(options: &TlsOptions, provider: &CryptoProvider) -> Result<Vec<SignatureScheme>, Error> {
    let supported = provider.signature_verification_algorithms.supported_schemes();
    let Some(wanted) = &options.signature_schemes else { return Ok(supported) };
    let schemes: Vec<_> = wanted
        .iter()
        .map(|id| SignatureScheme::from(*id))
        .filter(|scheme| supported.contains(scheme))
        .collect();
    if schemes.is_empty() {
        return Err(unsupported("signature_algs"));
    }
    Ok(schemes)
}

fn roots(roots: &Roots) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Mozilla => store.roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let reason = found.errors.first().map_or_else(
                    || "the system has no root certificates".into(),
                    ToString::to_string,
                );
                return Err(refused("cacerts", reason));
            }
        }
        Roots::Der(certificates) => {
            let certificates = certificates.iter().map(|der| CertificateDer::from(der.as_slice()));
            let (_, unusable) = store.add_parsable_certificates(certificates);
            if store.is_empty() && unusable > 0 {
                return Err(refused("cacerts", "no certificate can be parsed"));
            }
        }
    }
    Ok(store)
}

fn alpn(protocols: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    // The length is one octet on the wire, and may not be zero (RFC 7301, section 3.1).
    if protocols.iter().any(|name| name.is_empty() || name.len() > 255) {
        return Err(refused("alpn_advertised_protocols", "a name is empty or too long"));
    }
    Ok(protocols.to_vec())
}

/// The usable pairs, in order. At least one must be usable if any is given.
fn identities(
    given: &[Identity],
    provider: &CryptoProvider,
    schemes: &[SignatureScheme],
) -> Result<Vec<Arc<CertifiedKey>>, Error> {
    let mut usable = Vec::with_capacity(given.len());
    let mut first_error = None;
    for identity in given {
        match certified_key(identity, provider, schemes) {
            Ok(pair) => usable.push(Arc::new(pair)),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if usable.is_empty() => Err(error),
        _ => Ok(usable),
    }
}

fn certified_key(
    identity: &Identity,
    provider: &CryptoProvider,
    schemes: &[SignatureScheme],
) -> Result<CertifiedKey, Error> {
    if identity.chain.is_empty() {
        return Err(refused("cert", "no certificate"));
    }
    let key = match &identity.key {
        PrivateKey::Pkcs8(der) => PrivateKeyDer::Pkcs8(der.clone().into()),
        PrivateKey::Pkcs1(der) => PrivateKeyDer::Pkcs1(der.clone().into()),
        PrivateKey::Sec1(der) => PrivateKeyDer::Sec1(der.clone().into()),
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| refused("key", error.to_string()))?;
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let pair = CertifiedKey::new(chain, Arc::new(Restricted { key, schemes: schemes.to_vec() }));
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(refused("key", "is not the key of the certificate"))
        }
        Err(error) => Err(refused("cert", error.to_string())),
    }
}

/// A key that signs with the configured schemes only.
#[derive(Debug)]
struct Restricted {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

impl SigningKey for Restricted {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let allowed: Vec<_> =
            offered.iter().filter(|scheme| self.schemes.contains(scheme)).copied().collect();
        self.key.choose_scheme(&allowed)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

/// Picks the first pair that can sign as the server asks.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        offered: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|pair| pair.key.choose_scheme(offered).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option_of(options: &TlsOptions) -> String {
        match build(options) {
            Err(Error::Option { name, .. }) => name.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn post_quantum_is_preferred() {
        let config = build(&TlsOptions::default()).unwrap();
        let first = config.crypto_provider().kx_groups[0].name();
        assert_eq!(first, NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn lists_are_filtered_in_the_order_given() {
        let options = TlsOptions {
            cipher_suites: Some(vec![0x0005, 0xc02f, 0x1301]),
            groups: Some(vec![0x0017, 0x0001, 0x001d]),
            ..TlsOptions::default()
        };
        let config = build(&options).unwrap();
        let suites: Vec<u16> =
            config.crypto_provider().cipher_suites.iter().map(|s| s.suite().into()).collect();
        let groups: Vec<u16> =
            config.crypto_provider().kx_groups.iter().map(|g| g.name().into()).collect();
        assert_eq!(suites, [0xc02f, 0x1301]);
        assert_eq!(groups, [0x0017, 0x001d]);
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let base = TlsOptions::default;
        assert_eq!(option_of(&TlsOptions { cipher_suites: Some(vec![5]), ..base() }), "ciphers");
        assert_eq!(option_of(&TlsOptions { groups: Some(vec![1]), ..base() }), "supported_groups");
        assert_eq!(
            option_of(&TlsOptions { signature_schemes: Some(vec![0x0201]), ..base() }),
            "signature_algs"
        );
        assert_eq!(option_of(&TlsOptions { versions: vec![], ..base() }), "versions");
        let tls12_suite = Some(vec![0xc02f]);
        assert_eq!(
            option_of(&TlsOptions {
                versions: vec![TlsVersion::Tls13],
                cipher_suites: tls12_suite,
                ..base()
            }),
            "ciphers"
        );
        assert_eq!(
            option_of(&TlsOptions { roots: Roots::Der(vec![vec![1]]), ..base() }),
            "cacerts"
        );
        assert_eq!(
            option_of(&TlsOptions { alpn: vec![vec![0; 256]], ..base() }),
            "alpn_advertised_protocols"
        );
        let identity = |chain, key| vec![Identity { chain, key: PrivateKey::Pkcs8(key) }];
        assert_eq!(option_of(&TlsOptions { identity: identity(vec![], vec![]), ..base() }), "cert");
        assert_eq!(
            option_of(&TlsOptions { identity: identity(vec![vec![1]], vec![1]), ..base() }),
            "key"
        );
    }

    #[test]
    fn a_key_must_fit_its_certificate() {
        let certificate = rcgen::generate_simple_self_signed(["a.test".into()]).unwrap();
        let stranger = rcgen::KeyPair::generate().unwrap();
        let pair = |key: &rcgen::KeyPair| Identity {
            chain: vec![certificate.cert.der().to_vec()],
            key: PrivateKey::Pkcs8(key.serialize_der()),
        };
        let with = |identity| TlsOptions { identity, ..TlsOptions::default() };
        assert_eq!(option_of(&with(vec![pair(&stranger)])), "key");
        let second_fits = with(vec![pair(&stranger), pair(&certificate.signing_key)]);
        assert!(build(&second_fits).unwrap().client_auth_cert_resolver.has_certs());
    }
}
