//! Responses delivered as messages, pushed and pulled.

use std::time::Duration;

use bytes::Bytes;
use h2::server;
use hansom_engine::{
    AsyncMode, BodyBuffer, Command, Config, Content, Error, H2Code, Http2Config, Message, Notice,
    RequestOptions, SendTimeout,
};
use tokio::sync::{mpsc, oneshot};

use crate::host::{
    Client, Large, PATIENCE, Pending, Receiver, TestHost, error, full, told, within,
};
use crate::peer::{
    DATA, END_STREAM, Exchange, OK, Raw, WINDOW_UPDATE, accepted, ask_async, block, get, get_async,
    mailbox, next, request, send_all, served, served_by, trailers,
};

const NO_OPTIONS: RequestOptions = RequestOptions {
    recv_timeout: None,
    inform: false,
    auto_decompress: false,
    send_timeout: None,
    trailers: false,
    interim: false,
};

async fn large(mut exchange: Exchange) {
    let mut stream = exchange.begin();
    let size = exchange.path()[1..].parse().unwrap_or(0);
    send_all(&mut stream, vec![b'x'; size].into()).await;
}

/// Reads data until `size` bytes have come.
async fn gather(inbox: &mut mpsc::UnboundedReceiver<Message<TestHost>>, size: usize) {
    let mut seen = 0;
    while seen < size {
        match within(inbox.recv()).await.expect("the receiver was dropped") {
            Message::Data(data) => seen += data.as_slice().len(),
            other => panic!("{} after {seen} bytes", told(&other)),
        }
    }
    assert_eq!(seen, size);
}

// Clauses: H2-10, ASY-1, ST-2, TRAP-31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_response_comes_as_messages() {
    let client = served(Config::default(), large).await;
    let (receiver, mut inbox) = mailbox(1);
    accepted(get_async(&client, "/3000000", receiver, AsyncMode::Push, NO_OPTIONS)).await;
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    gather(&mut inbox, 3_000_000).await;
    assert_eq!(next(&mut inbox).await, "done");
}

// Clauses: H2-5, H2-15, ASY-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_and_interim_responses_come_to_those_who_asked() {
    for wanted in [false, true] {
        let client = served(Config::default(), |mut exchange| async move {
            let mut early = http::Response::new(());
            *early.status_mut() = http::StatusCode::EARLY_HINTS;
            exchange.respond.send_informational(early).unwrap();
            let response =
                http::Response::builder().status(302).header("location", "/x").body(()).unwrap();
            let mut stream = exchange.respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from_static(b"x"), false).unwrap();
            stream.send_trailers(trailers()).unwrap();
        })
        .await;
        let (receiver, mut inbox) = mailbox(1);
        let options = RequestOptions { trailers: wanted, interim: wanted, ..NO_OPTIONS };
        accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
        let expected: &[&str] = if wanted {
            &["informational 103", "status 302", "headers", "x", "trailers", "done"]
        } else {
            &["status 302", "headers", "x", "done"]
        };
        for message in expected {
            assert_eq!(next(&mut inbox).await, *message);
        }
    }
}

// Clauses: H2-10, ASY-2, TRAP-32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulled_response_opens_the_window_only_as_it_is_pulled() {
    let window = 100_000;
    let http2 = Http2Config { stream_window: window, ..Http2Config::default() };
    let config = Config { http2, ..Config::default() };
    let (client, mut raw) = Raw::connected(config, &[]).await;
    let (receiver, mut inbox) = mailbox(1);
    accepted(get_async(&client, "/", receiver, AsyncMode::Once, NO_OPTIONS)).await;
    assert_eq!(raw.request().await, 1);
    // A pull ahead of the data is remembered as one message.
    client.tell(Command::StreamNext { receiver: None });
    raw.respond(1, 0, OK).await;
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    raw.send(0, 0, 1, b"first").await;
    assert_eq!(next(&mut inbox).await, "first");
    for _ in 0..(window - 5) / 5 {
        raw.send(0, 0, 1, b"again").await;
    }
    raw.send(crate::peer::PING, 0, 0, b"whatever").await;
    loop {
        let frame = raw.any().await.expect("open");
        assert!(frame.kind != WINDOW_UPDATE || frame.stream != 1, "nothing was pulled");
        if frame.kind == crate::peer::PING {
            break;
        }
    }
    assert!(inbox.try_recv().is_err());
    client.tell(Command::StreamNext { receiver: None });
    let Some(Message::Data(data)) = within(inbox.recv()).await else { panic!("no data") };
    assert!(data.as_slice().len() > 50_000, "small frames are joined");
    let update = raw.next(WINDOW_UPDATE).await;
    assert_eq!(update.stream, 1);
    let opened = u32::from_be_bytes(update.payload.try_into().unwrap()) as usize;
    assert_eq!(opened, data.as_slice().len() + "first".len());
    raw.send(0, END_STREAM, 1, b"").await;
    raw.settled().await;
    client.tell(Command::StreamNext { receiver: None });
    assert!(matches!(within(inbox.recv()).await, Some(Message::Data(_))));
    assert!(inbox.try_recv().is_err());
    client.tell(Command::StreamNext { receiver: None });
    assert_eq!(next(&mut inbox).await, "done");
}

// Clauses: H2-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_to_the_oldest_response_of_whoever_pulls() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let mut inboxes = Vec::new();
    let mut receivers = Vec::new();
    for (stream, id) in [(1, 1), (3, 2), (5, 2)] {
        let (receiver, inbox) = mailbox(id);
        receivers.push(receiver.clone());
        accepted(get_async(&client, "/", receiver, AsyncMode::Once, NO_OPTIONS)).await;
        assert_eq!(raw.request().await, stream);
        raw.respond(stream, 0, OK).await;
        raw.send(0, END_STREAM, stream, b"data").await;
        inboxes.push(inbox);
    }
    for inbox in &mut inboxes {
        assert_eq!(next(inbox).await, "status 200");
        assert_eq!(next(inbox).await, "headers");
    }
    let second = || Some(receivers[1].clone());
    client.tell(Command::StreamNext { receiver: second() });
    assert_eq!(next(&mut inboxes[1]).await, "data");
    client.tell(Command::StreamNext { receiver: second() });
    assert_eq!(next(&mut inboxes[1]).await, "done");
    client.tell(Command::StreamNext { receiver: second() });
    assert_eq!(next(&mut inboxes[2]).await, "data");
    client.tell(Command::StreamNext { receiver: None });
    assert_eq!(next(&mut inboxes[0]).await, "data");
    assert!(inboxes[2].try_recv().is_err());
}

// Clauses: H2-10, ASY-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_their_windows_and_nobody_else() {
    let http2 = Http2Config {
        stream_window: 1 << 20,
        connection_window: 2 << 20,
        ..Http2Config::default()
    };
    let client = served(Config { http2, ..Config::default() }, large).await;
    let mut inboxes = Vec::new();
    for id in 0..6 {
        let (receiver, mut inbox) = mailbox(id);
        accepted(get_async(&client, "/9000000", receiver, AsyncMode::Once, NO_OPTIONS)).await;
        assert_eq!(next(&mut inbox).await, "status 200");
        assert_eq!(next(&mut inbox).await, "headers");
        inboxes.push(inbox);
    }
    // All six together fill the connection's own window three times over.
    within(async {
        while client.connection.info().buffered_in != 6 << 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (status, body) = full(get(&client, "/5000000")).await;
    assert_eq!((status, body.len()), (200, 5_000_000));
    let mut seen = 0;
    while seen < 9_000_000 {
        client.tell(Command::StreamNext { receiver: None });
        match within(inboxes[0].recv()).await {
            Some(Message::Data(data)) => seen += data.as_slice().len(),
            _ => panic!("the first one is not served first"),
        }
    }
}

// Clauses: ASY-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_response_waits_for_its_receiver_to_be_looked_at() {
    let config = Config { push_allowance: 100_000, ..Config::default() };
    let mut builder = server::Builder::new();
    builder.max_frame_size(16_384);
    let client = served_by(config, builder, large).await;
    let (receiver, mut inbox) = mailbox(1);
    accepted(get_async(&client, "/2000000", receiver, AsyncMode::Push, NO_OPTIONS)).await;
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    let Ok(Notice::Flow(receiver)) = client.notices.recv_timeout(PATIENCE) else {
        panic!("the receiver was not looked at");
    };
    // What was not delivered is held back, with the allowance overdrawn by one piece at most.
    within(async {
        while client.connection.info().buffered_in < 2_000_000 - 100_000 - 128 * 1024 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut seen = 0;
    while let Ok(message) = inbox.try_recv() {
        let Message::Data(data) = message else { panic!("{}", told(&message)) };
        seen += data.as_slice().len();
    }
    assert!(seen <= 100_000 + 128 * 1024, "{seen} bytes were delivered");
    client.tell(Command::Grant { receiver: Some(receiver), bytes: 2_000_000 });
    gather(&mut inbox, 2_000_000 - seen).await;
    assert_eq!(next(&mut inbox).await, "done");
}

// Clauses: ASY-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_without_a_receiver_is_reset() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let (receiver, inbox) = mailbox(1);
    accepted(get_async(&client, "/", receiver.clone(), AsyncMode::Push, NO_OPTIONS)).await;
    raw.request().await;
    client.tell(Command::ReceiverGone { receiver });
    assert_eq!(raw.reset_code().await, 8);
    // One that is found out by the first message.
    let (receiver, gone) = mailbox(2);
    accepted(get_async(&client, "/", receiver, AsyncMode::Push, NO_OPTIONS)).await;
    assert_eq!(raw.request().await, 3);
    drop((inbox, gone));
    raw.respond(3, 0, OK).await;
    assert_eq!(raw.reset_code().await, 8);
    let other = get(&client, "/");
    assert_eq!(raw.request().await, 5);
    raw.respond(5, END_STREAM, &block(OK, &[])).await;
    assert_eq!(full(other).await.0, 200);
}

// Clauses: H2-6, H2-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_comes_after_the_data_that_came_before_it() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    for (stream, mode) in [(1, AsyncMode::Push), (3, AsyncMode::Once)] {
        let (receiver, mut inbox) = mailbox(1);
        accepted(get_async(&client, "/", receiver, mode, NO_OPTIONS)).await;
        assert_eq!(raw.request().await, stream);
        raw.respond(stream, 0, OK).await;
        raw.send(0, 0, stream, b"part").await;
        raw.reset(stream, 11).await;
        raw.settled().await;
        if mode == AsyncMode::Once {
            client.tell(Command::StreamNext { receiver: None });
        }
        for message in ["status 200", "headers", "part", "StreamError(H2Code(11))"] {
            assert_eq!(next(&mut inbox).await, message);
        }
    }
}

// Clauses: ST-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receive_timeout_of_its_own_bounds_an_asynchronous_response() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let (receiver, mut inbox) = mailbox(1);
    let brief = Some(Some(std::time::Duration::from_millis(30)));
    let options = RequestOptions { recv_timeout: brief, ..NO_OPTIONS };
    accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
    raw.request().await;
    assert_eq!(next(&mut inbox).await, format!("{:?}", Error::Timeout));
    assert_eq!(raw.reset_code().await, 8);
}

/// The setting of what a peer takes of a new stream.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Posts more than such a peer takes.
fn post(client: &Client, receiver: Receiver, mode: AsyncMode, patience: u64) -> Pending {
    let send_timeout = SendTimeout::After(std::time::Duration::from_millis(patience));
    let options = RequestOptions { send_timeout: Some(send_timeout), ..NO_OPTIONS };
    let content = Content::Payload(Large(vec![7; 20_000]));
    ask_async(client, request("POST", "/", content), receiver, mode, options)
}

// Clauses: H2-11, H2-12, ST-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_answered_but_not_sent_can_still_fail() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(INITIAL_WINDOW_SIZE, 1000)]).await;
    for complete in [false, true] {
        let (receiver, mut inbox) = mailbox(1);
        let pending = post(&client, receiver, AsyncMode::Push, 50);
        let stream = raw.request().await;
        raw.respond(stream, 0, OK).await;
        if complete {
            raw.send(DATA, END_STREAM, stream, b"early").await;
        }
        assert_eq!(error(pending).await, Error::Timeout);
        assert_eq!(raw.reset_code().await, 8);
        assert!(inbox.try_recv().is_err(), "a call that failed is all there is");
    }
    let (receiver, mut inbox) = mailbox(1);
    let pending = post(&client, receiver, AsyncMode::Push, 60_000);
    let stream = raw.request().await;
    raw.respond(stream, 0, OK).await;
    raw.settled().await;
    raw.reset(stream, 11).await;
    assert_eq!(error(pending).await, Error::StreamError(H2Code(11)));
    assert!(inbox.try_recv().is_err());
    let (receiver, mut inbox) = mailbox(1);
    let pending = post(&client, receiver, AsyncMode::Push, 60_000);
    let stream = raw.request().await;
    raw.respond(stream, 0, OK).await;
    raw.send(DATA, 0, stream, b"early").await;
    raw.settled().await;
    assert!(inbox.try_recv().is_err(), "not before the call is answered");
    raw.open_window(stream, 20_000).await;
    accepted(pending).await;
    raw.send(DATA, END_STREAM, stream, b"late").await;
    for message in ["status 200", "headers", "early", "late", "done"] {
        assert_eq!(next(&mut inbox).await, message);
    }
}

// Clauses: H2-11, H2-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_accepted_if_its_response_has_to_be_read_first() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(INITIAL_WINDOW_SIZE, 1000)]).await;
    for mode in [AsyncMode::Push, AsyncMode::Once] {
        let (receiver, mut inbox) = mailbox(1);
        let pending = post(&client, receiver, mode, 60_000);
        let stream = raw.request().await;
        raw.respond(stream, 0, OK).await;
        for _ in 0..4 {
            raw.send(DATA, 0, stream, &[b'x'; 16 << 10]).await;
        }
        accepted(pending).await;
        assert_eq!(next(&mut inbox).await, "status 200");
        assert_eq!(next(&mut inbox).await, "headers");
        if mode == AsyncMode::Push {
            gather(&mut inbox, 64 << 10).await;
        }
        raw.open_window(stream, 20_000).await;
        raw.send(DATA, END_STREAM, stream, b"").await;
        if mode == AsyncMode::Push {
            assert_eq!(next(&mut inbox).await, "done");
        }
    }
}

// Clauses: ST-2, API-15, H2-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_interim_response_comes_ahead_of_the_answer_of_the_call() {
    for taken in [true, false] {
        // Nothing of the content is taken for now.
        let (client, mut raw) = Raw::connected(Config::default(), &[(4, 0)]).await;
        let (receiver, mut inbox) = mailbox(1);
        let patience = Duration::from_millis(if taken { 20_000 } else { 100 });
        let send_timeout = Some(SendTimeout::After(patience));
        let options = RequestOptions { interim: true, send_timeout, ..NO_OPTIONS };
        let content = Content::Bytes(b"content".to_vec());
        let mut pending =
            ask_async(&client, request("POST", "/", content), receiver, AsyncMode::Push, options);
        let stream = raw.request().await;
        raw.respond(stream, 0, &block(b"", &[(":status", "103")])).await;
        raw.settled().await;
        assert!(inbox.try_recv().is_err());
        if taken {
            assert!(matches!(pending.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
            raw.open_window(stream, 7).await;
            accepted(pending).await;
            assert_eq!(next(&mut inbox).await, "informational 103");
        } else {
            assert_eq!(error(pending).await, Error::Timeout);
            assert!(inbox.recv().await.is_none());
        }
    }
}
