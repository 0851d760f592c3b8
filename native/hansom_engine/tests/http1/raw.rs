//! Bytes past HTTP.

use std::time::Duration;

use hansom_engine::transport::{TlsClient, TlsOptions};
use hansom_engine::{Answer, Command, Config, Content, Error, State};
use tokio::io::AsyncReadExt;

use crate::host::{
    Caller, Client, Large, Pending, answer, data, describe, error, head, send, status, within,
};

fn recv(client: &Client, length: usize, timeout: Option<Duration>) -> Pending {
    client.ask(|caller| Command::Recv { caller, length, timeout })
}

fn brief() -> Option<Duration> {
    Some(Duration::from_millis(50))
}

async fn reuse(client: &Client) -> String {
    describe(&answer(client.ask(|caller| Command::Reuse { caller })).await)
}

/// A connection whose peer has ended the stream, which a read was told.
async fn read_to_the_end() -> Client {
    let (client, mut peer) = Client::connected(Config::default()).await;
    send(&mut peer, b"last").await;
    drop(peer);
    assert_eq!(data(recv(&client, 4, None)).await, b"last");
    assert_eq!(error(recv(&client, 0, None)).await, Error::Closed);
    client
}

// Clauses: LOW-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_after_the_end_is_told_of_it() {
    let client = read_to_the_end().await;
    for (length, timeout) in [(0, None), (1, Some(Duration::from_secs(3600))), (0, brief())] {
        assert_eq!(error(recv(&client, length, timeout)).await, Error::Closed);
    }
}

// Clauses: LOW-5, LOW-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_read_to_its_end_is_not_sound() {
    let client = read_to_the_end().await;
    assert_eq!(reuse(&client).await, "reuse false false");
    for checkout in [false, true] {
        let client = read_to_the_end().await;
        let probe = client.ask(|caller| Command::Probe { caller, checkout });
        assert_eq!(error(probe).await, Error::Closed);
        assert_eq!(client.connection.state(), State::Closed);
    }
}

// Clauses: LOW-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_gives_up_loses_no_byte() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    for piece in [b"abc", b"def"] {
        send(&mut peer, piece).await;
        assert_eq!(error(recv(&client, 10, brief())).await, Error::Timeout);
    }
    assert_eq!(data(recv(&client, 2, None)).await, b"ab");
    assert_eq!(reuse(&client).await, "reuse false false");
    assert_eq!(data(recv(&client, 0, None)).await, b"cdef");
    assert_eq!(reuse(&client).await, "reuse false true");

    // Of one that is forgotten, and at the end of the stream, where what is left is still there
    // for whoever asks for less.
    let (caller, pending) = client.caller();
    let target = Caller { id: caller.id, process: 0, reply: None };
    client.tell(Command::Recv { caller, length: 100_000, timeout: None });
    send(&mut peer, &[b'x'; 70_000]).await;
    answer(client.ask(|caller| Command::Cancel { caller, target })).await;
    assert!(within(pending).await.is_err());
    drop(peer);
    assert_eq!(error(recv(&client, 100_000, None)).await, Error::Closed);
    assert_eq!(data(recv(&client, 60_000, None)).await, [b'x'; 60_000]);
    assert_eq!(error(recv(&client, 10_001, None)).await, Error::Closed);
    assert_eq!(data(recv(&client, 0, None)).await, [b'x'; 10_000]);
    assert_eq!(error(recv(&client, 0, None)).await, Error::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_read_left_begins_the_next_response() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    send(&mut peer, b"HTTP/1.1 200 ").await;
    assert_eq!(error(recv(&client, 100, brief())).await, Error::Timeout);
    let response = client.get();
    head(&mut peer).await;
    send(&mut peer, b"OK\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(status(response).await, 200);
    assert_eq!(data(client.body()).await, b"hi");
    assert_eq!(client.connection.state(), State::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_of_a_pool_does_not_keep_what_a_read_left() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    send(&mut peer, b"abc").await;
    assert_eq!(error(recv(&client, 10, brief())).await, Error::Timeout);
    client.tell(Command::WatchIdle);
    client.reaches(State::Closed).await;
    assert_eq!(within(peer.read(&mut [0; 1])).await.unwrap(), 0);
}

fn upgrade(client: &Client) -> Pending {
    let tls = TlsClient::lazy(TlsOptions { verify: false, ..TlsOptions::default() });
    client.ask(|caller| Command::Upgrade { caller, tls, server_name: "a.test".to_owned() })
}

// Clauses: LOW-10, LOW-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_does_not_begin_under_a_read_or_write() {
    let (client, mut peer) = Client::connected(Config::default()).await;
    let received = recv(&client, 3, None);
    assert_eq!(error(upgrade(&client)).await, Error::InvalidState);
    send(&mut peer, b"abc").await;
    assert_eq!(data(received).await, b"abc");

    send(&mut peer, b"d").await;
    assert_eq!(error(recv(&client, 2, brief())).await, Error::Timeout);
    assert_eq!(error(upgrade(&client)).await, Error::InvalidState);
    assert_eq!(data(recv(&client, 1, None)).await, b"d");

    const LENGTH: usize = 32 << 20;
    let data = Content::Payload(Large(vec![b'x'; LENGTH]));
    let sent = client.ask(|caller| Command::Send { caller, data });
    assert_eq!(error(upgrade(&client)).await, Error::InvalidState);
    let mut taken = vec![0; LENGTH];
    within(peer.read_exact(&mut taken)).await.unwrap();
    assert!(matches!(answer(sent).await, Answer::Ok));
}

// Clauses: TRAP-45, LOW-7, POOL-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_handshake_to_learn_that_the_connection_is_not_ready() {
    let (client, _silent) = Client::connected(Config::default()).await;
    let _upgrade = upgrade(&client);
    assert_eq!(reuse(&client).await, "reuse false false");
    for checkout in [false, true] {
        let probe = client.ask(|caller| Command::Probe { caller, checkout });
        assert_eq!(error(probe).await, Error::InvalidState);
    }
}

/// Longer than a test needs to give its first command, shorter than [`LONGER`].
const IDLE: Duration = Duration::from_secs(2);
const LONGER: Duration = Duration::from_secs(3);

async fn connected_with_idle_timeout() -> (Client, tokio::net::TcpStream) {
    Client::connected(Config { idle_timeout: Some(IDLE), ..Config::default() }).await
}

// Clauses: ST-9, LOW-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_read_from_is_not_idle() {
    let (client, mut peer) = connected_with_idle_timeout().await;
    assert_eq!(error(recv(&client, 10, Some(LONGER))).await, Error::Timeout);
    client.reaches(State::Closed).await;
    assert_eq!(within(peer.read(&mut [0; 1])).await.unwrap(), 0);
}

// Clauses: ST-9, LOW-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_written_to_is_not_idle() {
    const LENGTH: usize = 32 << 20;
    let data = Content::Payload(Large(vec![b'x'; LENGTH]));
    let (client, mut peer) = connected_with_idle_timeout().await;
    let sent = client.ask(|caller| Command::Send { caller, data });
    // The peer takes nothing.
    let closed = tokio::time::timeout(LONGER, client.reaches(State::Closed));
    assert!(closed.await.is_err());
    let mut received = vec![0; LENGTH];
    within(peer.read_exact(&mut received)).await.unwrap();
    assert!(matches!(answer(sent).await, Answer::Ok));
    client.reaches(State::Closed).await;
    assert_eq!(within(peer.read(&mut [0; 1])).await.unwrap(), 0);
}
