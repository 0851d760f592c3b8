//! Requests sent before the handshake is complete.

use std::sync::Arc;

use hansom_engine::{Command, Config, Content, Dial, Error, Http3Config, MaxStreams};
use http::Method;
use quinn::TransportConfig;
use tokio::sync::{Semaphore, mpsc};

use crate::ask::{accepted, ask, get};
use crate::host::{Client, error, full, within};
use crate::peer::{dial, endpoint, server_config, trust};
use crate::server::{Exchange, serve};

async fn tell(exchange: Exchange) {
    let (method, path) = (exchange.request.method().clone(), exchange.path().to_owned());
    exchange.answer(format!("{method} {path}")).await;
}

// Clauses: H3-5, H3-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_did_not_take_early_is_sent_again() {
    let http3 = Http3Config { early_data: true, ..Http3Config::default() };
    let config = || Config { http3: http3.clone(), ..Config::default() };
    let config_of_server = server_config(TransportConfig::default());
    let server = endpoint(config_of_server.clone());
    serve(&server, tell);
    let tls = trust();
    for (round, rejects) in [(0, false), (1, false), (2, true)] {
        if rejects {
            // Its own tickets mean nothing to it any more.
            server.set_server_config(Some(server_config(TransportConfig::default())));
        }
        let client = Client::new(config());
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
