//! Streams of a handler's own.

use hansom_engine::{Answer, Command, Config, Content, Error, HeaderList, Http2Config};
use tokio::sync::mpsc;

use crate::host::{Client, Pending, Receiver, TestHost, answer, describe, error, within};
use crate::peer::{
    DATA, END_STREAM, Exchange, HEADERS, OK, Raw, WINDOW_UPDATE, accepted, block, mailbox, next,
    request, served, trailers,
};

type Inbox = mpsc::UnboundedReceiver<hansom_engine::Message<TestHost>>;

async fn open(client: &Client, handler: Receiver, manual: bool) -> u64 {
    let request = request("POST", "/", Content::Stream);
    let pending = client.ask(|caller| Command::OpenStream { caller, request, handler, manual });
    match answer(pending).await {
        Answer::Stream { id } => id,
        other => panic!("{}", describe(&other)),
    }
}

fn send(client: &Client, stream: u64, data: &[u8], end: bool) -> Pending {
    let data = Content::Bytes(data.to_vec());
    client.ask(|caller| Command::StreamSend { caller, stream, data, end, send_timeout: None })
}

fn cancel(client: &Client, stream: u64, code: u32) -> Pending {
    client.ask(|caller| Command::StreamCancel { caller, stream, code })
}

async fn expect(inbox: &mut Inbox, messages: &[&str]) {
    for message in messages {
        assert_eq!(next(inbox).await, *message);
    }
}

// Clauses: API-37, TRAP-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_are_open_at_once() {
    let client = served(Config::default(), |mut exchange: Exchange| async move {
        let mut stream = exchange.begin();
        while let Some(Ok(data)) = exchange.request.body_mut().data().await {
            stream.send_data(data, false).unwrap();
        }
        stream.send_trailers(trailers()).unwrap();
    })
    .await;
    let (handler, mut inbox) = mailbox(1);
    let id = open(&client, handler, false).await;
    assert_eq!(id, 1);
    expect(&mut inbox, &["1 response 200"]).await;
    for part in ["one", "two"] {
        accepted(send(&client, id, part.as_bytes(), false)).await;
        expect(&mut inbox, &[&format!("1 data {part}")]).await;
    }
    let mut fields = HeaderList::default();
    fields.push(b"x-end", b"1");
    accepted(client.ask(|caller| Command::StreamTrailers { caller, stream: id, trailers: fields }))
        .await;
    expect(&mut inbox, &["1 trailers"]).await;
    assert_eq!(error(send(&client, id, b"x", false)).await, Error::NoStream);
    accepted(cancel(&client, id, 8)).await;
}

// Clauses: API-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_comes_with_the_last_data_or_alone() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let (handler, mut inbox) = mailbox(1);
    for (stream, data, last) in [(1, &b"all"[..], "last all"), (3, b"", "last ")] {
        let id = open(&client, handler.clone(), false).await;
        assert_eq!(id, u64::from(stream));
        accepted(send(&client, id, b"question", true)).await;
        let sent = raw.next(DATA).await;
        assert_eq!((sent.payload.as_slice(), sent.flags & END_STREAM), (&b"question"[..], 1));
        raw.respond(stream, 0, &block(b"", &[(":status", "103")])).await;
        raw.respond(stream, 0, OK).await;
        raw.send(DATA, END_STREAM, stream, data).await;
        let told = [format!("{id} informational 103"), format!("{id} response 200")];
        expect(&mut inbox, &[&told[0], &told[1], &format!("{id} {last}")]).await;
    }
}

// Clauses: API-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_manual_flow_control_the_window_opens_when_the_handler_says_so() {
    let http2 = Http2Config { stream_window: 16_384, ..Http2Config::default() };
    let (client, mut raw) = Raw::connected(Config { http2, ..Config::default() }, &[]).await;
    let (handler, mut inbox) = mailbox(1);
    let id = open(&client, handler, true).await;
    raw.next(HEADERS).await;
    raw.respond(1, 0, OK).await;
    raw.send(DATA, 0, 1, &[b'x'; 10_000]).await;
    expect(&mut inbox, &["1 response 200", &format!("1 data {}", "x".repeat(10_000))]).await;
    client.tell(Command::StreamConsume { stream: id, bytes: 6000 });
    let update = loop {
        let frame = raw.next(WINDOW_UPDATE).await;
        if frame.stream == 1 {
            break frame;
        }
    };
    assert_eq!(update.payload, 6000_u32.to_be_bytes());
    // More than was delivered cannot be consumed.
    client.tell(Command::StreamConsume { stream: id, bytes: u64::MAX });
    raw.send(DATA, END_STREAM, 1, b"end").await;
    expect(&mut inbox, &["1 last end"]).await;
}

// Clauses: API-37, H2-6, H2-8, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_hear_of_resets_goaway_and_loss() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let (handler, mut inbox) = mailbox(1);
    let id = open(&client, handler.clone(), false).await;
    raw.next(HEADERS).await;
    raw.reset(1, 11).await;
    expect(&mut inbox, &["1 reset 11"]).await;
    assert_eq!(error(send(&client, id, b"x", false)).await, Error::NoStream);

    let second = open(&client, handler.clone(), false).await;
    raw.next(HEADERS).await;
    accepted(cancel(&client, second, 5)).await;
    assert_eq!(raw.reset_code().await, 5);

    open(&client, handler.clone(), false).await;
    raw.next(HEADERS).await;
    raw.go_away(3, 2).await;
    expect(&mut inbox, &["5 goaway 3 2"]).await;

    let (client, raw) = Raw::connected(Config::default(), &[]).await;
    open(&client, handler, false).await;
    drop(raw);
    expect(&mut inbox, &["1 closed tcp_closed"]).await;
    let late = request("POST", "/", Content::Stream);
    let (handler, _inbox) = mailbox(2);
    let refused =
        client.ask(|caller| Command::OpenStream { caller, request: late, handler, manual: false });
    assert_eq!(error(refused).await, Error::InvalidState);
}

// Clauses: API-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_handlers_stream_is_reset() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let (handler, inbox) = mailbox(1);
    open(&client, handler.clone(), false).await;
    raw.next(HEADERS).await;
    drop(inbox);
    client.tell(Command::ReceiverGone { receiver: handler });
    assert_eq!(raw.reset_code().await, 8);
    within(raw.settled()).await;
}
