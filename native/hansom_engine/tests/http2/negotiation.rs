//! Which protocol is spoken.

use std::sync::Arc;

use bytes::Bytes;
use hansom_engine::transport::{TlsClient, TlsOptions};
use hansom_engine::{Answer, Command, Config, Dial, HttpProtocol, TransportKind};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::host::{Client, answer, describe, full, within};
use crate::peer::{accepted, get, send_all};

fn server(protocols: &[&str]) -> Arc<rustls::ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["a.test".into()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn offering(protocols: &[&str]) -> Arc<TlsClient> {
    let alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsClient::lazy(TlsOptions { alpn, verify: false, ..TlsOptions::default() })
}

// Clauses: NEG-2, NEG-4, TRAP-19, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handshake_decides() {
    use HttpProtocol::{Http1, Http2};
    for (offered, accepted_by_peer, spoken) in [
        (&["h2", "http/1.1"][..], &["h2"][..], Http2),
        (&["http/1.1", "h2"], &["http/1.1", "h2"], Http1),
        (&["h2"], &[], Http1),
        (&[], &["h2"], Http1),
    ] {
        // The second time with the session of the first.
        let tls = offering(offered);
        let config = server(accepted_by_peer);
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
            let serving = tokio::spawn(async move {
                let (socket, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(socket).await.unwrap();
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return stream.read_u8().await.map(drop).unwrap_or_default();
                }
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let mut stream =
                            respond.send_response(http::Response::new(()), false).unwrap();
                        send_all(&mut stream, Bytes::from(vec![1; 2_000_000])).await;
                    });
                }
            });
            let client = Client::new(Config::default());
            let dial = Dial {
                tls: Some(tls.clone()),
                server_name: "a.test".into(),
                ..Dial::new(TransportKind::Tls, "127.0.0.1", port)
            };
            accepted(client.ask(|caller| Command::Connect { caller, dial: Box::new(dial) })).await;
            assert_eq!(client.connection.protocol(), spoken, "{offered:?} {accepted_by_peer:?}");
            assert_eq!(client.connection.info().protocol, spoken);
            if spoken == Http2 {
                assert_eq!(full(get(&client, "/")).await.1.len(), 2_000_000);
                let certificate = client.ask(|caller| Command::PeerCertificate { caller });
                assert!(matches!(answer(certificate).await, Answer::Certificate(_)));
            }
            client.shut_down();
            within(serving).await.unwrap();
        }
    }
}

// Clauses: NEG-2, LOW-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_may_end_in_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(server(&["h2"]));
    let serving = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(socket).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().scheme_str(), Some("https"));
            assert_eq!(request.uri().port_u16(), Some(port));
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"upgraded"), true).unwrap();
        }
    });
    let client = Client::new(Config { host_header: b"a.test".to_vec(), ..Config::default() });
    let dial = Dial::new(TransportKind::Tcp, "127.0.0.1", port);
    accepted(client.ask(|caller| Command::Connect { caller, dial: Box::new(dial) })).await;
    assert_eq!(client.connection.protocol(), HttpProtocol::Http1);
    for _ in 0..2 {
        let (tls, server_name) = (offering(&["h2"]), "a.test".to_owned());
        let upgrade = client.ask(|caller| Command::Upgrade { caller, tls, server_name });
        let answer = answer(upgrade).await;
        assert!(matches!(answer, Answer::Ok), "{}", describe(&answer));
        assert_eq!(client.connection.protocol(), HttpProtocol::Http2);
    }
    assert_eq!(full(get(&client, "/")).await.1, b"upgraded");
    client.shut_down();
    within(serving).await.unwrap();
}
