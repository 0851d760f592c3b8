//! What a peer allows.

use std::collections::VecDeque;
use std::time::Duration;

use hansom_engine::{
    Command, Config, Content, Error, HeaderList, Http3Config, MaxStreams, Request, RequestOptions,
};
use quinn::TransportConfig;

use crate::ask::{ask_with, get, request};
use crate::host::{error, full};
use crate::peer::Raw;

fn streams(count: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(count.into());
    transport
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_peers_limit_wait_for_their_turn() {
    let (client, raw) = Raw::connected_to(Config::default(), streams(2), &[]).await;
    let mut pending: VecDeque<_> = (0..9).map(|n| get(&client, &format!("/{n}"))).collect();
    let mut exchanges = VecDeque::from([raw.request().await, raw.request().await]);
    for begun in 3.. {
        let Some(mut exchange) = exchanges.pop_front() else { break };
        exchange.answer(b"turn").await;
        drop(exchange);
        let first = pending.pop_front().expect("there were so many");
        assert_eq!(full(first).await, (200, b"turn".to_vec()));
        if begun <= 9 {
            exchanges.push_back(raw.request().await);
        }
    }
    assert!(pending.is_empty());
}

// Clauses: H2-4, ST-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_turn_is_bounded_by_the_receive_timeout() {
    let (client, raw) = Raw::connected_to(Config::default(), streams(1), &[]).await;
    let first = get(&client, "/");
    let mut exchange = raw.request().await;
    let options = RequestOptions {
        recv_timeout: Some(Some(Duration::from_millis(30))),
        ..RequestOptions::default()
    };
    let waiting = ask_with(&client, "GET", "/waits", Content::Empty, options);
    assert_eq!(error(waiting).await, Error::Timeout);
    exchange.answer(b"first").await;
    // Its end makes room for another one.
    drop(exchange);
    assert_eq!(full(first).await, (200, b"first".to_vec()));
    let next = get(&client, "/");
    raw.request().await.answer(b"next").await;
    assert_eq!(full(next).await, (200, b"next".to_vec()));
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_fail_at_once() {
    let http3 = Http3Config { max_streams: MaxStreams::Fail, ..Http3Config::default() };
    let config = Config { http3, ..Config::default() };
    let (client, raw) = Raw::connected_to(config, streams(1), &[]).await;
    let first = get(&client, "/");
    let mut exchange = raw.request().await;
    assert_eq!(error(get(&client, "/")).await, Error::MaxStreamsExceeded);
    exchange.answer(b"first").await;
    assert_eq!(full(first).await.0, 200);
}

// Clauses: H2-4
#[tokio::test]
async fn what_the_peer_allows_never_fails() {
    let http3 = Http3Config { max_streams: MaxStreams::Fail, ..Http3Config::default() };
    let config = Config { http3, ..Config::default() };
    let (client, raw) = Raw::connected_to(config, streams(20), &[]).await;
    // On one thread these reach the connection together.
    let pending: Vec<_> = (0..20).map(|n| get(&client, &format!("/{n}"))).collect();
    let beyond = get(&client, "/20");
    assert_eq!(error(beyond).await, Error::MaxStreamsExceeded);
    for pending in pending {
        raw.request().await.answer(b"allowed").await;
        assert_eq!(full(pending).await, (200, b"allowed".to_vec()));
    }
    assert_eq!(client.connection.info().totals.requests, 20);
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_sections_larger_than_the_peer_takes_are_refused() {
    // SETTINGS_MAX_FIELD_SECTION_SIZE of 300.
    let settings = [0x06, 0x41, 0x2c];
    let (client, raw) =
        Raw::connected_to(Config::default(), TransportConfig::default(), &settings).await;
    let small = get(&client, "/");
    raw.request().await.answer(b"ok").await;
    assert_eq!(full(small).await.0, 200);
    let ask = || {
        let mut headers = HeaderList::default();
        headers.push(b"x", &[b'y'; 300]);
        let request = Request { headers, ..request("GET", "/", Content::Empty) };
        let options = RequestOptions::default();
        client.ask(|caller| Command::Request { caller, request, options })
    };
    assert_eq!(error(ask()).await, Error::HeaderListTooLarge);
}
