//! Requests sent before the handshake is complete.

use std::net::UdpSocket;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use hansom_engine::transport::TlsClient;
use hansom_engine::{Command, Config, Content, Dial, Error, Http3Config, MaxStreams, State};
use http::Method;
use quinn::{Endpoint, TransportConfig};
use tokio::sync::{Semaphore, mpsc};

use crate::ask::{accepted, ask, get};
use crate::host::{Client, error, full, within};
use crate::peer::{self, accept, dial, endpoint, server_config, target, trust, trust_within};
use crate::relay::Relay;
use crate::server::{Exchange, serve};

fn early() -> Config {
    let http3 = Http3Config { early_data: true, ..Http3Config::default() };
    // Requests wait for as long as the handshake takes.
    Config { http3, recv_timeout: None, ..Config::default() }
}

/// A client that connects to a port, while `serve` does the server's part.
async fn connected<T>(
    port: u16,
    tls: &Arc<TlsClient>,
    serve: impl Future<Output = T>,
) -> (Client, T) {
    let client = Client::new(early());
    let target = Box::new(target(port, tls.clone()));
    let pending = client.ask(|caller| Command::Connect { caller, dial: target });
    let ((), served) = tokio::join!(accepted(pending), serve);
    (client, served)
}

/// Sees to it that the next client has a session to resume.
async fn prime(port: u16, tls: &Arc<TlsClient>, server: &Endpoint) {
    let (client, connection) = connected(port, tls, accept(server)).await;
    let pending = get(&client, "/");
    // The server sends its tickets before anything else.
    next(&connection).await.answer(b"").await;
    full(pending).await;
    client.shut_down();
}

/// A connection whose handshake need not be over.
async fn accept_early(server: &Endpoint) -> quinn::Connection {
    within(async {
        let mut connecting = server.accept().await.unwrap().accept().unwrap();
        // All of the hello has to be there.
        connecting.handshake_data().await.unwrap();
        connecting.into_0rtt().unwrap_or_else(|_| panic!("no early data was offered")).0
    })
    .await
}

async fn next(connection: &quinn::Connection) -> peer::Exchange {
    let (send, recv) = within(connection.accept_bi()).await.unwrap();
    peer::Exchange { send, recv }
}

// Clauses: H3-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_safe_goes_ahead_of_the_handshake_and_nothing_else() {
    let server = endpoint(server_config(TransportConfig::default()));
    let mut relay = Relay::to(server.local_addr().unwrap()).await;
    let tls = trust_within(1);
    let port = relay.address.port();
    prime(port, &tls, &server).await;
    // Without answers no handshake completes.
    relay.let_answer(false);
    let (client, connection) = connected(port, &tls, accept_early(&server)).await;
    let safe = get(&client, "/");
    let content = ask(&client, "POST", "/", Content::Bytes(b"content".to_vec()));
    let bodyless = ask(&client, "DELETE", "/", Content::Empty);
    let mut ahead = next(&connection).await;
    assert!(ahead.recv.is_0rtt());
    // What the client has to say now it says again.
    relay.pass(2).await;
    {
        let nothing = pin!(connection.accept_bi());
        assert!(nothing.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    relay.let_answer(true);
    ahead.answer(b"safe").await;
    assert_eq!(full(safe).await, (200, b"safe".to_vec()));
    for (body, pending) in [("content", content), ("bodyless", bodyless)] {
        let mut exchange = next(&connection).await;
        assert!(!exchange.recv.is_0rtt(), "{body}");
        exchange.answer(body.as_bytes()).await;
        assert_eq!(full(pending).await, (200, body.as_bytes().to_vec()));
    }
}

// Clauses: H3-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_the_server_did_not_take_early_is_lost() {
    let server = endpoint(server_config(TransportConfig::default()));
    let port = server.local_addr().unwrap().port();
    let tls = trust_within(3);
    prime(port, &tls, &server).await;
    // Its own tickets mean nothing to it any more.
    server.set_server_config(Some(server_config(TransportConfig::default())));
    let (client, ()) = connected(port, &tls, async {}).await;
    let bare = get(&client, "/");
    let content = ask(&client, "GET", "/", Content::Bytes(vec![b'x'; 5000]));
    within(async {
        while client.connection.info().totals.sent < 5000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let connection = accept(&server).await;
    assert_eq!(error(content).await, Error::EarlyDataRejected);
    next(&connection).await.answer(b"again").await;
    assert_eq!(full(bare).await, (200, b"again".to_vec()));
}

/// Ends a server and frees its port.
async fn stop(server: Endpoint) {
    let address = server.local_addr().unwrap();
    server.close(0_u32.into(), b"");
    within(server.wait_idle()).await;
    drop(server);
    // The endpoint's task lets go of the socket when it is polled next.
    within(async {
        while UdpSocket::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

// Clauses: H3-5, H3-10
#[tokio::test]
async fn that_nobody_is_there_is_told_to_whoever_was_early() {
    let server = endpoint(server_config(TransportConfig::default()));
    let port = server.local_addr().unwrap().port();
    let tls = trust_within(4);
    prime(port, &tls, &server).await;
    stop(server).await;
    let client = Client::new(early());
    let target = Box::new(target(port, tls));
    // Asked for before the connection is ready, so sent with its first packet.
    let connecting = client.ask(|caller| Command::Connect { caller, dial: target });
    let pending = get(&client, "/");
    accepted(connecting).await;
    assert_eq!(error(pending).await, Error::Posix("econnrefused"));
    client.reaches(State::Closed).await;
}

async fn tell(exchange: Exchange) {
    let (method, path) = (exchange.request.method().clone(), exchange.path().to_owned());
    exchange.answer(format!("{method} {path}")).await;
}

// Clauses: H3-5, H3-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_did_not_take_early_is_sent_again() {
    let server = endpoint(server_config(TransportConfig::default()));
    serve(&server, tell);
    let tls = trust_within(2);
    for (round, rejects) in [(0, false), (1, false), (2, true)] {
        if rejects {
            // Its own tickets mean nothing to it any more.
            server.set_server_config(Some(server_config(TransportConfig::default())));
        }
        let client = Client::new(early());
        let (target, before) = (dial(&server, tls.clone()), client.connection.info());
        accepted(client.ask(|caller| Command::Connect { caller, dial: target })).await;
        let safe: Vec<_> = (0..5).map(|n| get(&client, &format!("/{n}"))).collect();
        let unsafe_one = ask(&client, "POST", "/p", Content::Bytes(b"content".to_vec()));
        let late = get(&client, "/late");
        for (n, pending) in safe.into_iter().enumerate() {
            let expected = format!("GET /{n}").into_bytes();
            assert_eq!(full(pending).await, (200, expected), "round {round}");
        }
        assert_eq!(full(unsafe_one).await, (200, b"POST /p".to_vec()));
        assert_eq!(full(late).await, (200, b"GET /late".to_vec()));
        assert_eq!(before.totals.requests, 0);
        client.shut_down();
    }
}

// Clauses: H3-5, H2-4
#[tokio::test]
async fn what_waits_for_the_handshake_holds_up_nothing_else() {
    let http3 =
        Http3Config { early_data: true, max_streams: MaxStreams::Fail, ..Http3Config::default() };
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(3_u32.into());
    let server = endpoint(server_config(transport));
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let held = Arc::new(Semaphore::new(0));
    let gate = held.clone();
    serve(&server, move |exchange| {
        let (arrived, gate) = (arrived.clone(), gate.clone());
        async move {
            arrived.send(exchange.request.method().clone()).unwrap();
            gate.acquire().await.unwrap().forget();
            tell(exchange).await;
        }
    });
    let tls = trust();
    let connected = async || {
        let client = Client::new(Config { http3: http3.clone(), ..Config::default() });
        // Tickets are kept by name, for all tests.
        let target = Dial { server_name: "early.test".into(), ..*dial(&server, tls.clone()) };
        accepted(client.ask(|caller| Command::Connect { caller, dial: target.into() })).await;
        client
    };
    let client = connected().await;
    held.add_permits(1);
    assert_eq!(full(get(&client, "/")).await.0, 200);
    assert_eq!(arrivals.recv().await, Some(Method::GET));
    client.shut_down();
    // On one thread all of these are asked for before anything comes from the server.
    let client = connected().await;
    let content = || Content::Bytes(b"content".to_vec());
    let posts = [ask(&client, "POST", "/", content()), ask(&client, "POST", "/", content())];
    let gets = [get(&client, "/"), get(&client, "/")];
    // Both were sent before, and there is room for one of the others.
    for method in [Method::GET, Method::GET, Method::POST] {
        assert_eq!(within(arrivals.recv()).await, Some(method));
    }
    assert_eq!(error(get(&client, "/")).await, Error::MaxStreamsExceeded);
    let [first, second] = posts;
    assert_eq!(error(second).await, Error::MaxStreamsExceeded);
    held.add_permits(3);
    for pending in gets {
        assert_eq!(full(pending).await, (200, b"GET /".to_vec()));
    }
    assert_eq!(full(first).await, (200, b"POST /".to_vec()));
}
