//! The end of a connection by its peer: who is told, and what is not lost.

use std::time::Duration;

use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Content, Error, Http3Config, RequestOptions,
    State,
};
use quinn::VarInt;

use crate::ask::{accepted, get, get_async, mailbox, next, request};
use crate::faults::closed;
use crate::host::{Client, Pending, answer, error, full};
use crate::peer::{DATA, Exchange, GOAWAY, Raw, accept, connect, frame};

// Clauses: H3-10, H3-14, TRAP-36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_is_told_to_every_user() {
    let told = |code, text: &str| Error::TransportError { code, text: text.into() };
    for phase in 0..2 {
        for (code, expected) in [
            (0x100, Error::ConnectionClosed("normal")),
            (0x102, told(0x102, "why")),
            (0x9999, told(0x9999, "why")),
        ] {
            let (client, raw) = Raw::connected(Config::default()).await;
            let first = get(&client, "/");
            let (receiver, mut inbox) = mailbox(1);
            let options = RequestOptions::default();
            accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
            let headers = request("POST", "/", Content::Stream);
            let started =
                client.ask(|caller| Command::SendHeaders { caller, request: headers, options });
            accepted(started).await;
            let parked = client.ask(|caller| Command::StartResponse { caller });
            let mut exchanges = Vec::new();
            for _ in 0..3 {
                let mut exchange = raw.request().await;
                if phase == 1 {
                    exchange.respond("200", &[]).await;
                }
                exchanges.push(exchange);
            }
            if phase == 1 {
                assert_eq!(crate::host::status(parked).await, 200);
                for message in ["status 200", "headers"] {
                    assert_eq!(next(&mut inbox).await, message);
                }
                let parked = client.body();
                // Commands are carried out in order: this one is, once the next is answered.
                answer(client.ask(|caller| Command::Protocol { caller })).await;
                raw.connection.close(VarInt::from_u32(code), b"why");
                assert_eq!(error(parked).await, expected);
            } else {
                raw.connection.close(VarInt::from_u32(code), b"why");
                assert_eq!(error(parked).await, expected);
            }
            assert_eq!(error(first).await, expected);
            assert_eq!(next(&mut inbox).await, format!("{expected:?}"));
            closed(&client);
            assert_eq!(error(get(&client, "/")).await, Error::InvalidState);
        }
    }
}

// Clauses: H3-10, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_is_told_to_whoever_is_between_two_commands() {
    let streaming = |client: &Client, process| {
        let request = request("GET", "/", Content::Empty);
        let options = RequestOptions::default();
        client.ask_as(process, |caller| Command::RequestStreaming { caller, request, options })
    };
    let uploading = |client: &Client, process| {
        let request = request("POST", "/", Content::Stream);
        let options = RequestOptions::default();
        client.ask_as(process, |caller| Command::SendHeaders { caller, request, options })
    };
    let piece =
        |client: &Client, process| client.ask_as(process, |caller| Command::StreamBody { caller });
    // With a response that can be read to its end the connection stays for it.
    for complete in [false, true] {
        let (client, raw) = Raw::connected(Config::default()).await;
        let mut exchanges = Vec::new();
        for process in 1..=3 {
            let head = streaming(&client, process);
            let mut exchange = raw.request().await;
            exchange.respond("200", &[]).await;
            assert_eq!(crate::host::status(head).await, 200);
            exchanges.push(exchange);
        }
        accepted(uploading(&client, 4)).await;
        let _upload = raw.request().await;
        let other = get(&client, "/");
        let _other = raw.request().await;
        if complete {
            exchanges[0].end();
            crate::host::within(exchanges[0].send.stopped()).await.unwrap();
        }
        raw.connection.close(VarInt::from_u32(0x102), b"why");
        let lost = Error::TransportError { code: 0x102, text: "why".into() };
        assert_eq!(error(other).await, lost);
        if !complete {
            closed(&client);
        }
        let chunk = client.ask_as(4, |caller| Command::SendChunk { caller, data: Content::Empty });
        assert_eq!(error(chunk).await, lost);
        assert_eq!(error(piece(&client, 2)).await, lost);
        // Each is told once, and nobody else is.
        for process in [2, 4, 5] {
            let refused = error(piece(&client, process)).await;
            assert_eq!(refused, if complete { Error::NoStream } else { Error::InvalidState });
        }
        if complete {
            assert!(matches!(answer(piece(&client, 1)).await, Answer::Done));
            closed(&client);
        } else {
            assert_eq!(error(piece(&client, 1)).await, lost);
        }
        // A new connection knows nothing of the old one.
        let pending = connect(&client, &raw.endpoint);
        let _connection = accept(&raw.endpoint).await;
        accepted(pending).await;
        assert_eq!(error(piece(&client, 3)).await, Error::NoStream);
    }
    // Nor is anybody told of what is of no interest any more.
    let (client, raw) = Raw::connected(Config::default()).await;
    for process in [1, 2] {
        accepted(uploading(&client, process)).await;
        raw.request().await.recv.stop(VarInt::from_u32(0x100)).unwrap();
    }
    client.tell(Command::ProcessGone { process: 1 });
    let close = client.ask_as(2, |caller| Command::Close { caller });
    accepted(close).await;
    for process in [1, 2] {
        assert_eq!(error(piece(&client, process)).await, Error::InvalidState);
    }
}

// Clauses: H3-10, H3-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_noticed_by_quic() {
    let http3 =
        Http3Config { idle_timeout: Some(Duration::from_secs(2)), ..Http3Config::default() };
    // The receive timeout of the connection has no say.
    let recv_timeout = Some(Duration::from_millis(50));
    let (client, raw) = Raw::connected(Config { http3, recv_timeout, ..Config::default() }).await;
    let pending = get(&client, "/");
    let _exchange = raw.request().await;
    assert_eq!(error(pending).await, Error::ConnectionClosed("timeout"));
    closed(&client);
}

// Clauses: H3-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_alive_by_option() {
    let http3 = Http3Config {
        idle_timeout: Some(Duration::from_secs(2)),
        keep_alive_interval: Some(Duration::from_millis(100)),
        ..Http3Config::default()
    };
    let (client, raw) = Raw::connected(Config { http3, ..Config::default() }).await;
    tokio::time::timeout(Duration::from_secs(3), raw.connection.closed()).await.unwrap_err();
    let pending = get(&client, "/");
    raw.request().await.answer(b"alive").await;
    assert_eq!(full(pending).await, (200, b"alive".to_vec()));
}

// Clauses: H3-10, ST-23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goaway_lets_come_to_an_end_what_the_peer_serves() {
    let (client, mut raw) = Raw::connected(Config::default()).await;
    let served = get(&client, "/");
    let mut exchange = raw.request().await;
    let refused = get(&client, "/");
    let _refused = raw.request().await;
    raw.say(&frame(GOAWAY, &[4])).await;
    assert_eq!(error(refused).await, Error::ConnectionClosed("goaway"));
    client.reaches(State::Closed).await;
    assert_eq!(error(get(&client, "/")).await, Error::InvalidState);
    exchange.answer(b"last").await;
    assert_eq!(full(served).await, (200, b"last".to_vec()));
    closed(&client);
    assert_eq!(raw.closed().await.0, 0x100);
}

// Clauses: ST-6, H3-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_closed_connection_gives_way_to_a_new_one() {
    let (client, mut raw) = Raw::connected(Config::default()).await;
    let served = get(&client, "/");
    let _served = raw.request().await;
    raw.say(&frame(GOAWAY, &[4])).await;
    client.reaches(State::Closed).await;
    let dialled = connect(&client, &raw.endpoint);
    let _connection = accept(&raw.endpoint).await;
    accepted(dialled).await;
    assert_eq!(error(served).await, Error::ConnectionClosed("normal"));
    assert_eq!(raw.closed().await.0, 0x100);
    assert_eq!(client.connection.state(), State::Connected);
    // The process is told of a close to act on it, which would end the new connection.
    assert!(client.notices.try_recv().is_err());
}

// Clauses: H3-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_complete_when_the_peer_closes_is_not_lost() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let pending = get(&client, "/");
    let mut exchange = raw.request().await;
    exchange.answer(b"whole").await;
    let stopped = exchange.send.stopped();
    crate::host::within(stopped).await.unwrap();
    raw.connection.close(VarInt::from_u32(0x100), b"");
    assert_eq!(full(pending).await, (200, b"whole".to_vec()));
    closed(&client);
}

/// Asks for a response of a mebibyte, of which as much comes as is read without being asked for, and
/// waits until the client's end has all of it.
async fn unread(client: &Client, raw: &Raw, pending: Pending) -> Exchange {
    accepted(pending).await;
    let mut exchange = raw.request().await;
    exchange.answer(&vec![b'x'; 1 << 20]).await;
    crate::host::within(exchange.send.stopped()).await.unwrap();
    assert!(client.connection.info().buffered_in < 1 << 17);
    exchange
}

// Clauses: H3-10, H3-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_response_is_read_to_its_end_whatever_the_peer_does_then() {
    for violates in [false, true] {
        let (client, mut raw) = Raw::connected(Config::default()).await;
        let (receiver, mut inbox) = mailbox(1);
        let options = RequestOptions::default();
        let pulled = get_async(&client, "/", receiver.clone(), AsyncMode::Once, options);
        let _pulled = unread(&client, &raw, pulled).await;
        let request = request("GET", "/", Content::Empty);
        let head = client.ask(|caller| Command::RequestStreaming { caller, request, options });
        let mut exchange = raw.request().await;
        exchange.answer(&vec![b'y'; 1 << 20]).await;
        crate::host::within(exchange.send.stopped()).await.unwrap();
        assert_eq!(crate::host::status(head).await, 200);
        let other = get(&client, "/");
        let _other = raw.request().await;
        if violates {
            raw.say(&frame(DATA, b"")).await;
        } else {
            raw.connection.close(VarInt::from_u32(0x102), b"");
        }
        assert!(matches!(error(other).await, Error::TransportError { .. }));
        assert_eq!(client.connection.state(), State::Closed);
        assert!(
            matches!(answer(client.body()).await, Answer::Data(body) if body.as_slice().len() == 1 << 20)
        );
        for message in ["status 200", "headers"] {
            assert_eq!(next(&mut inbox).await, message);
        }
        let mut left = 1 << 20;
        while left > 0 {
            client.tell(Command::StreamNext { receiver: Some(receiver.clone()) });
            let piece = next(&mut inbox).await;
            assert!(piece.starts_with("xxx"), "{piece:.40}");
            left -= piece.len();
        }
        client.tell(Command::StreamNext { receiver: Some(receiver) });
        assert_eq!(next(&mut inbox).await, "done");
        closed(&client);
    }
}

// Clauses: H3-10, H3-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_response_that_was_not_pulled_is_dropped_if_told_so() {
    let config = Config { drop_unpulled: true, ..Config::default() };
    let (client, mut raw) = Raw::connected(config).await;
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    let pulled = get_async(&client, "/", receiver.clone(), AsyncMode::Once, options);
    let _pulled = unread(&client, &raw, pulled).await;
    for message in ["status 200", "headers"] {
        assert_eq!(next(&mut inbox).await, message);
    }
    // What the peer serves comes to its end after a GOAWAY, also where nobody is waited for by the peer.
    raw.say(&frame(GOAWAY, &[4])).await;
    client.reaches(State::Closed).await;
    client.tell(Command::StreamNext { receiver: Some(receiver) });
    assert!(next(&mut inbox).await.starts_with("xxx"));
    raw.connection.close(VarInt::from_u32(0x100), b"");
    assert_eq!(next(&mut inbox).await, "ConnectionClosed(\"normal\")");
    closed(&client);
}
