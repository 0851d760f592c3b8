//! What a pushed response delivers before its receiver is looked at.

use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Content, Message, Notice, RequestOptions,
};
use tokio::sync::mpsc;

use crate::host::{Client, Receiver, TestHost, answer, head, request, send, within};

async fn pushed(
    push_allowance: u64,
) -> (Client, tokio::net::TcpStream, mpsc::UnboundedReceiver<Message<TestHost>>) {
    let config = Config { push_allowance, ..Config::default() };
    let (client, mut peer) = Client::connected(config).await;
    let (sender, inbox) = mpsc::unbounded_channel();
    let accepted = client.ask(|caller| Command::RequestAsync {
        caller,
        request: request("GET", Content::Empty),
        options: RequestOptions::default(),
        receiver: Receiver { id: 7, messages: sender },
        receiver_owns: false,
        mode: AsyncMode::Push,
        follow_redirect: false,
    });
    head(&mut peer).await;
    assert!(matches!(answer(accepted).await, Answer::Ok));
    (client, peer, inbox)
}

/// Looks at the receiver whenever that is asked for; the messages and bytes that came, and how
/// often was asked. `check` sees the messages and bytes so far and how often was granted.
async fn received(
    client: &Client,
    inbox: &mut mpsc::UnboundedReceiver<Message<TestHost>>,
    grant: u64,
    check: impl Fn(usize, usize, usize),
) -> (usize, usize, usize) {
    let (mut messages, mut bytes, mut asked) = (0, 0, 0);
    within(async {
        loop {
            match inbox.try_recv() {
                Ok(Message::Data(piece)) => {
                    messages += 1;
                    bytes += piece.as_slice().len();
                    check(messages, bytes, asked);
                }
                Ok(Message::Done) => break,
                Ok(_) => {}
                Err(_) => match client.notices.try_recv() {
                    Ok(Notice::Flow(_)) => {
                        asked += 1;
                        client.tell(Command::Grant { receiver: None, bytes: grant });
                    }
                    _ => tokio::task::yield_now().await,
                },
            }
        }
    })
    .await;
    (messages, bytes, asked)
}

// Clauses: ASY-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_count_for_what_they_take() {
    const CHUNKS: usize = 4096;
    const ALLOWANCE: u64 = 64 << 10;
    let (client, mut peer, mut inbox) = pushed(ALLOWANCE).await;
    send(&mut peer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    send(&mut peer, &[b"1\r\nx\r\n".repeat(CHUNKS), b"0\r\n\r\n".to_vec()].concat()).await;
    let most = ALLOWANCE as usize / 256;
    let (messages, bytes, asked) =
        received(&client, &mut inbox, ALLOWANCE, |messages, _, granted| {
            assert!(messages <= (granted + 1) * most + 1, "{messages} after {granted} looks");
        })
        .await;
    assert_eq!((messages, bytes), (CHUNKS, CHUNKS));
    assert!(asked >= CHUNKS / most - 1, "{asked} looks");
}

// Clauses: ASY-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_allowance_is_asked_for_once_a_piece() {
    const LENGTH: usize = 4 << 20;
    let (client, mut peer, mut inbox) = pushed(1).await;
    let server = tokio::spawn(async move {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        send(&mut peer, head.as_bytes()).await;
        send(&mut peer, &vec![b'x'; LENGTH]).await;
        peer
    });
    let (messages, bytes, asked) = received(&client, &mut inbox, 1, |messages, _, granted| {
        assert!(messages <= granted + 1);
    })
    .await;
    assert_eq!(bytes, LENGTH);
    assert!(asked <= messages, "{asked} looks for {messages} messages");
    server.await.unwrap();
}
