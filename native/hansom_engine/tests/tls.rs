//! TLS as a server sees it, and what comes of servers that misbehave.

mod tls_server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hansom_engine::connect::{dial, upgrade};
use hansom_engine::transport::{
    Address, Identity, Link, PrivateKey, Roots, Sni, TlsClient, TlsOptions, TlsVersion,
};
use hansom_engine::{Dial, Error, TransportKind};
use rcgen::{BasicConstraints, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::AlertDescription;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use tls_server::{
    Authority, Happening, Server, builder, chain_of, config_asking_for, config_for, key_of,
    plain_config, self_signed, within,
};

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

async fn echo(link: &mut Link) -> Result<(), Error> {
    let mut answer = [0; 4];
    link.write_all(b"ping").await?;
    link.flush().await?;
    link.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

async fn connected(server: &Server, name: &str, options: TlsOptions) -> Link {
    within(dial(&server.dial(name, options))).await.unwrap()
}

/// The name of the alert a dial ends with, and its text.
async fn refused(server: &Server, name: &str, options: TlsOptions) -> (&'static str, String) {
    match within(dial(&server.dial(name, options))).await {
        Err(Error::Tls { alert, text }) => (alert.0, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_verified_connection_carries_data() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.test"]);
    let mut config = plain_config(&identity);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut server = Server::start(config).await;
    let options =
        TlsOptions { alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()], ..authority.trusted() };
    let mut link = connected(&server, "a.test", options).await;

    within(echo(&mut link)).await.unwrap();
    assert!(link.is_tls());
    assert_eq!(link.alpn(), Some(b"http/1.1".as_slice()));
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls13));
    assert_eq!(link.peer_certificate(), Ok(identity.chain[0].clone()));
    let peer: SocketAddr = ([127, 0, 0, 1], server.port).into();
    assert_eq!(link.peer_address(), Ok(Address::Ip(peer)));
    assert_eq!(link.check(), Ok(()));
    let seen = server.seen().await;
    assert_eq!(seen.sni.as_deref(), Some("a.test"));
    assert_eq!(seen.group, Some(0x11ec), "X25519MLKEM768");
    assert_eq!(seen.client_certificate, None);
}

#[tokio::test]
async fn large_writes_arrive_whole() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let link = connected(&server, "a.test", authority.trusted()).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let (mut reader, mut writer) = tokio::io::split(link);
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut received = vec![0; expected.len()];
    within(reader.read_exact(&mut received)).await.unwrap();
    assert!(received == expected);
    within(writing).await.unwrap();
}

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
async fn tls_runs_over_ipv6() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["::1"]);
    let server = Server::start_at("[::1]:0", plain_config(&identity)).await;
    let target = Dial {
        tls: Some(TlsClient::new(&authority.trusted()).unwrap()),
        ..Dial::new(TransportKind::Tls, "[::1]", server.port)
    };
    within(echo(&mut within(dial(&target)).await.unwrap())).await.unwrap();
}

#[tokio::test]
async fn the_name_is_not_sent_if_switched_off_but_still_verified() {
    let authority = Authority::new("root");
    let mut server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options = || TlsOptions { sni: Sni::Disabled, ..authority.trusted() };
    let link = connected(&server, "a.test", options()).await;
    assert_eq!(server.seen().await.sni, None);
    drop(link);
    assert_eq!(refused(&server, "b.test", options()).await.0, "handshake_failure");
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
    assert!(text.contains("CaUsedAsEndEntity"), "{text}");
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

fn unverified() -> TlsOptions {
    TlsOptions { verify: false, ..TlsOptions::default() }
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

#[tokio::test]
async fn a_client_shows_its_certificate_when_asked() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let me = clients.issue(&["me.test"]);
    for versions in [TLS12, TLS13] {
        let config = config_asking_for(&authority.issue(&["a.test"]), &clients, versions);
        let mut server = Server::start(config).await;
        let options = TlsOptions { identity: vec![me.clone()], ..authority.trusted() };
        within(echo(&mut connected(&server, "a.test", options).await)).await.unwrap();
        assert_eq!(server.seen().await.client_certificate, Some(me.chain[0].clone()));
    }
}

#[tokio::test]
async fn the_first_pair_that_suits_is_shown() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let first = clients.issue_for(&p384, &["first.test"], |_| {});
    let second = clients.issue(&["second.test"]);
    let config = config_asking_for(&authority.issue(&["a.test"]), &clients, TLS13);
    let mut server = Server::start(config).await;
    let options = |signature_schemes| TlsOptions {
        identity: vec![first.clone(), second.clone()],
        signature_schemes,
        ..authority.trusted()
    };
    within(echo(&mut connected(&server, "a.test", options(None)).await)).await.unwrap();
    assert_eq!(server.seen().await.client_certificate, Some(first.chain[0].clone()));
    assert!(matches!(server.next().await, Happening::Ended(Ok(()))));
    let only_p256 = options(Some(vec![0x0403]));
    within(echo(&mut connected(&server, "a.test", only_p256).await)).await.unwrap();
    assert_eq!(server.seen().await.client_certificate, Some(second.chain[0].clone()));
}

#[tokio::test]
async fn a_missing_client_certificate_is_the_servers_alert() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let identity = authority.issue(&["a.test"]);
    let server = Server::start(config_asking_for(&identity, &clients, TLS12)).await;
    let (alert, text) = refused(&server, "a.test", authority.trusted()).await;
    assert_eq!(alert, "certificate_required");
    assert_eq!(text, "TLS client: received SERVER ALERT: Fatal - Certificate required\n");

    // In TLS 1.3 the client is done before the server has judged: the alert meets the first read.
    let server = Server::start(config_asking_for(&identity, &clients, TLS13)).await;
    let mut link = connected(&server, "a.test", authority.trusted()).await;
    match Error::from(within(link.read_u8()).await.unwrap_err()) {
        Error::Tls { alert, .. } => assert_eq!(alert.0, "certificate_required"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stranger_among_clients_is_the_servers_alert() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let config = config_asking_for(&authority.issue(&["a.test"]), &clients, TLS12);
    let server = Server::start(config).await;
    let identity = vec![Authority::new("other").issue(&["me.test"])];
    let options = TlsOptions { identity, ..authority.trusted() };
    let (alert, text) = refused(&server, "a.test", options).await;
    assert_eq!(alert, "unknown_ca");
    assert!(text.contains("received SERVER ALERT"), "{text}");
}

#[tokio::test]
async fn only_the_versions_asked_for_are_spoken() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.test"]);
    let old = Server::start(config_for(&identity, TLS12)).await;
    let new = Server::start(config_for(&identity, TLS13)).await;
    let only = |version| TlsOptions { versions: vec![version], ..authority.trusted() };

    let mut link = connected(&old, "a.test", authority.trusted()).await;
    within(echo(&mut link)).await.unwrap();
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls12));
    let mut link = connected(&new, "a.test", only(TlsVersion::Tls13)).await;
    within(echo(&mut link)).await.unwrap();
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls13));

    let (alert, text) = refused(&old, "a.test", only(TlsVersion::Tls13)).await;
    assert_eq!(alert, "protocol_version");
    assert!(text.contains("received SERVER ALERT"), "{text}");
    assert_eq!(refused(&new, "a.test", only(TlsVersion::Tls12)).await.0, "protocol_version");
}

#[tokio::test]
async fn suites_and_groups_can_be_chosen() {
    const AES_256: u16 = 0x1302;
    const SECP384R1: u16 = 0x0018;
    let authority = Authority::new("root");
    let mut server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options = TlsOptions {
        cipher_suites: Some(vec![AES_256]),
        groups: Some(vec![SECP384R1]),
        ..authority.trusted()
    };
    let _link = connected(&server, "a.test", options).await;
    let seen = server.seen().await;
    assert_eq!((seen.cipher_suite, seen.group), (AES_256, Some(SECP384R1)));
}

#[tokio::test]
async fn signature_schemes_bind_the_server() {
    const RSA_PSS_SHA256: u16 = 0x0804;
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options =
        TlsOptions { signature_schemes: Some(vec![RSA_PSS_SHA256]), ..authority.trusted() };
    let (alert, text) = refused(&server, "a.test", options).await;
    assert_eq!(alert, "handshake_failure");
    assert!(text.contains("received SERVER ALERT"), "{text}");
}

#[tokio::test]
async fn no_common_application_protocol_is_the_servers_alert() {
    let authority = Authority::new("root");
    let mut config = plain_config(&authority.issue(&["a.test"]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = Server::start(config).await;
    let options = TlsOptions { alpn: vec![b"http/1.1".to_vec()], ..authority.trusted() };
    assert_eq!(refused(&server, "a.test", options).await.0, "no_application_protocol");
}

#[tokio::test]
async fn sessions_are_resumed_under_equal_options_only() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.test", "b.test"]);
    for (versions, alpn) in [(TLS12, "resumption/1.2"), (TLS13, "resumption/1.3")] {
        let mut config = config_for(&identity, versions);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let server = Server::start(config).await;
        // The protocol keeps these options apart from those of other tests.
        let options = TlsOptions { alpn: vec![alpn.as_bytes().to_vec()], ..authority.trusted() };
        let resumed = async |name: &str, options: &TlsOptions| {
            let mut link = connected(&server, name, options.clone()).await;
            within(echo(&mut link)).await.unwrap();
            assert_eq!(link.alpn(), Some(alpn.as_bytes()));
            assert_eq!(link.peer_certificate(), Ok(identity.chain[0].clone()));
            link.resumed()
        };
        assert!(!resumed("a.test", &options).await);
        assert!(resumed("a.test", &options).await);
        assert!(!resumed("b.test", &options).await, "another name");

        let others = [
            TlsOptions { verify: false, ..options.clone() },
            TlsOptions { check_hostname: false, ..options.clone() },
            TlsOptions {
                roots: Roots::Der(vec![authority.root.clone(), Authority::new("x").root]),
                ..options.clone()
            },
            TlsOptions { depth: Some(3), ..options.clone() },
            TlsOptions { identity: vec![authority.issue(&["me.test"])], ..options.clone() },
        ];
        for other in others {
            assert!(!resumed("a.test", &other).await, "{other:?}");
            assert!(resumed("a.test", &other).await, "{other:?}");
        }
        let never = TlsOptions { resumption: false, ..options.clone() };
        assert!(!resumed("a.test", &never).await);
        assert!(!resumed("a.test", &never).await);
    }
}

#[tokio::test]
async fn an_unverified_session_opens_no_verified_connection() {
    let server = Server::start(plain_config(&self_signed("a.test", false))).await;
    for _ in 0..2 {
        within(echo(&mut connected(&server, "a.test", unverified()).await)).await.unwrap();
    }
    let verifying = TlsOptions::default();
    assert_eq!(refused(&server, "a.test", verifying).await.0, "bad_certificate");
}

#[tokio::test]
async fn bad_options_come_out_of_the_dial() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options = TlsOptions { cipher_suites: Some(vec![0x0005]), ..authority.trusted() };
    assert!(TlsClient::new(&options).is_err());
    match within(dial(&server.dial("a.test", options))).await {
        Err(Error::Option { name, .. }) => assert_eq!(name, "ciphers"),
        other => panic!("{other:?}"),
    }
    match within(dial(&server.dial("a b", authority.trusted()))).await {
        Err(Error::Option { name, .. }) => assert_eq!(name, "server_name_indication"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn closing_says_so() {
    let authority = Authority::new("root");
    for versions in [TLS12, TLS13] {
        let config = config_for(&authority.issue(&["a.test"]), versions);
        let mut server = Server::start(config).await;
        let mut link = connected(&server, "a.test", authority.trusted()).await;
        within(echo(&mut link)).await.unwrap();
        server.seen().await;
        link.close();
        assert!(matches!(server.next().await, Happening::Ended(Ok(()))));
    }
}

#[tokio::test]
async fn the_stream_ends_with_or_without_close_notify() {
    let authority = Authority::new("root");
    let config = Arc::new(plain_config(&authority.issue(&["a.test"])));
    for polite in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        let serving = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(socket).await.unwrap();
            stream.write_all(b"last words").await.unwrap();
            stream.flush().await.unwrap();
            if polite {
                stream.shutdown().await.unwrap();
            } else {
                let (mut socket, _) = stream.into_inner();
                socket.shutdown().await.unwrap();
            }
        });
        let target = Dial {
            server_name: "a.test".into(),
            tls: Some(TlsClient::lazy(authority.trusted())),
            ..Dial::new(TransportKind::Tls, "127.0.0.1", port)
        };
        let mut link = within(dial(&target)).await.unwrap();
        let mut text = String::new();
        within(link.read_to_string(&mut text)).await.unwrap();
        assert_eq!(text, "last words");
        within(serving).await.unwrap();
    }
}

/// A server that answers the first bytes it gets with `answer`, if anything, and then closes.
async fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 4096];
        let _ = socket.read(&mut hello).await;
        let _ = socket.write_all(answer).await;
        let _ = socket.shutdown().await;
        // Read on, so that closing resets nothing.
        while socket.read(&mut hello).await.is_ok_and(|count| count > 0) {}
    });
    port
}

#[tokio::test]
async fn what_does_not_speak_tls_is_told_apart() {
    let failure = async |answer| {
        let port = answering(answer).await;
        within(dial(&Dial::new(TransportKind::Tls, "127.0.0.1", port))).await.unwrap_err()
    };
    match failure(b"HTTP/1.1 400 Bad Request\r\n\r\n").await {
        Error::Tls { alert, text } => {
            assert_eq!(alert.0, "unexpected_message");
            assert!(text.contains("generated CLIENT ALERT"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(failure(b"").await, Error::Closed);
    // An alert in the clear: level fatal, unrecognized_name.
    match failure(&[0x15, 3, 3, 0, 2, 2, 112]).await {
        Error::Tls { alert, .. } => assert_eq!(alert.0, "unrecognized_name"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_silent_handshake_is_bounded_and_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Dial {
        connect_timeout: Some(Duration::from_millis(100)),
        ..Dial::new(TransportKind::Tls, "127.0.0.1", port)
    };
    let dialling = tokio::spawn(async move { dial(&target).await.map(drop) });
    let (mut socket, _) = within(listener.accept()).await.unwrap();
    assert_eq!(within(dialling).await.unwrap(), Err(Error::Timeout));
    let mut hello = Vec::new();
    within(socket.read_to_end(&mut hello)).await.unwrap();
    assert_eq!(hello.first(), Some(&0x16), "a handshake record came, then the end");
}

#[tokio::test]
async fn an_abandoned_dial_closes_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Dial { connect_timeout: None, ..Dial::new(TransportKind::Tls, "127.0.0.1", port) };
    let dialling = tokio::spawn(async move { dial(&target).await.map(drop) });
    let (mut socket, _) = within(listener.accept()).await.unwrap();
    assert_eq!(within(socket.read_u8()).await.unwrap(), 0x16);
    dialling.abort();
    assert!(within(dialling).await.unwrap_err().is_cancelled());
    within(socket.read_to_end(&mut Vec::new())).await.unwrap();
}

#[tokio::test]
async fn an_open_link_is_upgraded_once() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let plain =
        within(dial(&Dial::new(TransportKind::Tcp, "127.0.0.1", server.port))).await.unwrap();
    assert!(!plain.is_tls());
    assert_eq!(plain.peer_certificate(), Err(Error::NotTls));
    assert_eq!((plain.alpn(), plain.tls_version(), plain.resumed()), (None, None, false));
    let client = TlsClient::lazy(authority.trusted());
    let mut link = within(upgrade(plain, &client, "a.test")).await.unwrap();
    within(echo(&mut link)).await.unwrap();
    let mut again = within(upgrade(link, &client, "other.test")).await.unwrap();
    within(echo(&mut again)).await.unwrap();
}

#[tokio::test]
async fn tls_runs_over_a_unix_socket() {
    let authority = Authority::new("root");
    let config = plain_config(&authority.issue(&["a.test"]));
    let folder = std::env::temp_dir().join(format!("hansom-tls-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let listener = UnixListener::bind(&folder).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(acceptor.accept(socket).await.unwrap());
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let socket = UnixStream::connect(&folder).await.unwrap();
    std::fs::remove_file(&folder).unwrap();
    let client = TlsClient::lazy(authority.trusted());
    let mut link = within(upgrade(Link::from(socket), &client, "a.test")).await.unwrap();
    within(echo(&mut link)).await.unwrap();
}

/// Writes on `link` from where no runtime is, as a thread of the virtual machine does.
fn write_now(link: &mut Link, waker: &Waker, data: &[u8]) {
    let mut cx = Context::from_waker(waker);
    match std::pin::Pin::new(&mut *link).poll_write(&mut cx, data) {
        Poll::Ready(Ok(count)) => assert_eq!(count, data.len()),
        other => panic!("{other:?}"),
    }
    assert!(std::pin::Pin::new(link).poll_flush(&mut cx).is_ready());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thread_without_a_runtime_can_poll() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let tls = connected(&server, "a.test", authority.trusted()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = socket.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let tcp = within(dial(&Dial::new(TransportKind::Tcp, "127.0.0.1", port))).await.unwrap();
    for link in [tls, tcp] {
        let link = Arc::new(std::sync::Mutex::new(link));
        let (task, waker) = tokio::sync::oneshot::channel();
        // The task waits for data first, so that only its waker can tell it of the answer.
        let reading = tokio::spawn({
            let link = Arc::clone(&link);
            let mut task = Some(task);
            let mut received = Vec::new();
            std::future::poll_fn(move |cx| {
                loop {
                    let mut space = [0; 16];
                    let mut buffer = ReadBuf::new(&mut space);
                    let mut link = link.lock().unwrap();
                    match std::pin::Pin::new(&mut *link).poll_read(cx, &mut buffer) {
                        Poll::Ready(result) => {
                            result.unwrap();
                            received.extend_from_slice(buffer.filled());
                            if received == b"from outside" {
                                return Poll::Ready(());
                            }
                            assert!(!buffer.filled().is_empty(), "the stream ended");
                        }
                        Poll::Pending => {
                            if let Some(task) = task.take() {
                                task.send(cx.waker().clone()).unwrap();
                            }
                            return Poll::Pending;
                        }
                    }
                }
            })
        });
        let waker = within(waker).await.unwrap();
        std::thread::spawn(move || {
            assert!(tokio::runtime::Handle::try_current().is_err());
            let mut link = link.lock().unwrap();
            write_now(&mut link, &waker, b"from outside");
        });
        within(reading).await.unwrap();
    }
}

#[test]
fn a_link_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let authority = Authority::new("root");
    let link = runtime.block_on(async {
        let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
        connected(&server, "a.test", authority.trusted()).await
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    std::thread::spawn(move || link.close()).join().unwrap();
}

/// Runs itself again with the environment variable set, which this process must not change.
#[test]
fn secrets_are_logged_when_asked() {
    if std::env::var_os("SSLKEYLOGFILE").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let authority = Authority::new("root");
            let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
            let key_log = std::env::var_os("HANSOM_TEST_KEY_LOG").is_some();
            let options = TlsOptions { key_log, ..authority.trusted() };
            within(echo(&mut connected(&server, "a.test", options).await)).await.unwrap();
        });
        return;
    }
    let file = std::env::temp_dir().join(format!("hansom-keys-{}", std::process::id()));
    let run = |asked: bool| {
        let _ = std::fs::remove_file(&file);
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "secrets_are_logged_when_asked"]).env("SSLKEYLOGFILE", &file);
        if asked {
            child.env("HANSOM_TEST_KEY_LOG", "1");
        }
        assert!(child.output().unwrap().status.success());
        std::fs::read_to_string(&file).unwrap_or_default()
    };
    assert!(run(true).contains("CLIENT_TRAFFIC_SECRET_0 "));
    assert_eq!(run(false), "");
    let _ = std::fs::remove_file(&file);
}

#[tokio::test]
async fn chains_are_sent_whole() {
    let root = Authority::new("root");
    let clients = Authority::new("clients");
    let me = clients.intermediate("department").issue(&["me.test"]);
    assert_eq!(chain_of(&me).len(), 2);
    let server = Server::start(config_asking_for(&root.issue(&["a.test"]), &clients, TLS13)).await;
    let options = TlsOptions { identity: vec![me], ..root.trusted() };
    within(echo(&mut connected(&server, "a.test", options).await)).await.unwrap();
}
