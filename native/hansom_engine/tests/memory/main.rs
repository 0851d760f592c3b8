//! What a stream leaves in memory when it is over: nothing. Every allocation of the process is
//! counted, the server's too.

#[path = "../support/ask.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod ask;
#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "TLS over TCP has more tests")]
mod certificates;
#[path = "../http2/peer.rs"]
#[allow(dead_code, unused_imports, reason = "HTTP/2 has more tests")]
mod h2_peer;
#[path = "../http3/peer.rs"]
#[allow(dead_code, reason = "HTTP/3 has more tests")]
mod h3_peer;
#[path = "../support/host.rs"]
mod host;

use std::alloc::System;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cap::Cap;
use hansom_engine::{Answer, AsyncMode, Command, Config, Content, HeaderList, RequestOptions};

use ask::{accepted, ask, get, get_async, mailbox, next, request};
use host::{Client, PATIENCE, answer, data, describe, full};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// One at a time: what is counted is the process's.
static TURN: Mutex<()> = Mutex::new(());

/// Rounds before the first count: tables have their size then, that of streams reset lately too.
const WARM_UP: u64 = 600;
const ROUNDS: u64 = 400;
/// Memory that may come and go: less than the smallest block for one of the streams of each round.
const SLACK: usize = 4 << 10;

fn alone(test: impl Future<Output = ()>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// Runs rounds, and compares what is allocated after some with what is after many.
async fn leaves_nothing(client: Client, round: impl AsyncFn(&Client)) {
    let run = async |rounds: u64| {
        for _ in 0..rounds {
            round(&client).await;
            while client.notices.try_recv().is_ok() {}
        }
        ALLOCATOR.allocated()
    };
    let before = run(WARM_UP).await;
    let mut after = run(ROUNDS).await;
    // The other end may not have come to the end of the last ones.
    let deadline = Instant::now() + PATIENCE;
    while after > before + SLACK {
        assert!(Instant::now() < deadline, "{before} bytes have become {after}");
        after = run(1).await;
    }
}

/// Whole responses, messages, pulled messages, an upload by steps, receivers that die.
async fn streams(client: &Client) {
    assert_eq!(full(get(client, "/whole")).await, (200, b"content".to_vec()));
    for mode in [AsyncMode::Push, AsyncMode::Once] {
        let (receiver, mut inbox) = mailbox(1);
        let options = RequestOptions::default();
        accepted(get_async(client, "/messages", receiver.clone(), mode, options)).await;
        loop {
            if mode == AsyncMode::Once {
                client.tell(Command::StreamNext { receiver: Some(receiver.clone()) });
            }
            if next(&mut inbox).await == "done" {
                break;
            }
        }
    }
    let upload = request("POST", "/upload", Content::Stream);
    let options = RequestOptions::default();
    accepted(client.ask(|caller| Command::SendHeaders { caller, request: upload, options })).await;
    let chunk = Content::Bytes(b"chunk".to_vec());
    accepted(client.ask(|caller| Command::SendChunk { caller, data: chunk })).await;
    let trailers = HeaderList::default();
    accepted(client.ask(|caller| Command::FinishBody { caller, trailers })).await;
    match answer(client.ask(|caller| Command::StartResponse { caller })).await {
        Answer::Response { status: 200, .. } => {}
        other => panic!("{}", describe(&other)),
    }
    assert_eq!(data(client.ask(|caller| Command::Body { caller })).await, b"content");
    let (receiver, mut inbox) = mailbox(2);
    let options = RequestOptions::default();
    accepted(get_async(client, "/endless", receiver.clone(), AsyncMode::Push, options)).await;
    assert_eq!(next(&mut inbox).await, "status 200");
    client.tell(Command::ReceiverGone { receiver });
    let refused = ask(client, "GET", "no path", Content::Empty);
    assert!(matches!(answer(refused).await, Answer::Error(_)));
}

// Clauses: H2-3, H2-4, VM-8
#[test]
fn a_stream_of_http2_leaves_nothing() {
    alone(async {
        let client = h2_peer::served(Config::default(), |mut exchange| async move {
            match exchange.path() {
                "/never" => {
                    let _ = std::future::poll_fn(|cx| exchange.respond.poll_reset(cx)).await;
                }
                "/endless" => {
                    let mut stream = exchange.begin();
                    let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
                }
                _ => {
                    exchange.content().await;
                    exchange.answer("content");
                }
            }
        });
        let client = client.await;
        leaves_nothing(client, async |client| {
            streams(client).await;
            let (handler, mut inbox) = mailbox(3);
            let request = request("POST", "/never", Content::Stream);
            let manual = false;
            let opened =
                client.ask(|caller| Command::OpenStream { caller, request, handler, manual });
            let stream = match answer(opened).await {
                Answer::Stream { id } => id,
                other => panic!("{}", describe(&other)),
            };
            accepted(client.ask(|caller| Command::StreamCancel { caller, stream, code: 8 })).await;
            assert!(inbox.try_recv().is_err());
        })
        .await;
    });
}

// Clauses: H3-1, H3-8, VM-8
#[test]
fn a_stream_of_http3_leaves_nothing() {
    alone(async {
        let (client, raw) = h3_peer::Raw::connected(Config::default()).await;
        tokio::spawn(async move {
            // In the order in which a round asks.
            for path in ["/whole", "/messages", "/messages", "/upload", "/endless"].iter().cycle() {
                let mut exchange = raw.request().await;
                exchange.content().await.unwrap();
                if *path == "/endless" {
                    exchange.respond("200", &[]).await;
                    exchange.stop_code().await;
                } else {
                    exchange.answer(b"content").await;
                }
            }
        });
        leaves_nothing(client, streams).await;
    });
}
