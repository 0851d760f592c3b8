//! `max_body_bytes`.

use hansom_engine::{Config, Error, Limit, Limits};
use tokio::io::AsyncWriteExt;

use crate::host::{Client, answer, data, describe, error, head, send, status};

const LIMIT: usize = 100_000;

fn config() -> Config {
    let limits = Limits { body_bytes: LIMIT as u64, ..Limits::default() };
    Config { limits, ..Config::default() }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunked, Framing::UntilClose];

impl Framing {
    fn head(self, length: usize) -> String {
        let field = match self {
            Self::Length => format!("Content-Length: {length}\r\n"),
            Self::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Self::UntilClose => String::new(),
        };
        format!("HTTP/1.1 200 OK\r\n{field}\r\n")
    }

    fn body(self, length: usize) -> Vec<u8> {
        let mut body = Vec::new();
        if self == Self::Chunked {
            body.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        }
        body.resize(body.len() + length, b'x');
        if self == Self::Chunked {
            body.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        body
    }
}

/// A client that waits for the body of a response whose head alone has come.
async fn waiting(
    framing: Framing,
    length: usize,
) -> (Client, tokio::net::TcpStream, crate::host::Pending) {
    let (client, mut peer) = Client::connected(config()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, framing.head(length).as_bytes()).await;
    assert_eq!(status(response).await, 200);
    let body = client.body();
    (client, peer, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_as_long_as_the_limit_is_read_whenever_it_comes() {
    for framing in FRAMINGS {
        for length in [5, LIMIT] {
            let (_client, mut peer, body) = waiting(framing, length).await;
            let bytes = framing.body(length);
            let (first, rest) = bytes.split_at(4);
            send(&mut peer, first).await;
            send(&mut peer, rest).await;
            peer.shutdown().await.unwrap();
            let body = answer(body).await;
            assert_eq!(describe(&body), format!("{length} bytes"), "{framing:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_body_is_refused_whenever_it_comes() {
    for framing in FRAMINGS {
        let (_client, mut peer, body) = waiting(framing, LIMIT + 1).await;
        send(&mut peer, &framing.body(LIMIT + 1)).await;
        peer.shutdown().await.unwrap();
        assert_eq!(error(body).await, Error::Limit(Limit::BodyBytes), "{framing:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_have_no_limit() {
    let (client, mut peer) = Client::connected(config()).await;
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, Framing::UntilClose.head(0).as_bytes()).await;
    assert_eq!(status(response).await, 200);
    send(&mut peer, &Framing::UntilClose.body(3 * LIMIT)).await;
    let mut received = 0;
    while received < 3 * LIMIT {
        received += data(client.piece()).await.len();
    }
    assert_eq!(received, 3 * LIMIT);
}
