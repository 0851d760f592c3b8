//! Bodies whose content coding is undone.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Coding, Command, Config, Connection, Content, Dial, Error, Gone,
    HeaderList, Limit, Limits, Message, Notice, RequestOptions, Sink, TransportKind,
};
use tokio::net::{TcpListener, TcpStream};

use crate::get;
use crate::host::{
    Caller, Client, Pending, Receiver, TestHost, TestSink, answer, data, describe, error, head,
    request, send, status, told, within,
};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn response(compressed: &[u8]) -> Vec<u8> {
    let length = compressed.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), compressed].concat()
}

fn decompressing() -> RequestOptions {
    RequestOptions { auto_decompress: true, ..RequestOptions::default() }
}

async fn exchange(config: Config, compressed: &[u8]) -> (Client, TcpStream) {
    let (client, mut peer) = Client::connected(config).await;
    let pending = get(&client, decompressing());
    head(&mut peer).await;
    let bytes = response(compressed);
    let sending = async { send(&mut peer, &bytes).await };
    let (status, ()) = tokio::join!(status(pending), sending);
    assert_eq!(status, 200);
    (client, peer)
}

// Clauses: RSP-21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_comes_as_it_was_however_it_is_cut() {
    let plain: Vec<u8> = (0..500_000_u32).flat_map(|i| (i % 1000).to_be_bytes()).collect();
    let (client, _peer) = exchange(Config::default(), &gzip(&plain)).await;
    assert!(data(client.body()).await == plain);

    let (client, mut peer) = Client::connected(Config::default()).await;
    let pending = get(&client, decompressing());
    head(&mut peer).await;
    for byte in response(&gzip(b"hello")) {
        send(&mut peer, &[byte]).await;
    }
    assert_eq!(status(pending).await, 200);
    assert_eq!(data(client.body()).await, b"hello");
}

// Clauses: RSP-21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_in_pieces_goes_on_as_the_peer_sent_it() {
    let compressed = gzip(&b"some text ".repeat(10));
    let (first, rest) = compressed.split_at(12);
    let (client, mut peer) = Client::connected(Config::default()).await;
    let pending = get(&client, decompressing());
    head(&mut peer).await;
    let whole = response(&compressed);
    send(&mut peer, &whole[..whole.len() - rest.len()]).await;
    assert_eq!(status(pending).await, 200);
    assert_eq!(data(client.piece()).await, first);
    let body = client.body();
    send(&mut peer, rest).await;
    assert_eq!(data(body).await, rest);
}

// Clauses: RSP-21, ASY-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_as_messages_goes_on_as_the_peer_sent_it() {
    let compressed = gzip(&b"some text ".repeat(10));
    let (client, mut peer) = Client::connected(Config::default()).await;
    let (messages, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let accepted = client.ask(|caller| Command::RequestAsync {
        caller,
        request: request("GET", Content::Empty),
        options: decompressing(),
        receiver: Receiver { id: 7, messages },
        receiver_owns: false,
        mode: AsyncMode::Once,
        follow_redirect: false,
    });
    assert!(matches!(answer(accepted).await, Answer::Ok));
    head(&mut peer).await;
    send(&mut peer, &response(&compressed)).await;
    for expected in ["status 200", "headers"] {
        assert_eq!(told(&within(inbox.recv()).await.unwrap()), expected);
    }
    let stopped = client.ask(|caller| Command::StopAsync { caller });
    assert!(matches!(answer(stopped).await, Answer::Ok));
    assert_eq!(data(client.body()).await, compressed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_decompressed_has_no_pieces() {
    let compressed = gzip(b"hello");
    let (client, mut peer) = Client::connected(Config::default()).await;
    let pending = get(&client, decompressing());
    head(&mut peer).await;
    let whole = response(&compressed);
    let (begin, rest) = whole.split_at(whole.len() - 3);
    let (begin, last) = begin.split_at(begin.len() - 3);
    send(&mut peer, begin).await;
    assert_eq!(status(pending).await, 200);
    let (caller, body) = client.caller();
    let target = Caller { id: caller.id, process: 0, reply: None };
    client.tell(Command::Body { caller });
    // It waits now, and what comes is decompressed by the turn that reads it.
    answer(client.ask(|caller| Command::Reuse { caller })).await;
    send(&mut peer, last).await;
    let received = (begin.len() + last.len()) as u64;
    within(async {
        while client.connection.info().totals.received < received {
            tokio::task::yield_now().await;
        }
    })
    .await;
    answer(client.ask(|caller| Command::Cancel { caller, target })).await;
    assert!(within(body).await.is_err());
    assert_eq!(error(client.piece()).await, Error::InvalidState);
    send(&mut peer, rest).await;
    assert_eq!(data(client.body()).await, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_body_is_for_what_comes_and_for_what_becomes_of_it() {
    let limited = |body_bytes| {
        let limits = Limits { body_bytes, ..Limits::default() };
        Config { limits, ..Config::default() }
    };
    let text = b"some text ".repeat(100);
    let (client, _peer) = exchange(limited(1000), &gzip(&text)).await;
    assert_eq!(data(client.body()).await, text);

    let (client, _peer) = exchange(limited(999), &gzip(&text)).await;
    assert_eq!(error(client.body()).await, Error::Limit(Limit::BodyBytes));

    let nothing = gzip(b"").repeat(100);
    let (client, _peer) = exchange(limited(nothing.len() as u64), &nothing).await;
    assert_eq!(data(client.body()).await, b"");
    let (client, _peer) = exchange(limited(nothing.len() as u64 - 1), &nothing).await;
    assert_eq!(error(client.body()).await, Error::Limit(Limit::BodyBytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_decompression_have_their_own_error() {
    let limits = Limits { decompressed_bytes: 999, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let (client, _peer) = exchange(config, &gzip(&[b'x'; 1000])).await;
    let expected = Error::Decompress { coding: Coding::Gzip, reason: "too_large" };
    assert_eq!(error(client.body()).await, expected);
}

/// Counts the turns of a connection's task.
struct Counting(TestSink, Arc<AtomicUsize>);

impl Sink<TestHost> for Counting {
    fn reply(&mut self, caller: Caller, answer: Answer<TestHost>) {
        self.0.reply(caller, answer);
    }
    fn inform(&mut self, caller: &Caller, status: u16, reason: &[u8], headers: &HeaderList) {
        self.0.inform(caller, status, reason, headers);
    }
    fn send(&mut self, receiver: &Receiver, message: Message<TestHost>) -> Result<(), Gone> {
        self.0.send(receiver, message)
    }
    fn notify(&mut self, notice: Notice<TestHost>) {
        self.0.notify(notice);
    }
    fn unlocked(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

fn submit(
    connection: &Connection<TestHost>,
    sink: &TestSink,
    command: impl FnOnce(Caller) -> Command<TestHost>,
) -> Pending {
    let (reply, pending) = tokio::sync::oneshot::channel();
    connection.submit(command(Caller { id: 1, process: 1, reply: Some(reply) }), &mut sink.clone());
    pending
}

/// A few bytes that become many are many turns' work, so that others have theirs in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_bounded_by_what_becomes_of_a_body() {
    const PLAIN: usize = 16 << 20;
    let response = response(&gzip(&vec![0; PLAIN]));
    let limits = Limits { decompress_ratio: u64::MAX, ..Limits::default() };
    let turns = Arc::new(AtomicUsize::new(0));
    let sink = TestSink(std::sync::mpsc::channel().0);
    let connection = Connection::spawn(
        Config { limits, ..Config::default() },
        Box::new(Counting(sink.clone(), turns.clone())),
        &tokio::runtime::Handle::current(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dial = Box::new(Dial::new(TransportKind::Tcp, "127.0.0.1", port));
    let dialled = submit(&connection, &sink, |caller| Command::Connect { caller, dial });
    let (mut peer, _) = within(listener.accept()).await.unwrap();
    assert!(matches!(answer(dialled).await, Answer::Ok));
    let pending = submit(&connection, &sink, |caller| Command::Request {
        caller,
        request: request("GET", Content::Empty),
        options: decompressing(),
    });
    head(&mut peer).await;
    send(&mut peer, &response).await;
    assert_eq!(status(pending).await, 200);
    let before = turns.load(Ordering::SeqCst);
    let body = answer(submit(&connection, &sink, |caller| Command::Body { caller })).await;
    match &body {
        Answer::Data(body) => {
            assert_eq!(body.as_slice().len(), PLAIN);
            assert!(body.as_slice().iter().all(|byte| *byte == 0));
        }
        other => panic!("{}", describe(other)),
    }
    let turns = turns.load(Ordering::SeqCst) - before;
    assert!(turns >= PLAIN >> 21, "{turns} turns");
}
