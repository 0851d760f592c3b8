//! Exchanges over a real socket, the peer's every byte under the test's control.

#[path = "support/host.rs"]
mod host;

use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Content, Dial, Error, HeaderList, Message,
    Notice, RequestOptions, State, TransportKind,
};
use host::{
    Client, Large, Receiver, TestHost, answer, data, describe, error, head, request, send, status,
    told, within,
};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

const OK_HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn messages() -> (Receiver, mpsc::UnboundedReceiver<Message<TestHost>>) {
    let (sender, messages) = mpsc::unbounded_channel();
    (Receiver { id: 7, messages: sender }, messages)
}

fn start_async(client: &Client, receiver: Receiver, mode: AsyncMode) -> host::Pending {
    client.ask(|caller| Command::RequestAsync {
        caller,
        request: request("GET", Content::Empty),
        options: RequestOptions::default(),
        receiver,
        receiver_owns: false,
        mode,
        follow_redirect: true,
    })
}

async fn next(messages: &mut mpsc::UnboundedReceiver<Message<TestHost>>) -> String {
    told(&within(messages.recv()).await.expect("the receiver was dropped"))
}

fn notice(client: &Client) -> &'static str {
    match client.notices.recv_timeout(host::PATIENCE).expect("no notice") {
        Notice::Closed => "closed",
        Notice::Finished => "finished",
        Notice::Released => "released",
        Notice::Owner(_) => "owner",
        Notice::Flow(_) => "flow",
        Notice::AltSvc(_) => "alt-svc",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_exchanges_share_a_connection() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    for _ in 0..2 {
        let response = client.get();
        assert!(head(&mut peer).await.starts_with("GET / HTTP/1.1\r\n"));
        send(&mut peer, OK_HELLO).await;
        assert_eq!(status(response).await, 200);
        assert_eq!(client.connection.state(), State::Receiving);
        assert_eq!(data(client.body()).await, b"hello");
        assert_eq!(client.connection.state(), State::Connected);
    }
    assert_eq!(client.connection.info().totals.reuses, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_awaited_before_its_head_came() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    let body = client.body();
    let second = client.body();
    head(&mut peer).await;
    send(&mut peer, OK_HELLO).await;
    assert_eq!(status(response).await, 200);
    assert_eq!(data(body).await, b"hello");
    assert_eq!(error(second).await, Error::InvalidState);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_comes_whole_and_in_pieces() {
    let length = 3_000_000;
    let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    let (client, mut peer) = Client::connected(Config::default()).await;
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    response.extend_from_slice(&body);

    let whole = client.get();
    head(&mut peer).await;
    let expected = response.clone();
    let server = tokio::spawn(async move {
        send(&mut peer, &expected).await;
        head(&mut peer).await;
        send(&mut peer, &expected).await;
        peer
    });
    assert_eq!(status(whole).await, 200);
    assert!(data(client.body()).await == body);

    assert_eq!(status(client.get()).await, 200);
    let mut pieces = Vec::new();
    loop {
        match answer(client.piece()).await {
            Answer::Data(piece) => {
                pieces.extend_from_slice(piece.as_slice());
            }
            Answer::Done => break,
            other => panic!("{}", describe(&other)),
        }
    }
    assert!(pieces == body);
    assert_eq!(client.connection.state(), State::Connected);
    server.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_pieces() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2").await;
    assert_eq!(status(response).await, 200);
    assert_eq!(data(client.piece()).await, b"abc");
    let second = client.piece();
    send(&mut peer, b"\r\nde\r\n0\r\n\r\n").await;
    assert_eq!(data(second).await, b"de");
    assert!(matches!(answer(client.piece()).await, Answer::Done));
    assert_eq!(error(client.piece()).await, Error::InvalidState);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_and_pulled_messages() {
    let (client, mut peer) = Client::connected(Config { pooled: true, ..Config::default() }).await;
    let (receiver, mut inbox) = messages();
    let accepted = start_async(&client, receiver, AsyncMode::Once);
    head(&mut peer).await;
    assert!(matches!(answer(accepted).await, Answer::Ok));
    send(&mut peer, b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
    send(&mut peer, OK_HELLO).await;
    assert_eq!(next(&mut inbox).await, "informational 103");
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    assert_eq!(client.connection.state(), State::StreamingOnce);
    client.tell(Command::StreamNext { receiver: None });
    assert_eq!(next(&mut inbox).await, "hello");
    assert!(inbox.try_recv().is_err());
    client.tell(Command::StreamNext { receiver: None });
    assert_eq!(next(&mut inbox).await, "done");
    assert_eq!(notice(&client), "released");

    let (receiver, mut inbox) = messages();
    let accepted = start_async(&client, receiver, AsyncMode::Push);
    head(&mut peer).await;
    assert!(matches!(answer(accepted).await, Answer::Ok));
    send(&mut peer, OK_HELLO).await;
    for expected in ["status 200", "headers", "hello", "done"] {
        assert_eq!(next(&mut inbox).await, expected);
    }
    assert_eq!(notice(&client), "released");
    assert_eq!(client.connection.state(), State::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_response_goes_on_when_resumed() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let (receiver, mut inbox) = messages();
    start_async(&client, receiver, AsyncMode::Push);
    head(&mut peer).await;
    send(&mut peer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").await;
    for expected in ["status 200", "headers", "a"] {
        assert_eq!(next(&mut inbox).await, expected);
    }
    answer(client.ask(|caller| Command::Pause { caller })).await;
    assert_eq!(client.connection.state(), State::StreamingOnce);
    send(&mut peer, b"b").await;
    answer(client.ask(|caller| Command::Resume { caller })).await;
    assert_eq!(next(&mut inbox).await, "b");
    assert_eq!(next(&mut inbox).await, "done");
    assert_eq!(notice(&client), "finished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_one_message() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let (receiver, mut inbox) = messages();
    start_async(&client, receiver, AsyncMode::Push);
    head(&mut peer).await;
    send(&mut peer, b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(next(&mut inbox).await, "redirect /x");
    assert_eq!(client.connection.state(), State::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pushed_response_delivers_is_bounded() {
    let config = Config { push_allowance: 64 << 10, ..Config::default() };
    let (client, mut peer) = Client::connected(config).await;
    let (receiver, mut inbox) = messages();
    start_async(&client, receiver, AsyncMode::Push);
    head(&mut peer).await;
    send(&mut peer, b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n").await;
    let server = tokio::spawn(async move {
        send(&mut peer, &vec![b'x'; 4 << 20]).await;
        peer
    });
    let mut received = 0;
    let mut left: i64 = 64 << 10;
    within(async {
        loop {
            match inbox.try_recv() {
                Ok(Message::Data(piece)) => {
                    let len = piece.as_slice().len();
                    received += len;
                    left -= i64::try_from(len).unwrap();
                    // The last piece before a grant may be larger than what was left, and be found
                    // here after it.
                    assert!(left >= -(320 << 10));
                }
                Ok(Message::Done) => break,
                Ok(_) => {}
                Err(_) => match client.notices.try_recv() {
                    Ok(Notice::Flow(_)) => {
                        left = left.max(0) + (64 << 10);
                        client.tell(Command::Grant { receiver: None, bytes: 64 << 10 });
                    }
                    _ => tokio::task::yield_now().await,
                },
            }
        }
    })
    .await;
    assert_eq!(received, 4 << 20);
    server.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_cut_short_is_an_error_unless_configured() {
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    for truncated_body_ok in [false, true] {
        let config = Config { truncated_body_ok, ..Config::default() };
        let (client, mut peer) = Client::connected(config).await;
        let response = client.get();
        head(&mut peer).await;
        send(&mut peer, CUT).await;
        drop(peer);
        assert_eq!(status(response).await, 200);
        let body = answer(client.body()).await;
        let expected = if truncated_body_ok { "5 bytes" } else { "truncated after 5 bytes" };
        assert_eq!(describe(&body), expected);
        assert_eq!(notice(&client), "finished");
        assert_eq!(client.connection.state(), State::Closed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_after_a_response_close_the_connection() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, &[OK_HELLO, b"HTTP/1.1 200 OK\r\n\r\n"].concat()).await;
    assert_eq!(status(response).await, 200);
    assert_eq!(data(client.body()).await, b"hello");
    assert_eq!(client.connection.state(), State::Closed);
    assert_eq!(notice(&client), "finished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_notices_its_peer_leaving() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, OK_HELLO).await;
    status(response).await;
    data(client.body()).await;
    drop(peer);
    client.reaches(State::Closed).await;
    assert_eq!(notice(&client), "closed");
    assert_eq!(error(client.get()).await, Error::InvalidState);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checked_out_connection_tells_its_user_that_the_peer_left() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, OK_HELLO).await;
    status(response).await;
    data(client.body()).await;
    let probe = client.ask(|caller| Command::Probe { caller, checkout: true });
    assert!(matches!(answer(probe).await, Answer::Ok));
    drop(peer);
    client.reaches(State::Closed).await;
    assert_eq!(error(client.get()).await, Error::Closed);
    assert_eq!(error(client.get()).await, Error::InvalidState);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_too_long_ends_the_exchange() {
    let config =
        Config { recv_timeout: Some(std::time::Duration::from_millis(50)), ..Config::default() };
    let (client, _peer) = Client::connected(config).await;
    assert_eq!(error(client.get()).await, Error::Timeout);
    assert_eq!(client.connection.state(), State::Closed);
    assert_eq!(notice(&client), "closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_caller_hears_nothing_and_the_response_can_still_be_read() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let (caller, response) = client.caller();
    let id = caller.id;
    client.tell(Command::Request {
        caller,
        request: request("GET", Content::Empty),
        options: RequestOptions::default(),
    });
    head(&mut peer).await;
    let target = host::Caller { id, process: 0, reply: None };
    let cancelled = client.ask(|caller| Command::Cancel { caller, target });
    assert!(matches!(answer(cancelled).await, Answer::Ok));
    assert!(within(response).await.is_err());
    send(&mut peer, OK_HELLO).await;
    assert_eq!(data(client.body()).await, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_body_loses_no_byte() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc").await;
    status(response).await;
    let (caller, body) = client.caller();
    let target = host::Caller { id: caller.id, process: 0, reply: None };
    client.tell(Command::Body { caller });
    answer(client.ask(|caller| Command::Cancel { caller, target })).await;
    assert!(within(body).await.is_err());
    send(&mut peer, b"def").await;
    assert_eq!(data(client.body()).await, b"abcdef");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_pieces() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let begun = client.ask(|caller| Command::SendHeaders {
        caller,
        request: request("POST", Content::Stream),
        options: RequestOptions::default(),
    });
    assert!(matches!(answer(begun).await, Answer::Ok));
    assert_eq!(client.connection.state(), State::StreamingBody);
    assert!(head(&mut peer).await.contains("Transfer-Encoding: chunked"));
    let large = vec![b'y'; 200_000];
    let mut sent = Vec::new();
    for data in [Content::Bytes(b"abc".to_vec()), Content::Empty, Content::Payload(Large(large))] {
        sent.push(client.ask(|caller| Command::SendChunk { caller, data }));
    }
    let finished =
        client.ask(|caller| Command::FinishBody { caller, trailers: HeaderList::default() });
    let expected =
        [b"3\r\nabc\r\n30D40\r\n".to_vec(), vec![b'y'; 200_000], b"\r\n0\r\n\r\n".to_vec()];
    let mut received = vec![0; expected.concat().len()];
    within(peer.read_exact(&mut received)).await.unwrap();
    assert!(received == expected.concat());
    sent.push(finished);
    for acknowledged in sent {
        assert!(matches!(answer(acknowledged).await, Answer::Ok));
    }
    let response = client.ask(|caller| Command::StartResponse { caller });
    send(&mut peer, OK_HELLO).await;
    assert_eq!(status(response).await, 200);
    assert_eq!(data(client.body()).await, b"hello");
    assert_eq!(client.connection.state(), State::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_drops_every_caller() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    client.shut_down();
    assert!(within(response).await.is_err());
    assert_eq!(within(peer.read(&mut [0; 1])).await.unwrap(), 0);
    assert!(within(client.get()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_what_is_under_way() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let response = client.get();
    head(&mut peer).await;
    let body = client.body();
    let closed = client.ask(|caller| Command::Close { caller });
    assert!(matches!(answer(closed).await, Answer::Ok));
    assert_eq!(error(response).await, Error::Closed);
    assert_eq!(error(body).await, Error::InvalidState);
    assert_eq!(within(peer.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_runtime_ends_the_connection() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (sender, notices) = std::sync::mpsc::channel();
    let sink = host::TestSink(sender);
    let connection = hansom_engine::Connection::<TestHost>::spawn(
        Config::default(),
        Box::new(sink.clone()),
        runtime.handle(),
    );
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    assert!(matches!(notices.recv_timeout(host::PATIENCE), Ok(Notice::Finished)));
    for connects in [false, true] {
        let (reply, pending) = tokio::sync::oneshot::channel();
        let caller = host::Caller { id: 1, process: 0, reply: Some(reply) };
        let dial = Box::new(Dial::new(TransportKind::Tcp, "127.0.0.1", 1));
        let command = match connects {
            false => Command::Body { caller },
            true => Command::Connect { caller, dial },
        };
        connection.submit(command, &mut sink.clone());
        assert!(within(pending).await.is_err());
    }
}

#[test]
fn the_end_of_the_runtime_is_told_to_a_receiver() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (receiver, mut inbox) = messages();
    let (client, _peer) = runtime.block_on(async {
        let (client, mut peer) = Client::connected(Config::default()).await;
        let accepted = start_async(&client, receiver, AsyncMode::Push);
        head(&mut peer).await;
        assert!(matches!(answer(accepted).await, Answer::Ok));
        send(&mut peer, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await;
        for expected in ["status 200", "headers", "hello"] {
            assert_eq!(next(&mut inbox).await, expected);
        }
        (client, peer)
    });
    drop(runtime);
    assert_eq!(notice(&client), "finished");
    assert_eq!(told(&inbox.try_recv().unwrap()), "Closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_tells_a_receiver_that_did_not_close() {
    for (own, expected) in [(false, Some("Closed")), (true, None)] {
        let (client, mut peer) = Client::connected(Config::default()).await;
        let (mut receiver, mut inbox) = messages();
        let (caller, closed) = client.caller();
        if own {
            receiver.id = caller.id;
        }
        let accepted = start_async(&client, receiver, AsyncMode::Push);
        head(&mut peer).await;
        assert!(matches!(answer(accepted).await, Answer::Ok));
        client.tell(Command::Close { caller });
        assert!(matches!(answer(closed).await, Answer::Ok));
        assert_eq!(inbox.try_recv().ok().as_ref().map(told).as_deref(), expected);
        assert_eq!(notice(&client), "closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_body_cut_short_ends_with_an_error_and_leaves_the_connection_to_be_asked() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let (receiver, mut inbox) = messages();
    start_async(&client, receiver, AsyncMode::Push);
    head(&mut peer).await;
    send(&mut peer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").await;
    drop(peer);
    for expected in ["status 200", "headers", "a", "Closed"] {
        assert_eq!(next(&mut inbox).await, expected);
    }
    assert_eq!(notice(&client), "closed");
}
