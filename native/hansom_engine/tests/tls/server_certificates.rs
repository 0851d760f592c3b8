//! Which certificates of a server are accepted, and what the others are told.

use std::sync::Arc;

use hansom_engine::transport::{Identity, PrivateKey, Roots, TlsOptions};
use hansom_engine::{Dial, Error};
use rcgen::{BasicConstraints, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::AlertDescription;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::server::{
    Authority, Happening, Server, builder, key_of, plain_config, self_signed, within,
};
use crate::{TLS12, TLS13, connected, dial, echo, refused, unverified};

#[tokio::test]
async fn an_unknown_authority_is_refused_and_told() {
    let authority = Authority::new("root");
    let mut server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let stranger = Authority::new("other").trusted();
    let (alert, text) = refused(&server, "a.test", stranger).await;
    assert_eq!(alert, "unknown_ca");
    assert!(text.contains("CLIENT ALERT: Fatal - Unknown CA"), "{text}");
    assert_eq!(server.alert().await, AlertDescription::UnknownCA);

    let nobody = TlsOptions { roots: Roots::Der(vec![]), ..TlsOptions::default() };
    assert_eq!(refused(&server, "a.test", nobody).await.0, "unknown_ca");
}

#[tokio::test]
async fn without_options_of_its_own_tls_trusts_mozilla() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let target = Dial { tls: None, ..server.dial("a.test", TlsOptions::default()) };
    match within(dial(&target)).await {
        Err(Error::Tls { alert, .. }) => assert_eq!(alert.0, "unknown_ca"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn certificates_count_only_while_valid() {
    let authority = Authority::new("root");
    let expired = authority.issue_with(&["a.test"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = authority.issue_with(&["a.test"], |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
        params.not_after = date_time_ymd(3002, 1, 1);
    });
    for identity in [expired, early] {
        let mut server = Server::start(plain_config(&identity)).await;
        assert_eq!(refused(&server, "a.test", authority.trusted()).await.0, "certificate_expired");
        assert_eq!(server.alert().await, AlertDescription::CertificateExpired);
    }
}

#[tokio::test]
async fn names_follow_the_rules() {
    let authority = Authority::new("root");
    let identity = authority.issue_with(&["a.test", "*.wild.test"], |params| {
        params.distinguished_name.push(DnType::CommonName, "cn.test");
    });
    let mut server = Server::start(plain_config(&identity)).await;
    for name in ["a.test", "A.TEST", "a.test.", "b.wild.test"] {
        let mut link = connected(&server, name, authority.trusted()).await;
        within(echo(&mut link)).await.unwrap();
        let sni = server.seen().await.sni.unwrap();
        assert_eq!(sni, name.trim_end_matches('.').to_lowercase());
        drop(link);
        assert!(matches!(server.next().await, Happening::Ended(Ok(()))));
    }
    // Other names, wildcards one label deep only, and no falling back on the common name.
    for name in ["b.test", "wild.test", "c.b.wild.test", "cn.test", "127.0.0.1"] {
        let (alert, text) = refused(&server, name, authority.trusted()).await;
        assert_eq!(alert, "handshake_failure", "{name}");
        assert!(text.contains(name), "{text}");
        assert_eq!(server.alert().await, AlertDescription::BadCertificate);
    }
    let unchecked = TlsOptions { check_hostname: false, ..authority.trusted() };
    within(echo(&mut connected(&server, "b.test", unchecked).await)).await.unwrap();
}

#[tokio::test]
async fn addresses_are_verified_and_never_sent_as_names() {
    let authority = Authority::new("root");
    let identity = authority.issue_with(&["127.0.0.1"], |params| {
        params.subject_alt_names.push(SanType::IpAddress([0, 0, 0, 0, 0, 0, 0, 1].into()));
    });
    let mut server = Server::start(plain_config(&identity)).await;
    for name in ["127.0.0.1", "::1", "[::1]"] {
        within(echo(&mut connected(&server, name, authority.trusted()).await)).await.unwrap();
        assert_eq!(server.seen().await.sni, None);
        assert!(matches!(server.next().await, Happening::Ended(Ok(()))));
    }
    assert_eq!(refused(&server, "127.0.0.2", authority.trusted()).await.0, "handshake_failure");
}

#[tokio::test]
async fn a_self_signed_certificate_is_bad_unless_trusted() {
    let identity = self_signed("a.test", false);
    let server = Server::start(plain_config(&identity)).await;
    let trusting = |root: &Identity| TlsOptions {
        roots: Roots::Der(vec![root.chain[0].clone()]),
        ..TlsOptions::default()
    };
    let stranger = self_signed("other.test", false);
    assert_eq!(refused(&server, "a.test", trusting(&stranger)).await.0, "bad_certificate");
    within(echo(&mut connected(&server, "a.test", trusting(&identity)).await)).await.unwrap();
}

#[tokio::test]
async fn an_authority_is_no_server() {
    let identity = self_signed("a.test", true);
    let server = Server::start(plain_config(&identity)).await;
    let options =
        TlsOptions { roots: Roots::Der(vec![identity.chain[0].clone()]), ..TlsOptions::default() };
    let (alert, text) = refused(&server, "a.test", options).await;
    assert_eq!(alert, "bad_certificate");
    assert!(text.contains("CA:TRUE"), "{text}");
}

#[tokio::test]
async fn chains_may_be_as_long_as_the_depth_allows() {
    let root = Authority::new("root");
    let lower = root.intermediate("upper").intermediate("lower");
    let two = Server::start(plain_config(&lower.issue(&["a.test"]))).await;
    let none = Server::start(plain_config(&root.issue(&["a.test"]))).await;
    let options = |depth| TlsOptions { depth, ..root.trusted() };
    for depth in [None, Some(2), Some(100)] {
        within(echo(&mut connected(&two, "a.test", options(depth)).await)).await.unwrap();
    }
    let (alert, text) = refused(&two, "a.test", options(Some(1))).await;
    assert_eq!(alert, "handshake_failure");
    assert!(text.contains("too long"), "{text}");
    within(echo(&mut connected(&none, "a.test", options(Some(0))).await)).await.unwrap();
}

#[tokio::test]
async fn an_intermediate_authority_can_be_the_root() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let identity = middle.issue(&["a.test"]);
    let server = Server::start(plain_config(&identity)).await;
    let options =
        TlsOptions { roots: Roots::Der(vec![identity.chain[1].clone()]), ..TlsOptions::default() };
    within(echo(&mut connected(&server, "a.test", options).await)).await.unwrap();
}

#[tokio::test]
async fn an_intermediate_without_the_right_to_sign_is_refused() {
    let root = Authority::new("root");
    let key = KeyPair::generate().unwrap();
    let impostor = root.issue_for(&key, &["impostor.test"], |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.distinguished_name.push(DnType::CommonName, "impostor");
    });
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "impostor");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["a.test".to_owned()])
        .unwrap()
        .signed_by(&leaf_key, &rcgen::Issuer::from_params(&params, &key))
        .unwrap();
    let identity = Identity {
        chain: vec![leaf.der().to_vec(), impostor.chain[0].clone()],
        key: PrivateKey::Pkcs8(leaf_key.serialize_der()),
    };
    let server = Server::start(plain_config(&identity)).await;
    assert_eq!(refused(&server, "a.test", root.trusted()).await.0, "bad_certificate");
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let expired = Authority::new("root").issue_with(&["b.test"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    for identity in [self_signed("a.test", true), self_signed("b.test", false), expired] {
        let server = Server::start(plain_config(&identity)).await;
        let mut link = connected(&server, "a.test", unverified()).await;
        within(echo(&mut link)).await.unwrap();
        assert_eq!(link.peer_certificate(), Ok(identity.chain[0].clone()));
    }
}

/// Presents a certificate and signs with a key, whether or not they belong together.
#[derive(Debug)]
struct Presenting(Arc<CertifiedKey>);

impl Presenting {
    fn config(
        certificate: Vec<u8>,
        identity: &Identity,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key_of(identity)).unwrap();
        let pair = CertifiedKey::new(vec![certificate.into()], key);
        builder(versions).with_no_client_auth().with_cert_resolver(Arc::new(Self(Arc::new(pair))))
    }
}

impl ResolvesServerCert for Presenting {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The first DER element of `input`, as tag, content and rest.
fn element(input: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, header) = match input[1] {
        0x81 => (usize::from(input[2]), 3),
        0x82 => (usize::from(input[2]) << 8 | usize::from(input[3]), 4),
        short => (usize::from(short), 2),
    };
    (input[0], &input[header..header + length], &input[header + length..])
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|octet| *octet != 0).unwrap();
    let length = &length[significant..];
    let header = match length {
        [short @ 0..0x80] => vec![0x30, *short],
        long => [&[0x30, 0x80 | u8::try_from(long.len()).unwrap()], long].concat(),
    };
    [header.as_slice(), content].concat()
}

/// The certificate as X.509 version 1: neither version nor extensions. Its signature is void.
fn as_version_1(certificate: &[u8]) -> Vec<u8> {
    let (_, certificate, _) = element(certificate);
    let (_, to_be_signed, signature) = element(certificate);
    let mut kept = Vec::new();
    let mut rest = to_be_signed;
    while !rest.is_empty() {
        let (tag, _, after) = element(rest);
        if !matches!(tag, 0xa0 | 0xa3) {
            kept.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    sequence(&[sequence(&kept).as_slice(), signature].concat())
}

#[tokio::test]
async fn old_certificates_are_accepted_without_verification_only() {
    let identity = self_signed("a.test", false);
    let old = as_version_1(&identity.chain[0]);
    for versions in [TLS12, TLS13] {
        let server = Server::start(Presenting::config(old.clone(), &identity, versions)).await;
        let mut link = connected(&server, "a.test", unverified()).await;
        within(echo(&mut link)).await.unwrap();
        assert_eq!(link.peer_certificate(), Ok(old.clone()));
        let trusting = TlsOptions { roots: Roots::Der(vec![old.clone()]), ..unverified() };
        let verifying = TlsOptions { verify: true, ..trusting };
        assert_eq!(refused(&server, "a.test", verifying).await.0, "bad_certificate");
    }
}

#[tokio::test]
async fn a_server_without_the_key_is_refused_even_without_verification() {
    let shown = self_signed("a.test", false);
    let held = self_signed("a.test", false);
    let certificates = [shown.chain[0].clone(), as_version_1(&shown.chain[0])];
    for certificate in certificates {
        for versions in [TLS12, TLS13] {
            let config = Presenting::config(certificate.clone(), &held, versions);
            let server = Server::start(config).await;
            assert_eq!(refused(&server, "a.test", unverified()).await.0, "bad_certificate");
        }
    }
}
