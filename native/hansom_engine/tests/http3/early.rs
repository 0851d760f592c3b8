//! Requests sent before the handshake is complete.

use hansom_engine::{Command, Config, Content, Http3Config};
use quinn::TransportConfig;

use crate::ask::{accepted, ask, get};
use crate::host::{Client, full};
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
