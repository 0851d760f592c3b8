//! Sessions that are resumed, and data sent ahead of the handshake.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hansom_engine::connect;
use hansom_engine::transport::{Quic, TlsOptions};
use hansom_engine::{Dial, Error, Http3Config};
use quinn::{Connection, EndpointConfig, TokenLog, TokenReuseError, ValidationTokenConfig};

use crate::certificates::{Authority, within};
use crate::server::{Server, as_it_is, config, connected, echo, quic};

async fn with_early_data(target: &Dial) -> Quic {
    let config = Http3Config { early_data: true, ..Http3Config::default() };
    quic(within(connect::dial(target, &config, as_it_is)).await)
}

/// Connects once, and waits until the client has a session to resume.
async fn prime(server: &Server, target: &Dial) {
    let (mut client, accepted) = tokio::join!(with_early_data(target), server.accept());
    assert!(client.take_early().is_none());
    // The server sends its tickets before anything else.
    echo(client.connection(), &accepted).await;
}

/// A connection that was established while this ran, and what it first received.
async fn accept_early(server: &Server) -> (Connection, Vec<u8>) {
    within(async {
        let connection = server.endpoint.accept().await.unwrap().await.unwrap();
        let mut stream = connection.accept_uni().await.unwrap();
        let data = stream.read_to_end(100).await.unwrap();
        (connection, data)
    })
    .await
}

async fn say(connection: &Connection, data: &[u8]) {
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(data).await.unwrap();
    stream.finish().unwrap();
}

// Clauses: H3-5
#[tokio::test]
async fn data_goes_ahead_of_a_resumed_handshake() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let target = server.dial("a.test", authority.trusted());
    prime(&server, &target).await;
    let mut client = with_early_data(&target).await;
    let early = client.take_early().expect("there is a session to resume");
    assert!(client.take_early().is_none());
    say(client.connection(), b"early").await;
    let ((accepted, data), taken) = tokio::join!(accept_early(&server), within(early));
    assert!(taken);
    assert_eq!(data, b"early");
    echo(client.connection(), &accepted).await;
}

/// Ends a server and frees its port.
async fn stop(server: Server) -> UdpSocket {
    server.endpoint.close(0u32.into(), b"");
    within(server.endpoint.wait_idle()).await;
    let address = server.address;
    drop(server);
    // The endpoint's task lets go of the socket when it is polled next.
    within(async {
        loop {
            match UdpSocket::bind(address) {
                Ok(socket) => return socket,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

// Clauses: H3-5
#[tokio::test]
async fn early_data_may_be_rejected() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let target = server.dial("a.test", authority.trusted());
    prime(&server, &target).await;
    // Another server of the same name, which cannot read the session's ticket.
    let socket = stop(server).await;
    let server = Server::start_on(socket, config(&authority), EndpointConfig::default());
    let mut client = with_early_data(&target).await;
    let early = client.take_early().expect("there is a session to resume");
    let (mut send, _recv) = client.connection().open_bi().await.unwrap();
    send.write_all(b"early").await.unwrap();
    let (accepted, taken) = tokio::join!(server.accept(), within(early));
    assert!(!taken);
    assert!(matches!(within(send.stopped()).await, Err(quinn::StoppedError::ZeroRttRejected)));
    echo(client.connection(), &accepted).await;
}

// Clauses: TRAP-10
#[tokio::test]
async fn sessions_stay_under_their_options() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    prime(&server, &server.dial("a.test", authority.trusted())).await;
    let unverified = TlsOptions { verify: false, ..authority.trusted() };
    let renamed =
        server.dial("a.test", TlsOptions { check_hostname: false, ..authority.trusted() });
    for target in [server.dial("a.test", unverified), renamed] {
        let (mut client, _accepted) = tokio::join!(with_early_data(&target), server.accept());
        assert!(client.take_early().is_none());
    }
}

#[tokio::test]
async fn without_resumption_there_is_no_early_data() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let options = TlsOptions { resumption: false, ..authority.trusted() };
    let target = server.dial("a.test", options);
    prime(&server, &target).await;
    prime(&server, &target).await;
}

#[tokio::test]
async fn early_data_to_nobody_ends_the_connection() {
    let authority = Authority::new("root");
    let server = Server::start(config(&authority));
    let target = server.dial("a.test", authority.trusted());
    prime(&server, &target).await;
    drop(stop(server).await);
    let mut client = with_early_data(&target).await;
    let early = client.take_early().expect("there is a session to resume");
    assert!(!within(early).await);
    assert_eq!(client.check(), Err(Error::Posix("econnrefused")));
}

/// Takes every token as used for the first time.
struct Trusting;

impl TokenLog for Trusting {
    fn check_and_insert(
        &self,
        _nonce: u128,
        _issued: SystemTime,
        _lifetime: Duration,
    ) -> Result<(), TokenReuseError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_address_is_known_again_by_its_token() {
    let authority = Authority::new("root");
    let mut config = config(&authority);
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(2).log(Arc::new(Trusting));
    config.validation_token_config(tokens);
    let server = Server::start(config);
    let target = server.dial("a.test", authority.trusted());
    let validated = async || {
        let incoming = within(server.endpoint.accept()).await.unwrap();
        let validated = incoming.remote_address_validated();
        (within(incoming.into_future()).await.unwrap(), validated)
    };
    let (client, (accepted, known)) = tokio::join!(connected(&target), validated());
    assert!(!known);
    echo(client.connection(), &accepted).await;
    let (_client, (_accepted, known)) = tokio::join!(connected(&target), validated());
    assert!(known);
}
