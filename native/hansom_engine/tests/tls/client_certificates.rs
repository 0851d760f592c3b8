//! Certificates of this side.

use hansom_engine::Error;
use hansom_engine::transport::TlsOptions;
use rcgen::KeyPair;
use tokio::io::AsyncReadExt;

use crate::server::{Authority, Happening, Server, config_asking_for, within};
use crate::{TLS12, TLS13, connected, echo, refused};

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
async fn chains_are_sent_whole() {
    let root = Authority::new("root");
    let clients = Authority::new("clients");
    let me = clients.intermediate("department").issue(&["me.test"]);
    assert_eq!(me.chain.len(), 2);
    let server = Server::start(config_asking_for(&root.issue(&["a.test"]), &clients, TLS13)).await;
    let options = TlsOptions { identity: vec![me], ..root.trusted() };
    within(echo(&mut connected(&server, "a.test", options).await)).await.unwrap();
}
