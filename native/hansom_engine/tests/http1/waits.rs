//! How long is waited for what.

use std::time::Duration;

use hansom_engine::{Command, Config, Content, Error, RequestOptions};
use tokio::io::AsyncReadExt;

use crate::host::{Client, Large, data, error, head, request, send, status, within};

const REFUSED: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\n";

/// A client that was told no before its request was all sent, and the rest of it.
async fn refused(recv_timeout: Duration) -> (Client, tokio::net::TcpStream, usize) {
    let config = Config { recv_timeout: Some(recv_timeout), ..Config::default() };
    let (client, mut peer) = Client::connected(config).await;
    let length = 32 << 20;
    let response = client.ask(|caller| Command::Request {
        caller,
        request: request("POST", Content::Payload(Large(vec![b'x'; length]))),
        options: RequestOptions::default(),
    });
    head(&mut peer).await;
    send(&mut peer, REFUSED).await;
    assert_eq!(status(response).await, 413);
    (client, peer, length)
}

// Clauses: ST-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_not_awaited_for_ever_though_the_request_is_not_all_sent() {
    let (client, _peer, _) = refused(Duration::from_millis(100)).await;
    assert_eq!(error(client.body()).await, Error::Timeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_still_reads_has_time_to_answer() {
    let (client, mut peer, length) = refused(Duration::from_secs(5)).await;
    let body = client.body();
    let mut received = vec![0; length];
    within(peer.read_exact(&mut received)).await.unwrap();
    send(&mut peer, b"large").await;
    assert_eq!(data(body).await, b"large");
}
