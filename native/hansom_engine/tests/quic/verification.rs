//! Certificates on QUIC: the same rules and alerts as on TCP.

use hansom_engine::transport::{Identity, TlsOptions};
use hansom_engine::{Dial, Error, QuicDial};
use rcgen::{CertificateParams, date_time_ymd};

use crate::certificates::{Authority, config_asking_for, config_for, self_signed, within};
use crate::server::{Server, TLS13, config, connected, dial, echo, quic_config};
use crate::tcp;

/// The alert and its text a dial ends with.
async fn alert(target: &Dial) -> (String, String) {
    match dial(target).await {
        Err(Error::Tls { alert, text }) => (alert.0.to_owned(), text),
        other => panic!("{other:?}"),
    }
}

/// The alerts of dials to two servers with this identity, one of QUIC and one of TCP.
async fn both(identity: &Identity, name: &str, options: TlsOptions) -> [(String, String); 2] {
    let server = Server::start(quic_config(config_for(identity, TLS13)));
    server.serve();
    let tcp = tcp::Server::start(config_for(identity, TLS13)).await;
    let over_tcp = Dial { quic: QuicDial::Never, ..tcp.dial(name, options.clone()) };
    [alert(&server.dial(name, options)).await, alert(&over_tcp).await]
}

// Clauses: H3-3, TLS-12
#[tokio::test]
async fn refused_certificates_have_the_alerts_of_tcp() {
    fn expired(params: &mut CertificateParams) {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let authority = Authority::new("root");
    let stranger = Authority::new("stranger");
    let cases = [
        (authority.issue(&["b.test"]), "handshake_failure"),
        (authority.issue_with(&["a.test"], expired), "certificate_expired"),
        (stranger.issue(&["a.test"]), "unknown_ca"),
        (self_signed("a.test", false), "bad_certificate"),
        (self_signed("a.test", true), "bad_certificate"),
    ];
    for (identity, expected) in cases {
        let [quic, tcp] = both(&identity, "a.test", authority.trusted()).await;
        assert_eq!(quic, tcp);
        assert_eq!(quic.0, expected);
    }
    let shallow = TlsOptions { depth: Some(0), ..authority.trusted() };
    let deep = authority.intermediate("between").issue(&["a.test"]);
    let [quic, tcp] = both(&deep, "a.test", shallow).await;
    assert_eq!((&quic, quic.0.as_str()), (&tcp, "handshake_failure"));
}

#[tokio::test]
async fn verification_can_be_switched_off() {
    let stranger = Authority::new("stranger");
    let server = Server::start(config(&stranger));
    let options = TlsOptions { verify: false, ..TlsOptions::default() };
    let (client, accepted) = server.meet(&server.dial("b.test", options)).await;
    echo(client.connection(), &accepted).await;
}

// Clauses: H3-4
#[tokio::test]
async fn addresses_are_verified_and_not_sent_as_names() {
    let authority = Authority::new("root");
    let tls = config_for(&authority.issue(&["127.0.0.1"]), TLS13);
    let server = Server::start(quic_config(tls));
    let (_client, accepted) = server.meet(&server.dial("127.0.0.1", authority.trusted())).await;
    let data = accepted.handshake_data().unwrap();
    let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().unwrap();
    assert_eq!(data.server_name, None);
    assert_eq!(data.protocol.as_deref(), Some(b"h3".as_slice()));
}

#[tokio::test]
async fn client_certificates_are_shown() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let identity = authority.issue(&["a.test"]);
    let server = Server::start(quic_config(config_asking_for(&identity, &clients, TLS13)));
    let own = clients.issue(&["client.test"]);
    let options = TlsOptions { identity: vec![own.clone()], ..authority.trusted() };
    let (client, accepted) = server.meet(&server.dial("a.test", options)).await;
    let shown = accepted.peer_identity().unwrap();
    let shown = shown.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
    assert_eq!(shown[0].as_ref(), own.chain[0]);
    echo(client.connection(), &accepted).await;
}

#[tokio::test]
async fn a_missing_client_certificate_is_the_servers_alert() {
    let authority = Authority::new("root");
    let clients = Authority::new("clients");
    let identity = authority.issue(&["a.test"]);
    let server = Server::start(quic_config(config_asking_for(&identity, &clients, TLS13)));
    server.serve();
    // The client's side of the handshake is complete before the server has seen its certificate.
    let client = connected(&server.dial("a.test", authority.trusted())).await;
    within(client.connection().closed()).await;
    match client.check() {
        Err(Error::Tls { alert, text }) => {
            assert_eq!(alert.0, "certificate_required");
            assert!(text.contains("received SERVER ALERT"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_without_http_3_is_refused() {
    let authority = Authority::new("root");
    let mut tls = config_for(&authority.issue(&["a.test"]), TLS13);
    tls.alpn_protocols = vec![b"other".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let server = Server::start(quinn::ServerConfig::with_crypto(std::sync::Arc::new(crypto)));
    server.serve();
    let (alert, text) = alert(&server.dial("a.test", authority.trusted())).await;
    assert_eq!(alert, "no_application_protocol");
    assert!(text.contains("received SERVER ALERT"), "{text}");
}
