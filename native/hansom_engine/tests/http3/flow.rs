//! Slow readers and slow peers.

use std::time::Duration;

use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Content, Error, Http3Config, Message,
    RequestOptions, SendTimeout,
};
use quinn::TransportConfig;
use tokio::sync::mpsc;

use crate::ask::{accepted, ask_with, get, get_async, mailbox, next, request};
use crate::host::{
    Client, Large, Receiver, TestHost, answer, describe, error, full, status, told, within,
};
use crate::peer::{DATA, Exchange, Raw, frame, head};

const WINDOW: u32 = 200_000;

fn window(bytes: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(bytes.into());
    transport
}

/// Who reads a response, and so far wants none of it.
enum Reader {
    Messages(Receiver, mpsc::UnboundedReceiver<Message<TestHost>>, AsyncMode),
    /// The process of this number.
    Steps(u64),
}

impl Reader {
    /// Asks for a response by each way there is to read one in pieces.
    async fn all(client: &Client, raw: &Raw) -> Vec<(Self, Exchange)> {
        let options = RequestOptions::default();
        let mut readers = Vec::new();
        for (id, mode) in [(1, AsyncMode::Once), (2, AsyncMode::Once), (3, AsyncMode::Push)] {
            let (receiver, inbox) = mailbox(id);
            accepted(get_async(client, "/", receiver.clone(), mode, options)).await;
            readers.push((Self::Messages(receiver, inbox, mode), raw.request().await));
        }
        for process in [4, 5] {
            let request = request("GET", "/", Content::Empty);
            let head = client.ask_as(process, |caller| Command::RequestStreaming {
                caller,
                request,
                options,
            });
            let mut exchange = raw.request().await;
            exchange.respond("200", &[]).await;
            assert_eq!(status(head).await, 200);
            readers.push((Self::Steps(process), exchange));
        }
        readers
    }

    /// Bytes that came without being wanted, of a response that has its head already if it is read
    /// in steps.
    async fn unwanted(&mut self) -> usize {
        let Self::Messages(_, inbox, mode) = self else { return 0 };
        for message in ["status 200", "headers"] {
            assert_eq!(next(inbox).await, message);
        }
        let AsyncMode::Push = mode else {
            assert!(inbox.try_recv().is_err());
            return 0;
        };
        // What the allowance was spent with.
        let Some(Message::Data(piece)) = within(inbox.recv()).await else { panic!("no data") };
        assert!(inbox.try_recv().is_err());
        piece.as_slice().len()
    }

    /// Reads the response to its end: the bytes of its content.
    async fn read(&mut self, client: &Client) -> usize {
        let mut seen = 0;
        loop {
            match self {
                Self::Messages(receiver, inbox, mode) => {
                    let receiver = Some(receiver.clone());
                    client.tell(match mode {
                        AsyncMode::Once => Command::StreamNext { receiver },
                        AsyncMode::Push => Command::Grant { receiver, bytes: 1 << 30 },
                    });
                    match within(inbox.recv()).await.expect("the receiver was dropped") {
                        Message::Data(piece) => seen += piece.as_slice().len(),
                        Message::Done => return seen,
                        other => panic!("{}", told(&other)),
                    }
                }
                Self::Steps(process) => {
                    let piece = client.ask_as(*process, |caller| Command::StreamBody { caller });
                    match answer(piece).await {
                        Answer::Data(piece) => seen += piece.as_slice().len(),
                        Answer::Done => return seen,
                        other => panic!("{}", describe(&other)),
                    }
                }
            }
        }
    }
}

// Clauses: H3-6, H3-8, H2-10, ASY-13, TRAP-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_their_window_and_nobody_up() {
    const SIZE: usize = 1_000_000;
    let http3 = Http3Config { stream_window: WINDOW, ..Http3Config::default() };
    let config = Config { http3, push_allowance: 1, ..Config::default() };
    let (client, raw) = Raw::connected(config).await;
    let mut readers = Vec::new();
    for (reader, mut exchange) in Reader::all(&client, &raw).await {
        let content = frame(DATA, &vec![7; SIZE]);
        let bytes = match reader {
            Reader::Messages(..) => [head("200", &[]), content].concat(),
            Reader::Steps(_) => content,
        };
        let writer = tokio::spawn(async move {
            let mut written = 0;
            // As much as goes without being read.
            while let Ok(more) =
                tokio::time::timeout(Duration::from_secs(1), exchange.send.write(&bytes[written..]))
                    .await
            {
                written += more.unwrap();
                if written == bytes.len() {
                    break;
                }
            }
            (exchange, bytes, written)
        });
        readers.push((reader, writer));
    }
    for (mut reader, writer) in readers {
        let unwanted = reader.unwanted().await;
        let (mut exchange, bytes, written) = within(writer).await.unwrap();
        // The window, and what is read ahead.
        let most = WINDOW as usize + (64 << 10) + 32 * 1500 + 200 + unwanted;
        assert!(written > 0 && written < most, "{written}");
        // Others are not held up.
        let other = get(&client, "/");
        raw.request().await.answer(b"quick").await;
        assert_eq!(full(other).await, (200, b"quick".to_vec()));
        let rest = tokio::spawn(async move {
            exchange.write(&bytes[written..]).await;
            exchange.end();
            exchange
        });
        assert_eq!(unwanted + reader.read(&client).await, SIZE);
        within(rest).await.unwrap();
    }
    assert_eq!(client.connection.info().buffered_in, 0);
}

// Clauses: H2-16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_every_size_let_responses_through() {
    for stream_window in [0, 1, u32::MAX >> 1] {
        let http3 = Http3Config { stream_window, ..Http3Config::default() };
        let (client, raw) = Raw::connected(Config { http3, ..Config::default() }).await;
        let pending = get(&client, "/");
        let body = vec![7; 300_000];
        raw.request().await.answer(&body).await;
        assert!(full(pending).await == (200, body), "{stream_window}");
    }
}

// Clauses: H2-11, TRAP-30, TRAP-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_never_opens_is_given_up() {
    // In the first case not even the head passes.
    for size in [20, 1000] {
        let (client, raw) = Raw::connected_to(Config::default(), window(size), &[]).await;
        let options = RequestOptions {
            send_timeout: Some(SendTimeout::After(Duration::from_millis(30))),
            recv_timeout: Some(None),
            ..RequestOptions::default()
        };
        let content = Content::Payload(Large(vec![0; 100_000]));
        let pending = ask_with(&client, "POST", "/", content, options);
        assert_eq!(error(pending).await, Error::Timeout);
        let mut exchange = raw.request().await;
        assert_eq!(exchange.content().await, Err(0x10c));
        if size == 20 {
            continue;
        }
        let (receiver, mut inbox) = mailbox(1);
        let request = request("POST", "/", Content::Payload(Large(vec![0; 100_000])));
        let pending = client.ask(|caller| Command::RequestAsync {
            caller,
            request,
            options,
            receiver,
            receiver_owns: false,
            mode: AsyncMode::Push,
            follow_redirect: false,
        });
        assert_eq!(error(pending).await, Error::Timeout);
        assert!(inbox.try_recv().is_err());
        let _aborted = raw.request().await;
        // The value was for that request alone, and the connection is in order.
        let healthy = get(&client, "/");
        raw.request().await.answer(b"ok").await;
        assert_eq!(full(healthy).await.0, 200);
    }
}

// Clauses: H2-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_wait_is_refused_when_too_much_waits() {
    let (client, raw) = Raw::connected_to(Config::default(), window(1000), &[]).await;
    let options =
        RequestOptions { send_timeout: Some(SendTimeout::Never), ..RequestOptions::default() };
    let whole = Content::Payload(Large(vec![0; 2 << 20]));
    assert_eq!(error(ask_with(&client, "POST", "/", whole, options)).await, Error::SendBufferFull);
    let request = request("POST", "/", Content::Stream);
    accepted(client.ask(|caller| Command::SendHeaders { caller, request, options })).await;
    let chunk = |size: usize| {
        let data = Content::Payload(Large(vec![1; size]));
        client.ask(|caller| Command::SendChunk { caller, data })
    };
    let mut exchange = raw.request().await;
    accepted(chunk((1 << 20) + (128 << 10))).await;
    assert_eq!(error(chunk(10)).await, Error::SendBufferFull);
    let reading = tokio::spawn(async move { (exchange.content().await, exchange) });
    loop {
        let trailers = hansom_engine::HeaderList::default();
        match answer(client.ask(|caller| Command::FinishBody { caller, trailers })).await {
            Answer::Ok => break,
            Answer::Error(Error::SendBufferFull) => tokio::task::yield_now().await,
            other => panic!("{}", crate::host::describe(&other)),
        }
    }
    let (content, mut exchange) = within(reading).await.unwrap();
    assert!(content.unwrap().len() > 1 << 20);
    exchange.answer(b"done").await;
    assert_eq!(status(client.ask(|caller| Command::StartResponse { caller })).await, 200);
}

// Clauses: H2-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_response_is_taken_and_the_request_sent_on_unless_the_peer_wants_no_more() {
    let (client, raw) = Raw::connected_to(Config::default(), window(1000), &[]).await;
    let options = RequestOptions::default();
    let content = Content::Payload(Large(vec![7; 500_000]));
    let pending = ask_with(&client, "POST", "/", content, options);
    let mut exchange = raw.request().await;
    exchange.recv.stop(quinn::VarInt::from_u32(0x100)).unwrap();
    exchange.answer(b"too large").await;
    assert_eq!(full(pending).await, (200, b"too large".to_vec()));
    let content = Content::Payload(Large(vec![7; 500_000]));
    let pending = ask_with(&client, "POST", "/", content, options);
    let mut exchange = raw.request().await;
    exchange.answer(b"read later").await;
    // The frames' heads and the request's come on top.
    let sent = exchange.content().await.map(|bytes| bytes.len());
    assert!(sent.is_ok_and(|len| (500_000..501_000).contains(&len)), "{sent:?}");
    assert_eq!(full(pending).await, (200, b"read later".to_vec()));
}

// Clauses: TRAP-27, ASY-13
#[tokio::test]
async fn a_stream_that_has_much_does_not_keep_the_others_waiting() {
    let (client, raw) = Raw::connected(Config { push_allowance: 1, ..Config::default() }).await;
    let (messages, mut inbox) = mpsc::unbounded_channel();
    let options = RequestOptions::default();
    // Two turns and a bit, and less than one.
    let sizes = [(b'a', 2_200_000), (b'b', 900_000)];
    let (mut receivers, mut exchanges) = (Vec::new(), Vec::new());
    for (byte, size) in sizes {
        let receiver = Receiver { id: byte.into(), messages: messages.clone() };
        accepted(get_async(&client, "/", receiver.clone(), AsyncMode::Push, options)).await;
        receivers.push(receiver);
        let mut exchange = raw.request().await;
        exchange.answer(&vec![byte; size]).await;
        // From here on all of it is there to be read.
        within(exchange.send.stopped()).await.unwrap();
        exchanges.push(exchange);
    }
    // On one thread both may be read from the same moment on.
    for receiver in receivers {
        client.tell(Command::Grant { receiver: Some(receiver), bytes: 1 << 30 });
    }
    let mut left = sizes.map(|(_, size)| size);
    while left[1] > 0 {
        if let Message::Data(piece) = within(inbox.recv()).await.expect("a receiver was dropped") {
            left[usize::from(piece.as_slice()[0] - b'a')] -= piece.as_slice().len();
        }
    }
    assert!(left[0] > 0, "the one that was first had all turns");
}
