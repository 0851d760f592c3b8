//! Resets, GOAWAY and loss in every phase.

use std::time::Duration;

use hansom_engine::{
    Answer, AsyncMode, Command, Config, Content, Error, H2Code, Http2Config, Notice,
    RequestOptions, State,
};
use tokio::io::AsyncWriteExt;

use crate::host::{Caller, Client, Large, PATIENCE, answer, describe, error, full};
use crate::peer::{
    DATA, END_STREAM, NO_CONTENT, OK, Raw, WINDOW_UPDATE, accepted, ask, ask_with, block, get,
    get_async, mailbox, next, request,
};

fn closed(client: &Client) {
    let notice = client.notices.recv_timeout(PATIENCE).expect("no notice");
    assert!(matches!(notice, Notice::Closed));
    assert_eq!(client.connection.state(), State::Closed);
}

// Clauses: H2-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_told_in_every_phase_by_its_code() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    for phase in 0..3 {
        for code in [0, 1, 7, 13, 99] {
            let pending = get(&client, "/");
            let stream = raw.request().await;
            if phase > 0 {
                raw.respond(stream, 0, OK).await;
            }
            if phase > 1 {
                raw.send(DATA, 0, stream, b"part").await;
            }
            raw.reset(stream, code).await;
            assert_eq!(error(pending).await, Error::StreamError(H2Code(code)));
        }
    }
    assert_eq!(client.connection.state(), State::Connected);
    assert_eq!(H2Code(13).name(), Some("http_1_1_required"));
    assert_eq!(H2Code(99).name(), None);
}

// Clauses: H2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_responses_are_reset_and_told() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let length = block(OK, &[("content-length", "5")]);
    let twice = block(OK, &[("content-length", "5"), ("content-length", "6")]);
    let cases: [(&str, &[u8], &[u8], u8); 7] = [
        ("GET", &length, b"four", END_STREAM),
        ("GET", &length, b"sixsix", 0),
        ("GET", &twice, b"", 0),
        ("GET", &[], b"", 0),
        ("GET", NO_CONTENT, b"content", 0),
        ("GET", crate::peer::NOT_MODIFIED, b"content", END_STREAM),
        ("HEAD", OK, b"content", 0),
    ];
    for (index, (method, head, content, flags)) in cases.into_iter().enumerate() {
        let pending = ask(&client, method, "/", Content::Empty);
        let stream = raw.request().await;
        raw.respond(stream, 0, head).await;
        if !content.is_empty() {
            raw.send(DATA, flags, stream, content).await;
        }
        let expected = Error::StreamError(H2Code::PROTOCOL_ERROR);
        assert_eq!(error(pending).await, expected, "case {index}");
        if flags & END_STREAM == 0 {
            assert_eq!(raw.reset_code().await, 1, "case {index}");
        }
    }
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H2-8, TRAP-17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goaway_fails_everything_and_retires_the_connection() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(3, 3)]).await;
    let first = get(&client, "/");
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
    let headers = request("POST", "/", Content::Stream);
    accepted(client.ask(|caller| Command::SendHeaders { caller, request: headers, options })).await;
    let parked = client.ask(|caller| Command::StartResponse { caller });
    let queued = get(&client, "/");
    for stream in [1, 3, 5] {
        assert_eq!(raw.request().await, stream);
    }
    raw.respond(3, 0, OK).await;
    raw.go_away(3, 11).await;
    let expected = Error::Goaway(H2Code(11));
    for pending in [first, parked, queued] {
        assert_eq!(error(pending).await, expected);
    }
    for message in ["status 200".into(), "headers".into(), format!("{expected:?}")] {
        assert_eq!(next(&mut inbox).await, message);
    }
    closed(&client);
    assert_eq!(error(get(&client, "/")).await, Error::InvalidState);
    raw.ended().await;
}

// Clauses: H2-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goaway_counts_whatever_the_reserved_bit_says() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    raw.send(crate::peer::GOAWAY, 0, 1 << 31, &[0; 8]).await;
    closed(&client);
}

// Clauses: H2-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_complete_when_goaway_comes_is_not_lost() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let pending = get(&client, "/");
    let stream = raw.request().await;
    let mut bytes = crate::peer::frame(1, 4, stream, OK);
    bytes.extend(crate::peer::frame(0, END_STREAM, stream, b"whole"));
    bytes.extend(crate::peer::frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    raw.socket.write_all(&bytes).await.unwrap();
    assert_eq!(full(pending).await, (200, b"whole".to_vec()));
    closed(&client);
}

// Clauses: H2-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_connection_finishes_what_the_peer_serves() {
    let http2 = Http2Config { drain_on_goaway: true, ..Http2Config::default() };
    let (client, mut raw) = Raw::connected(Config { http2, ..Config::default() }, &[]).await;
    let served = get(&client, "/");
    let refused = get(&client, "/");
    assert_eq!((raw.request().await, raw.request().await), (1, 3));
    raw.go_away(1, 0).await;
    assert_eq!(error(refused).await, Error::Goaway(H2Code::NO_ERROR));
    assert_eq!(client.connection.state(), State::Closed);
    assert_eq!(error(get(&client, "/")).await, Error::InvalidState);
    raw.respond(1, 0, OK).await;
    raw.send(DATA, END_STREAM, 1, b"last").await;
    assert_eq!(full(served).await, (200, b"last".to_vec()));
    closed(&client);
    raw.ended().await;
}

// Clauses: H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_is_told_to_every_stream() {
    for phase in 0..2 {
        let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
        let first = get(&client, "/");
        let (receiver, mut inbox) = mailbox(1);
        let options = RequestOptions::default();
        accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
        assert_eq!((raw.request().await, raw.request().await), (1, 3));
        let upload = request("POST", "/", Content::Stream);
        let started =
            client.ask(|caller| Command::SendHeaders { caller, request: upload, options });
        accepted(started).await;
        assert_eq!(raw.request().await, 5);
        if phase == 1 {
            for stream in [1, 3] {
                raw.respond(stream, 0, OK).await;
            }
            for message in ["status 200", "headers"] {
                assert_eq!(next(&mut inbox).await, message);
            }
        }
        drop(raw);
        assert_eq!(error(first).await, Error::ClosedBy("tcp_closed"));
        assert_eq!(next(&mut inbox).await, "ClosedBy(\"tcp_closed\")");
        closed(&client);
        // Whoever is between two commands is told by the next one.
        for expected in [Error::ClosedBy("tcp_closed"), Error::InvalidState] {
            let data = Content::Bytes(b"late".to_vec());
            let chunk = client.ask(|caller| Command::SendChunk { caller, data });
            assert_eq!(error(chunk).await, expected);
        }
    }
}

// Clauses: H2-9, LOW-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_by_command_is_told_and_says_goodbye() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let pending = get(&client, "/");
    raw.request().await;
    let close = client.ask(|caller| Command::Close { caller });
    assert!(matches!(answer(close).await, Answer::Ok));
    assert_eq!(error(pending).await, Error::ClosedBy("normal"));
    closed(&client);
    assert_eq!(raw.next(crate::peer::GOAWAY).await.payload, [0; 8]);
    raw.ended().await;
}

// Clauses: ST-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_dials_again() {
    let (client, raw) = Raw::connected(Config::default(), &[]).await;
    drop(raw);
    closed(&client);
    dials_again(&client).await;
}

/// The peer of the new connection.
async fn dials_again(client: &Client) -> Raw {
    let mut raw = Raw::connected_again(client).await;
    let pending = get(client, "/");
    assert_eq!(raw.request().await, 1);
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(pending).await.0, 200);
    assert_eq!(client.connection.state(), State::Connected);
    raw
}

// Clauses: ST-6, ST-23, H2-8, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_closed_connection_gives_way_to_a_new_one() {
    for lost in [true, false] {
        let http2 = Http2Config { drain_on_goaway: true, ..Http2Config::default() };
        let (client, mut raw) = Raw::connected(Config { http2, ..Config::default() }, &[]).await;
        let (receiver, mut inbox) = mailbox(1);
        let options = RequestOptions::default();
        accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
        assert_eq!(raw.request().await, 1);
        raw.respond(1, 0, OK).await;
        assert_eq!(next(&mut inbox).await, "status 200");
        assert_eq!(next(&mut inbox).await, "headers");
        if lost {
            // A response that is complete, and not read.
            raw.send(DATA, END_STREAM, 1, b"whole").await;
            raw.settled().await;
            drop(raw);
        } else {
            // One that the peer still serves.
            raw.go_away(1, 0).await;
        }
        client.reaches(State::Closed).await;
        let _peer = dials_again(&client).await;
        assert_eq!(next(&mut inbox).await, "ClosedBy(\"normal\")");
        // The process is told of a close to act on it, which would end the new connection.
        assert!(client.notices.try_recv().is_err());
    }
}

// Clauses: ST-8, TRAP-15, TRAP-16, API-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_response_is_given_up_alone() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    // Long enough for a machine that is busy with other tests.
    let patience = Duration::from_secs(1);
    let options =
        RequestOptions { recv_timeout: Some(Some(patience)), ..RequestOptions::default() };
    let other = get(&client, "/");
    let started = std::time::Instant::now();
    let stalled = ask_with(&client, "GET", "/", Content::Empty, options);
    assert_eq!((raw.request().await, raw.request().await), (1, 3));
    // Each sign of life begins the wait anew.
    raw.respond(3, 0, OK).await;
    tokio::time::sleep(patience / 2).await;
    for _ in 0..3 {
        raw.send(DATA, 0, 3, b"x").await;
    }
    assert_eq!(error(stalled).await, Error::Timeout);
    assert!(started.elapsed() >= patience / 2 + patience);
    let reset = raw.next(crate::peer::RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (3, vec![0, 0, 0, 8]));
    // What was on its way is of no consequence.
    raw.send(DATA, END_STREAM, 3, b"late").await;
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(other).await.0, 200);
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: ST-26, API-34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gave_up_hears_nothing_and_its_stream_is_reset() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let (caller, mut pending) = client.caller();
    let target = Caller { id: caller.id, process: 0, reply: None };
    let request = request("GET", "/", Content::Empty);
    client.tell(Command::Request { caller, request, options: RequestOptions::default() });
    raw.request().await;
    accepted(client.ask(|caller| Command::Cancel { caller, target })).await;
    assert_eq!(raw.reset_code().await, 8);
    assert!(matches!(pending.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed)));
    let after = get(&client, "/");
    assert_eq!(raw.request().await, 3);
    raw.respond(3, END_STREAM, OK).await;
    assert_eq!(full(after).await.0, 200);
}

// Clauses: H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_ping_ends_the_connection() {
    let http2 = Http2Config {
        ping_interval: Some(Duration::from_millis(20)),
        ping_timeout: Duration::from_millis(40),
        ..Http2Config::default()
    };
    let (client, mut raw) = Raw::connected(Config { http2, ..Config::default() }, &[]).await;
    // A response that is complete stays.
    let (receiver, mut inbox) = mailbox(1);
    let mine = receiver.clone();
    let options = RequestOptions::default();
    accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
    let stream = raw.request().await;
    raw.respond(stream, 0, OK).await;
    raw.send(DATA, END_STREAM, stream, b"whole").await;
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    let pending = get(&client, "/");
    for _ in 0..3 {
        let ping = loop {
            let ping = raw.next(crate::peer::PING).await;
            if ping.flags & crate::peer::ACK == 0 {
                break ping;
            }
        };
        raw.send(crate::peer::PING, crate::peer::ACK, 0, &ping.payload).await;
    }
    assert_eq!(client.connection.state(), State::Connected);
    assert_eq!(error(pending).await, Error::ClosedBy("ping_timeout"));
    assert_eq!(client.connection.state(), State::Closed);
    for message in ["whole", "done"] {
        client.tell(Command::StreamNext { receiver: Some(mine.clone()) });
        assert_eq!(next(&mut inbox).await, message);
    }
    closed(&client);
}

// Clauses: H2-7, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_violation_by_a_peer_that_does_not_read_ends_the_connection_too() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 1 << 30)]).await;
    raw.open_window(0, 1 << 30).await;
    let upload = ask(&client, "POST", "/", Content::Payload(Large(vec![0; 64 << 20])));
    raw.request().await;
    raw.full(&client).await;
    raw.send(DATA, 0, 0, b"of no stream").await;
    assert_eq!(error(upload).await, Error::ClosedBy("protocol_error"));
    closed(&client);
    assert_eq!(error(get(&client, "/")).await, Error::InvalidState);
}

// Clauses: H2-8, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_speaks_something_else_fails_the_dial() {
    let (client, pending, mut raw) = Raw::greeted(Config::default()).await;
    raw.socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let answer = answer(pending).await;
    assert!(matches!(answer, Answer::Error(Error::ClosedBy(_))), "{}", describe(&answer));
    assert_eq!(client.connection.state(), State::Closed);
}

// Clauses: H2-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_connection_goes_on_opening_windows() {
    let http2 =
        Http2Config { drain_on_goaway: true, stream_window: 65_535, ..Http2Config::default() };
    let (client, mut raw) = Raw::connected(Config { http2, ..Config::default() }, &[]).await;
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    let mine = receiver.clone();
    accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
    assert_eq!(raw.request().await, 1);
    raw.respond(1, 0, OK).await;
    for _ in 0..4 {
        raw.send(DATA, 0, 1, &[b'x'; 16_000]).await;
    }
    assert_eq!(next(&mut inbox).await, "status 200");
    assert_eq!(next(&mut inbox).await, "headers");
    raw.go_away(u32::MAX >> 1, 0).await;
    raw.go_away(1, 0).await;
    raw.settled().await;
    assert_eq!(client.connection.state(), State::Closed);
    let (mut room, mut unread) = (65_535 - 4 * 16_000, 4 * 16_000);
    for _ in 0..32 {
        while unread > 0 {
            client.tell(Command::StreamNext { receiver: Some(mine.clone()) });
            let piece = next(&mut inbox).await;
            assert!(piece.starts_with("xxx"), "{piece:.40}");
            unread -= piece.len();
        }
        while room < 16_000 {
            let update = raw.next(WINDOW_UPDATE).await;
            if update.stream == 1 {
                room += u32::from_be_bytes(update.payload.try_into().unwrap());
            }
        }
        raw.send(DATA, 0, 1, &[b'x'; 16_000]).await;
        room -= 16_000;
        unread += 16_000;
    }
}

// Clauses: H2-8, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_response_is_read_to_its_end_whatever_the_peer_does_then() {
    for ending in 0..4 {
        let http2 = Http2Config {
            ping_interval: (ending == 3).then_some(Duration::from_millis(20)),
            ping_timeout: Duration::from_secs(1),
            ..Http2Config::default()
        };
        let config = Config { http2, ..Config::default() };
        let (client, mut raw) = Raw::connected(config, &[]).await;
        let (receiver, mut inbox) = mailbox(1);
        let mine = receiver.clone();
        let options = RequestOptions::default();
        accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
        let other = get(&client, "/");
        assert_eq!((raw.request().await, raw.request().await), (1, 3));
        raw.respond(1, 0, OK).await;
        raw.send(DATA, 0, 1, &[b'x'; 16_000]).await;
        raw.send(DATA, END_STREAM, 1, &[b'x'; 16_000]).await;
        assert_eq!(next(&mut inbox).await, "status 200");
        assert_eq!(next(&mut inbox).await, "headers");
        let expected = match ending {
            0 => Error::Goaway(H2Code(11)),
            1 => Error::ClosedBy("protocol_error"),
            3 => Error::ClosedBy("ping_timeout"),
            _ => Error::ClosedBy("tcp_closed"),
        };
        match ending {
            0 => raw.go_away(3, 11).await,
            1 => raw.send(DATA, 0, 0, b"of no stream").await,
            3 => {}
            _ => raw.socket.shutdown().await.unwrap(),
        }
        assert_eq!(error(other).await, expected);
        assert_eq!(client.connection.state(), State::Closed);
        let mut left = 32_000;
        while left > 0 {
            client.tell(Command::StreamNext { receiver: Some(mine.clone()) });
            left -= next(&mut inbox).await.len();
        }
        client.tell(Command::StreamNext { receiver: Some(mine) });
        assert_eq!(next(&mut inbox).await, "done");
        closed(&client);
    }
}

// Clauses: H2-8, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_response_that_was_not_pulled_is_dropped_if_told_so() {
    for goodbye in [true, false] {
        let config = Config { drop_unpulled: true, ..Config::default() };
        let (client, mut raw) = Raw::connected(config, &[]).await;
        let (receiver, mut inbox) = mailbox(1);
        let options = RequestOptions::default();
        accepted(get_async(&client, "/", receiver, AsyncMode::Once, options)).await;
        assert_eq!(raw.request().await, 1);
        raw.respond(1, 0, OK).await;
        raw.send(DATA, END_STREAM, 1, b"whole").await;
        assert_eq!(next(&mut inbox).await, "status 200");
        assert_eq!(next(&mut inbox).await, "headers");
        if goodbye {
            raw.go_away(1, 0).await;
            assert_eq!(next(&mut inbox).await, "Goaway(H2Code(0))");
        } else {
            raw.settled().await;
            raw.socket.shutdown().await.unwrap();
            assert_eq!(next(&mut inbox).await, "ClosedBy(\"tcp_closed\")");
        }
        closed(&client);
    }
}
