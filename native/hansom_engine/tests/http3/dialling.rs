//! What becomes of a dial where QUIC gets through and HTTP/3 does not.

use std::time::{Duration, Instant};

use hansom_engine::{Answer, Command, Config, Dial, Error, HttpProtocol, QuicDial};
use quinn::{ConnectionError, Endpoint, TransportConfig, VarInt};
use tokio::net::TcpListener;

use crate::ask::accepted;
use crate::host::{Client, Pending, answer, error, within};
use crate::peer::{accept, dial, endpoint, server_config, tcp_config, trust};
use crate::tcp;

const LIMIT: Duration = Duration::from_secs(2);

/// A server that leaves no room for a control stream.
fn closed_to_settings() -> Endpoint {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    endpoint(server_config(transport))
}

/// The same with TLS over TCP on the port of the same number.
async fn beside_tcp() -> (Endpoint, tcp::Server) {
    loop {
        let endpoint = closed_to_settings();
        // The number may be taken.
        if let Ok(listener) = TcpListener::bind(endpoint.local_addr().unwrap()).await {
            return (endpoint, tcp::Server::start_on(listener, tcp_config()));
        }
    }
}

fn begin(client: &Client, endpoint: &Endpoint, quic: QuicDial) -> Pending {
    let target = Dial { connect_timeout: Some(LIMIT), quic, ..*dial(endpoint, trust()) };
    client.ask(|caller| Command::Connect { caller, dial: Box::new(target) })
}

async fn is_given_up(connection: &quinn::Connection) {
    let closed = within(connection.closed()).await;
    assert!(matches!(closed, ConnectionError::ApplicationClosed(_)), "{closed:?}");
}

// Clauses: H3-2, ST-12, NEG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_settings_is_given_up_in_time() {
    for quic in [QuicDial::First, QuicDial::Race] {
        let endpoint = closed_to_settings();
        let client = Client::new(Config::default());
        let start = Instant::now();
        let pending = begin(&client, &endpoint, quic);
        let connection = accept(&endpoint).await;
        // Nothing listens on the TCP port.
        assert_eq!(error(pending).await, Error::Posix("econnrefused"));
        assert!(start.elapsed() < 2 * LIMIT, "{:?}", start.elapsed());
        is_given_up(&connection).await;
    }
}

// Clauses: H3-2, NEG-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_settings_is_reached_over_tcp() {
    let (endpoint, _server) = beside_tcp().await;
    let client = Client::new(Config::default());
    let pending = begin(&client, &endpoint, QuicDial::First);
    let connection = accept(&endpoint).await;
    accepted(pending).await;
    let spoken = answer(client.ask(|caller| Command::Protocol { caller })).await;
    assert!(matches!(spoken, Answer::Protocol(HttpProtocol::Http1)));
    is_given_up(&connection).await;
}
