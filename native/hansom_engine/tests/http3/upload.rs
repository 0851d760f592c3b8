//! Requests sent in pieces.

use hansom_engine::{Command, Config, Content, Error, HeaderList, RequestOptions, State};
use quinn::TransportConfig;

use crate::ask::{accepted, get, request};
use crate::host::{Client, Large, Pending, data, error, full, status};
use crate::peer::{DATA, HEADERS, Raw, frame};
use crate::server::{Exchange, served};

fn start(client: &Client, process: u64) -> Pending {
    let request = request("POST", "/", Content::Stream);
    let options = RequestOptions::default();
    client.ask_as(process, |caller| Command::SendHeaders { caller, request, options })
}

fn chunk(client: &Client, process: u64, bytes: Vec<u8>) -> Pending {
    let data = if bytes.is_empty() { Content::Empty } else { Content::Payload(Large(bytes)) };
    client.ask_as(process, |caller| Command::SendChunk { caller, data })
}

fn finish(client: &Client, process: u64, fields: &[(&str, &str)]) -> Pending {
    let mut trailers = HeaderList::default();
    for (name, value) in fields {
        trailers.push(name.as_bytes(), value.as_bytes());
    }
    client.ask_as(process, |caller| Command::FinishBody { caller, trailers })
}

fn start_response(client: &Client, process: u64) -> Pending {
    client.ask_as(process, |caller| Command::StartResponse { caller })
}

fn body(client: &Client, process: u64) -> Pending {
    client.ask_as(process, |caller| Command::Body { caller })
}

async fn echo(mut exchange: Exchange) {
    let content = exchange.content().await;
    let sum = exchange.trailers().await;
    let sum = sum.map(|it| it["x-sum"].as_bytes().to_vec()).unwrap_or_default();
    exchange.answer([content, sum].concat()).await;
}

// Clauses: H3-7, H2-13, H2-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_upload_and_read_side_by_side() {
    let client = served(Config::default(), echo).await;
    for process in 1..=3 {
        accepted(start(&client, process)).await;
    }
    assert_eq!(error(start(&client, 1)).await, Error::InvalidState);
    assert_eq!(client.connection.state(), State::Connected);
    for part in 0..4_u8 {
        for process in 1..=3 {
            accepted(chunk(&client, process, vec![part + process as u8; 100_000])).await;
        }
    }
    accepted(chunk(&client, 1, Vec::new())).await;
    for process in 1..=3 {
        assert_eq!(
            error(finish(&client, process, &[("upgrade", "x")])).await,
            Error::ProtocolError
        );
        accepted(finish(&client, process, &[("X-Sum", "294")])).await;
        // A second end is as good as the first.
        accepted(finish(&client, process, &[])).await;
        assert_eq!(status(start_response(&client, process)).await, 200);
        let mut expected: Vec<u8> =
            (0..4_u8).flat_map(|part| vec![part + process as u8; 100_000]).collect();
        expected.extend(b"294");
        assert!(data(body(&client, process)).await == expected);
        assert_eq!(error(body(&client, process)).await, Error::NoStream);
    }
}

// Clauses: H3-7, H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_an_upload() {
    let (client, raw) = Raw::connected(Config::default()).await;
    accepted(start(&client, 1)).await;
    let mut exchange = raw.request().await;
    let mut bytes = [0; 2];
    exchange.recv.read_exact(&mut bytes).await.unwrap();
    assert_eq!(u64::from(bytes[0]), HEADERS);
    let mut section = vec![0; usize::from(bytes[1])];
    exchange.recv.read_exact(&mut section).await.unwrap();
    accepted(chunk(&client, 1, b"part".to_vec())).await;
    accepted(finish(&client, 1, &[])).await;
    assert_eq!(exchange.content().await, Ok(frame(DATA, b"part")));
    let head = start_response(&client, 1);
    exchange.answer(b"answer").await;
    assert_eq!(status(head).await, 200);
    assert_eq!(data(body(&client, 1)).await, b"answer");
}

// Clauses: H3-7, H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_response_is_kept_until_it_is_asked_for() {
    let (client, raw) = Raw::connected(Config::default()).await;
    accepted(start(&client, 1)).await;
    let mut exchange = raw.request().await;
    exchange.answer(b"early").await;
    // What was sent before is there when another answer is.
    let other = get(&client, "/");
    raw.request().await.answer(b"other").await;
    assert_eq!(full(other).await.0, 200);
    accepted(chunk(&client, 1, b"late".to_vec())).await;
    assert_eq!(status(start_response(&client, 1)).await, 200);
    assert_eq!(data(body(&client, 1)).await, b"early");
}

// Clauses: H3-9, H2-12, H2-13, TRAP-25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_releases_whoever_waits() {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(1000_u32.into());
    let (client, raw) = Raw::connected_to(Config::default(), transport, &[]).await;
    // A sender held up by flow control.
    accepted(start(&client, 1)).await;
    let mut exchange = raw.request().await;
    let blocked = chunk(&client, 1, vec![0; 100_000]);
    exchange.recv.stop(quinn::VarInt::from_u32(0x10b)).unwrap();
    exchange.reset(0x10b);
    assert_eq!(error(blocked).await, Error::SendReset);
    assert_eq!(error(start_response(&client, 1)).await, Error::StreamReset(0x10b));
    assert_eq!(error(start_response(&client, 1)).await, Error::NoStream);
    assert_eq!(error(chunk(&client, 1, b"x".to_vec())).await, Error::NoStream);
    // Someone who waits for the head.
    accepted(start(&client, 1)).await;
    let mut exchange = raw.request().await;
    let parked = start_response(&client, 1);
    exchange.reset(7);
    assert_eq!(error(parked).await, Error::StreamReset(7));
    // And for the body.
    accepted(start(&client, 1)).await;
    let mut exchange = raw.request().await;
    let parked = start_response(&client, 1);
    exchange.respond("200", &[]).await;
    assert_eq!(status(parked).await, 200);
    let parked = body(&client, 1);
    exchange.reset(2);
    assert_eq!(error(parked).await, Error::StreamReset(2));
}

// Clauses: ST-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_a_dead_process_are_reset() {
    let (client, raw) = Raw::connected(Config::default()).await;
    accepted(start(&client, 1)).await;
    let mut gone = raw.request().await;
    accepted(start(&client, 2)).await;
    let mut exchange = raw.request().await;
    client.tell(Command::ProcessGone { process: 1 });
    assert_eq!(gone.content().await, Err(0x10c));
    accepted(chunk(&client, 2, b"still here".to_vec())).await;
    accepted(finish(&client, 2, &[])).await;
    let content = exchange.content().await.unwrap();
    assert!(content.ends_with(&frame(DATA, b"still here")));
}
