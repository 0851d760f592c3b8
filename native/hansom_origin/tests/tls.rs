//! Certificates and TLS listeners, against a rustls client that verifies.

mod client;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{exchange, local, read_all, soon};
use hansom_origin::certs;
use hansom_origin::listener::{Config, Origin, StartError};
use hansom_origin::tls::{ClientAuth, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn written() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    certs::write(folder.path()).expect("certificates");
    folder
}

async fn start(tls: Tls) -> Origin {
    let config = Config { https: vec![local()], tls: Some(tls), ..Config::default() };
    Origin::start(config).await.expect("an origin")
}

fn named(folder: &Path, name: &str) -> Tls {
    Tls { name: name.into(), ..Tls::new(folder) }
}

fn chain(path: PathBuf) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .expect("a file")
        .map(|certificate| certificate.expect("a certificate"))
        .collect()
}

struct Client<'a> {
    folder: &'a Path,
    name: &'static str,
    identity: Option<&'static str>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    alpn: &'static [&'static str],
}

impl<'a> Client<'a> {
    fn new(folder: &'a Path) -> Self {
        let versions = vec![&TLS13, &TLS12];
        Client { folder, name: "localhost", identity: None, versions, alpn: &[] }
    }

    async fn connect(&self, origin: &Origin) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for authority in chain(self.folder.join("ca.pem")) {
            roots.add(authority).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = self.folder.join(format!("{name}-key.pem"));
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder
                    .with_client_auth_cert(chain(self.folder.join(format!("{name}.pem"))), key)
                    .expect("an identity")
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = soon(TcpStream::connect(origin.https()[0])).await.expect("a connection");
        let name = ServerName::try_from(self.name).expect("a server name");
        soon(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
    }

    async fn show(&self, origin: &Origin) -> String {
        let stream = self.connect(origin).await.expect("a handshake");
        exchange(stream, "GET", "/connection", "", b"").await.text()
    }

    async fn refusal(&self, origin: &Origin) -> rustls::Error {
        let reason = self.connect(origin).await.expect_err("a failed handshake");
        let reason = reason.into_inner().expect("a cause");
        *reason.downcast::<rustls::Error>().expect("an error of TLS")
    }
}

#[tokio::test]
async fn good_certificates_are_good() {
    let folder = written();
    for name in ["server", "server-rsa", "server-chain"] {
        let origin = start(named(folder.path(), name)).await;
        for (host, shown) in [("localhost", "localhost"), ("127.0.0.1", "none"), ("::1", "none")] {
            let text = Client { name: host, ..Client::new(folder.path()) }.show(&origin).await;
            assert!(text.contains(&format!("server-name: {shown}\n")), "{name} {host}: {text}");
            assert!(text.contains("tls: TLSv1_3\n"));
        }
    }
    let origin = start(named(folder.path(), "wildcard")).await;
    let wildcard = Client { name: "any.localhost.test", ..Client::new(folder.path()) };
    assert!(wildcard.show(&origin).await.contains("server-name: any.localhost.test\n"));
}

#[tokio::test]
async fn bad_certificates_are_bad_in_the_way_they_say() {
    use rustls::Error::InvalidCertificate;
    let folder = written();
    for (name, expected) in [
        ("expired", "Expired"),
        ("not-yet-valid", "NotValidYet"),
        ("wrong-name", "NotValidForName"),
        ("cn-only", "NotValidForName"),
        ("other-server", "UnknownIssuer"),
        ("self-signed", "UnknownIssuer"),
        ("server-no-chain", "UnknownIssuer"),
        ("client-as-server", "InvalidPurpose"),
        ("ca-as-server", "CaUsedAsEndEntity"),
    ] {
        let origin = start(named(folder.path(), name)).await;
        let refusal = Client::new(folder.path()).refusal(&origin).await;
        assert!(matches!(refusal, InvalidCertificate(_)), "{name}: {refusal:?}");
        assert!(format!("{refusal:?}").contains(expected), "{name}: {refusal:?}");
        if let InvalidCertificate(CertificateError::BadSignature) = refusal {
            panic!("{name} is not even signed");
        }
    }
}

#[tokio::test]
async fn every_name_has_its_files() {
    let folder = written();
    for (name, _) in certs::NAMES {
        assert!(!chain(folder.path().join(format!("{name}.pem"))).is_empty(), "{name}");
        PrivateKeyDer::from_pem_file(folder.path().join(format!("{name}-key.pem"))).expect(name);
    }
    let pkcs1 = PrivateKeyDer::from_pem_file(folder.path().join("server-rsa-pkcs1-key.pem"));
    assert!(matches!(pkcs1, Ok(PrivateKeyDer::Pkcs1(_))));
    let pkcs1 = Tls { name: "pkcs1".into(), ..Tls::new(folder.path()) };
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(at("server-rsa.pem"), at("pkcs1.pem")).expect("a copy");
    std::fs::copy(at("server-rsa-pkcs1-key.pem"), at("pkcs1-key.pem")).expect("a copy");
    // Fails unless the key is the certificate's.
    pkcs1.acceptor().expect("a matching key");
}

#[tokio::test]
async fn versions_and_protocols() {
    let folder = written();
    let old = start(Tls { versions: vec![&TLS12], ..Tls::new(folder.path()) }).await;
    let alpn = vec![b"http/1.1".to_vec()];
    let new = start(Tls { versions: vec![&TLS13], alpn, ..Tls::new(folder.path()) }).await;
    let mut client = Client::new(folder.path());
    assert!(client.show(&old).await.contains("tls: TLSv1_2\n"));
    assert!(client.show(&new).await.contains("tls: TLSv1_3\n"));
    client.versions = vec![&TLS12];
    let alert = client.refusal(&new).await;
    assert_eq!(alert, rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion));

    client.versions = vec![&TLS13];
    client.alpn = &["h2", "http/1.1"];
    assert!(client.show(&new).await.contains("alpn: http/1.1\n"));
    let deaf = start(Tls { alpn: vec![], ..Tls::new(folder.path()) }).await;
    assert!(client.show(&deaf).await.contains("alpn: none\n"));
    client.alpn = &["h2"];
    let alert = client.refusal(&new).await;
    assert_eq!(
        alert,
        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
    );
}

#[tokio::test]
async fn client_certificates() {
    let folder = written();
    let authority = folder.path().join("ca.pem");
    let with = |auth| Tls {
        client_ca: Some((authority.clone(), auth)),
        // In TLS 1.2 the client's handshake does not end before its certificate is judged.
        versions: vec![&TLS12],
        ..Tls::new(folder.path())
    };
    let required = start(with(ClientAuth::Required)).await;
    let optional = start(with(ClientAuth::Optional)).await;

    let mut client = Client::new(folder.path());
    assert!(client.connect(&required).await.is_err());
    assert!(client.show(&optional).await.contains("client-certificates: 0\n"));
    client.identity = Some("client");
    assert!(client.show(&required).await.contains("client-certificates: 1\n"));
    assert!(client.show(&optional).await.contains("client-certificates: 1\n"));
    client.identity = Some("other-client");
    assert!(client.connect(&required).await.is_err());
    assert!(client.connect(&optional).await.is_err());
}

#[tokio::test]
async fn endings_differ_in_the_close_notify() {
    let folder = written();
    let origin = start(Tls::new(folder.path())).await;
    for (target, expected) in [
        ("/close", Ok(())),
        ("/cut/5/10", Err(std::io::ErrorKind::UnexpectedEof)),
        ("/reset", Err(std::io::ErrorKind::ConnectionReset)),
    ] {
        let mut stream = Client::new(folder.path()).connect(&origin).await.expect("a handshake");
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        soon(stream.write_all(head.as_bytes())).await.expect("a sent request");
        let (bytes, end) = read_all(&mut stream).await;
        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{target}");
        assert_eq!(end.map_err(|reason| reason.kind()), expected, "{target}");
    }
}

#[tokio::test]
async fn broken_configurations_are_refused() {
    let folder = written();
    let start =
        async |tls| Origin::start(Config { https: vec![local()], tls, ..Config::default() }).await;
    assert!(matches!(start(None).await, Err(StartError::NoCertificates)));
    let tls = named(folder.path(), "no-such-name");
    assert!(matches!(start(Some(tls)).await, Err(StartError::Tls(_))));
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(at("server.pem"), at("mixed.pem")).expect("a copy");
    std::fs::copy(at("client-key.pem"), at("mixed-key.pem")).expect("a copy");
    let tls = named(folder.path(), "mixed");
    assert!(matches!(start(Some(tls)).await, Err(StartError::Tls(_))));
    std::fs::write(at("mixed.pem"), "nothing").expect("a file");
    let tls = named(folder.path(), "mixed");
    assert!(matches!(start(Some(tls)).await, Err(StartError::Tls(_))));
}
