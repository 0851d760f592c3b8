//! Peers that send without end what leads to nothing, and peers that only seem to.

use hansom_engine::{Command, Config, Content, Error, H2Code, Http2Config, RequestOptions, State};
use tokio::io::AsyncWriteExt;

use crate::host::{Client, answer, describe, error, full, status, within};
use crate::peer::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, OK, PING, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, accepted, block, frame, get, request,
};

const PRIORITY: u8 = 0x2;
const UNKNOWN: u8 = 0x16;
const CALM: &str = "ClosedBy(\"enhance_your_calm\")";

/// Sends `bytes` over and over until the connection has ended.
async fn flood(client: &Client, raw: &mut Raw, bytes: &[u8]) {
    let (mut reading, mut writing) = raw.socket.split();
    let many = bytes.repeat((16 << 10) / bytes.len() + 1);
    let mut sink = tokio::io::sink();
    let flooding = async {
        while writing.write_all(&many).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    within(async {
        tokio::select! {
            () = flooding => {}
            _ = tokio::io::copy(&mut reading, &mut sink) => {}
        }
    })
    .await;
    client.reaches(State::Closed).await;
}

// Clauses: H2-6, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_the_connection() {
    let open = frame(HEADERS, END_HEADERS, 1, OK);
    let over = frame(HEADERS, END_HEADERS | END_STREAM, 1, OK);
    let fields = block(b"", &[("x", &"y".repeat(100))]);
    let cases: [(&str, &[u8], Vec<u8>, &str); 16] = [
        ("pings", b"", frame(PING, 0, 0, &[0; 8]), CALM),
        ("pongs", b"", frame(PING, ACK, 0, &[0; 8]), CALM),
        ("settings", b"", frame(SETTINGS, 0, 0, b""), CALM),
        ("resets", b"", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), "StreamError(H2Code(8))"),
        ("priorities", b"", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), CALM),
        ("windows", b"", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), CALM),
        ("the window of all", b"", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), CALM),
        ("windows of a stream that is over", &over, frame(8, 0, 1, &[0, 0, 0, 1]), "full 200"),
        ("unknown frames", b"", frame(UNKNOWN, 0, 0, b"what"), CALM),
        ("goodbyes", b"", frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), "Goaway(H2Code(0))"),
        ("empty data", &open, frame(DATA, 0, 1, b""), CALM),
        ("padding", &open, frame(DATA, 8, 1, &[3, 0, 0, 0]), CALM),
        ("data after the end", &over, frame(DATA, 0, 1, b"late"), "full 200"),
        ("heads after the end", &over, frame(HEADERS, 5, 1, &fields), "full 200"),
        ("continuations", &frame(HEADERS, 0, 1, OK), frame(CONTINUATION, 0, 1, &fields), CALM),
        ("empty continuations", &frame(HEADERS, 0, 1, OK), frame(CONTINUATION, 0, 1, b""), CALM),
    ];
    for (name, before, bytes, expected) in cases {
        let http2 = Http2Config { drain_on_goaway: true, ..Http2Config::default() };
        let config = Config { http2, recv_timeout: None, ..Config::default() };
        let (client, mut raw) = Raw::connected(config, &[]).await;
        let pending = get(&client, "/");
        raw.request().await;
        raw.socket.write_all(before).await.unwrap();
        eprintln!("{name}");
        flood(&client, &mut raw, &bytes).await;
        let told = describe(&answer(pending).await);
        assert!(told.starts_with(expected), "{name}: {told}");
    }
}

// Clauses: H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_is_told_why() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let pongs = frame(PING, ACK, 0, &[0; 8]).repeat(11_000);
    // What is not read any more cannot be written either.
    let _ = raw.socket.write_all(&pongs).await;
    assert_eq!(raw.next(GOAWAY).await.payload, [0, 0, 0, 0, 0, 0, 0, 11]);
    client.reaches(State::Closed).await;
}

// Clauses: H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_whose_answers_are_not_taken_ends_the_connection_too() {
    for bytes in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, b"")] {
        let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
        let many = bytes.repeat(1000);
        // Nothing is read here.
        within(async { while raw.socket.write_all(&many).await.is_ok() {} }).await;
        client.reaches(State::Closed).await;
    }
}

/// An upload in pieces, and its stream.
async fn upload(client: &Client, raw: &mut Raw) -> u32 {
    let head = request("POST", "/", Content::Stream);
    let options = RequestOptions::default();
    accepted(client.ask(|caller| Command::SendHeaders { caller, request: head, options })).await;
    raw.request().await
}

async fn finished(client: &Client, raw: &mut Raw, stream: u32) {
    let response = client.ask(|caller| Command::StartResponse { caller });
    raw.respond(stream, END_STREAM, OK).await;
    assert_eq!(status(response).await, 200);
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H2-9, H2-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_reopened_byte_by_byte_are_no_flood() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let stream = upload(&client, &mut raw).await;
    for _ in 0..4 {
        let data = Content::Payload(crate::host::Large(vec![b'x'; 32 << 10]));
        let sent = client.ask(|caller| Command::SendChunk { caller, data });
        let mut taken = 0;
        while taken < 32 << 10 {
            taken += raw.next(DATA).await.payload.len();
        }
        let mut updates = Vec::new();
        for _ in 0..taken {
            updates.extend(frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]));
            updates.extend(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
        }
        within(raw.socket.write_all(&updates)).await.unwrap();
        accepted(sent).await;
    }
    finished(&client, &mut raw, stream).await;
}

// Clauses: H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_for_each_piece_of_an_upload_is_no_flood() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let stream = upload(&client, &mut raw).await;
    for _ in 0..150 {
        for _ in 0..100 {
            let data = Content::Bytes(b"x".to_vec());
            accepted(client.ask(|caller| Command::SendChunk { caller, data })).await;
        }
        let mut taken = 0;
        while taken < 100 {
            let frame = raw.next(DATA).await;
            taken += frame.payload.len();
            raw.send(PING, 0, 0, &[0; 8]).await;
        }
    }
    finished(&client, &mut raw, stream).await;
}

// Clauses: H2-6, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_of_all_requests_are_no_flood() {
    let config = Config { recv_timeout: None, ..Config::default() };
    let (client, mut raw) = Raw::connected(config, &[]).await;
    let mut pending = Vec::new();
    let mut resets = Vec::new();
    for _ in 0..12_000 {
        pending.push(get(&client, "/"));
        let stream = raw.request().await;
        resets.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]));
    }
    within(raw.socket.write_all(&resets)).await.unwrap();
    for pending in pending {
        assert_eq!(error(pending).await, Error::StreamError(H2Code(7)));
    }
    raw.settled().await;
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H2-9, ST-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_its_way_when_many_were_cancelled_is_no_flood() {
    let config = Config { recv_timeout: None, ..Config::default() };
    let (client, mut raw) = Raw::connected(config, &[]).await;
    let mut late = Vec::new();
    let pending: Vec<_> = (0..1500).map(|_| get(&client, "/")).collect();
    for _ in &pending {
        let stream = raw.request().await;
        late.extend(frame(HEADERS, END_HEADERS, stream, OK));
        for _ in 0..30 {
            late.extend(frame(DATA, 0, stream, b"late"));
        }
    }
    client.tell(Command::ProcessGone { process: 0 });
    for _ in &pending {
        assert_eq!(raw.reset_code().await, 8);
    }
    let (mut reading, mut writing) = raw.socket.into_split();
    let mut sink = tokio::io::sink();
    let stops = writing.write_all(&late);
    within(async {
        tokio::select! {
            sent = stops => sent.unwrap(),
            _ = tokio::io::copy(&mut reading, &mut sink) => panic!("the connection was closed"),
        }
    })
    .await;
    let mut raw = Raw { socket: reading.reunite(writing).unwrap() };
    let pending = get(&client, "/");
    let stream = raw.request().await;
    raw.respond(stream, END_STREAM, OK).await;
    assert_eq!(full(pending).await.0, 200);
}
