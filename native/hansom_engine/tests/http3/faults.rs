//! Resets, violations, GOAWAY and loss in every phase.

use std::time::Duration;

use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Content, Error, Http3Config, Limit, Notice,
    RequestOptions, State,
};
use quinn::{TransportConfig, VarInt};

use crate::ask::{accepted, ask, ask_with, get, get_async, mailbox, next, request};
use crate::host::{Client, PATIENCE, Pending, answer, error, full};
use crate::peer::{
    DATA, Exchange, GOAWAY, HEADERS, Raw, SETTINGS, accept, connect, frame, section,
};

fn closed(client: &Client) {
    let notice = client.notices.recv_timeout(PATIENCE).expect("no notice");
    assert!(matches!(notice, Notice::Closed));
    assert_eq!(client.connection.state(), State::Closed);
}

// Clauses: H3-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_told_in_every_phase_by_its_code() {
    let (client, raw) = Raw::connected(Config::default()).await;
    for phase in 0..3 {
        for code in [0x100, 0x10b, 0x102, 77] {
            let pending = get(&client, "/");
            let mut exchange = raw.request().await;
            if phase > 0 {
                exchange.respond("200", &[]).await;
            }
            if phase > 1 {
                exchange.data(b"part").await;
            }
            exchange.reset(code);
            assert_eq!(error(pending).await, Error::StreamReset(code.into()));
        }
    }
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    accepted(get_async(&client, "/", receiver, AsyncMode::Push, options)).await;
    let mut exchange = raw.request().await;
    exchange.respond("200", &[]).await;
    exchange.data(b"part").await;
    for message in ["status 200", "headers", "part"] {
        assert_eq!(next(&mut inbox).await, message);
    }
    exchange.reset(5);
    assert_eq!(next(&mut inbox).await, "StreamReset(5)");
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H3-9, H2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_responses_are_given_up_alone() {
    let (client, raw) = Raw::connected(Config::default()).await;
    type Fields = &'static [(&'static str, &'static str)];
    let length: Fields = &[("content-length", "5")];
    let cases: [(&str, &str, Fields, &[u8]); 7] = [
        ("GET", "200", length, b"four"),
        ("GET", "200", length, b"sixsix"),
        ("GET", "200", &[("content-length", "5"), ("content-length", "6")], b""),
        ("GET", "204", &[], b"content"),
        ("GET", "304", &[], b"content"),
        ("HEAD", "200", &[], b"content"),
        ("GET", "20", &[], b""),
    ];
    for (index, (method, status, fields, content)) in cases.into_iter().enumerate() {
        let pending = ask(&client, method, "/", Content::Empty);
        let mut exchange = raw.request().await;
        let mut bytes = crate::peer::head(status, fields);
        if !content.is_empty() {
            bytes.extend(frame(DATA, content));
        }
        exchange.write(&bytes).await;
        let early = content.len() != 4;
        if early {
            assert_eq!(exchange.stop_code().await, 0x10e, "case {index}");
        } else {
            exchange.end();
        }
        assert_eq!(error(pending).await, Error::StreamReset(0x10e), "case {index}");
    }
    let pending = get(&client, "/");
    raw.request().await.end();
    assert_eq!(error(pending).await, Error::NoStatus);
    let pending = get(&client, "/");
    raw.request().await.write(&frame(HEADERS, &section(&[("a", "b")]))).await;
    assert_eq!(error(pending).await, Error::NoStatus);
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H3-10, H3-14, TRAP-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn violations_end_the_connection_for_everyone() {
    let cut = |mut exchange: Exchange| {
        exchange.end();
        exchange
    };
    let cases: [(Vec<u8>, bool, u64); 9] = [
        (frame(DATA, b"x"), false, 0x105),
        (frame(SETTINGS, b""), false, 0x105),
        (frame(0x8, b""), false, 0x105),
        (frame(0x5, &[0]), false, 0x108),
        (frame(HEADERS, &[9, 0]), false, 0x200),
        (frame(HEADERS, &[0, 0, 0x80]), false, 0x200),
        (frame(HEADERS, b"cut short")[..5].to_vec(), true, 0x106),
        (
            [crate::peer::head("200", &[]), frame(HEADERS, &[0, 0]), frame(DATA, b"x")].concat(),
            false,
            0x105,
        ),
        (frame(0x21, b"").repeat(10_001), false, 0x107),
    ];
    for (index, (bytes, ends, code)) in cases.into_iter().enumerate() {
        let (client, raw) = Raw::connected(Config::default()).await;
        let pending = [get(&client, "/"), get(&client, "/")];
        let mut exchange = raw.request().await;
        exchange.write(&bytes).await;
        let _exchange = if ends { cut(exchange) } else { exchange };
        for pending in pending {
            let error = error(pending).await;
            let Error::TransportError { code: told, text } = &error else {
                panic!("case {index}: {error:?}");
            };
            assert!(*told == code && !text.is_empty(), "case {index}: {error:?}");
        }
        assert_eq!(raw.closed().await.0, code, "case {index}");
        closed(&client);
    }
}

// Clauses: H3-10, TRAP-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn violations_outside_of_requests_end_the_connection() {
    let cases: [(&[u8], u64); 9] = [
        (&[0x00, 0x07, 0x01, 0x00], 0x10a),
        (&[0x00, 0x04, 0x02, 0x02, 0x00], 0x109),
        (&[0x00, 0x04, 0x04, 0x06, 0x00, 0x06, 0x00], 0x109),
        (&[0x00, 0x04, 0x01, 0x06], 0x106),
        (&[0x00, 0x04, 0x00, 0x04, 0x00], 0x105),
        (&[0x00, 0x04, 0x00, 0x00, 0x00], 0x105),
        (&[0x01, 0x00], 0x108),
        (&[0x02, 0x3f, 0x00], 0x201),
        (&[0x03, 0x80], 0x202),
    ];
    for (index, (bytes, code)) in cases.into_iter().enumerate() {
        let (client, _endpoint, connection) =
            Raw::greeted(Config::default(), TransportConfig::default()).await;
        let pending = get(&client, "/");
        let _request = connection.accept_bi().await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let error = error(pending).await;
        assert!(
            matches!(error, Error::TransportError { code: told, .. } if told == code),
            "{index}: {error:?}"
        );
        closed(&client);
    }
    // Streams the connection needs: a second one of a type, and the end of one.
    for (bytes, ends, code) in [(0, false, 0x103), (2, true, 0x104)] {
        let (client, raw) = Raw::connected(Config::default()).await;
        let pending = get(&client, "/");
        let _request = raw.request().await;
        let mut stream = raw.connection.open_uni().await.unwrap();
        stream.write_all(&[bytes]).await.unwrap();
        if ends {
            stream.finish().unwrap();
        }
        assert!(
            matches!(error(pending).await, Error::TransportError { code: told, .. } if told == code)
        );
        closed(&client);
    }
}

// Clauses: H3-10, TRAP-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_passed_over() {
    let (client, mut raw) =
        Raw::connected_to(Config::default(), TransportConfig::default(), &[0x21, 0x05]).await;
    raw.say(&frame(0x21, b"grease")).await;
    let mut unknown = raw.connection.open_uni().await.unwrap();
    unknown.write_all(&[0x21, 1, 2, 3]).await.unwrap();
    let refused = crate::host::within(unknown.stopped()).await.unwrap();
    assert_eq!(refused, Some(VarInt::from_u32(0x103)));
    let mut decoder = raw.connection.open_uni().await.unwrap();
    decoder.write_all(&[3, 0x44]).await.unwrap();
    let pending = get(&client, "/");
    let mut exchange = raw.request().await;
    exchange.write(&frame(0x21, &[0; 3000])).await;
    exchange.respond("103", &[]).await;
    exchange.write(&frame(0x40, b"")).await;
    exchange.respond("200", &[]).await;
    exchange.write(&frame(0x21, b"")).await;
    exchange.data(b"body").await;
    exchange.write(&frame(HEADERS, &section(&[("x", "y")]))).await;
    exchange.write(&frame(0x21, b"last")).await;
    exchange.end();
    assert_eq!(full(pending).await, (200, b"body".to_vec()));
}

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

// Clauses: H3-14, LOW-6, API-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_by_command_is_told_and_says_goodbye() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let pending = get(&client, "/");
    // Kept: its end would be that of the response.
    let _exchange = raw.request().await;
    let close = client.ask(|caller| Command::Close { caller });
    accepted(close).await;
    assert_eq!(error(pending).await, Error::ConnectionClosed("normal"));
    closed(&client);
    assert_eq!(raw.closed().await, (0x100, String::new()));
    let (client, raw) = Raw::connected(Config::default()).await;
    client.shut_down();
    assert_eq!(raw.closed().await.0, 0x100);
    assert_eq!(client.connection.state(), State::Closed);
}

// Clauses: ST-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_dials_again() {
    let (client, raw) = Raw::connected(Config::default()).await;
    raw.connection.close(VarInt::from_u32(0x100), b"");
    closed(&client);
    let pending = connect(&client, &raw.endpoint);
    let connection = accept(&raw.endpoint).await;
    accepted(pending).await;
    let pending = get(&client, "/");
    let (send, recv) = connection.accept_bi().await.unwrap();
    Exchange { send, recv }.answer(b"again").await;
    assert_eq!(full(pending).await, (200, b"again".to_vec()));
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

// Clauses: ST-8, TRAP-15, TRAP-16, API-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_response_is_given_up_alone() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let options = RequestOptions {
        recv_timeout: Some(Some(Duration::from_millis(60))),
        ..RequestOptions::default()
    };
    let other = get(&client, "/");
    let mut healthy = raw.request().await;
    let stalled = ask_with(&client, "GET", "/", Content::Empty, options);
    let mut exchange = raw.request().await;
    // If this machine is slow, the client has given up already.
    let _ = exchange.send.write_all(&crate::peer::head("200", &[])).await;
    assert_eq!(error(stalled).await, Error::Timeout);
    assert_eq!(exchange.stop_code().await, 0x10c);
    healthy.answer(b"ok").await;
    assert_eq!(full(other).await, (200, b"ok".to_vec()));
}

// Clauses: RSP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_bombs_are_refused_before_they_are_stored() {
    let mut config = Config::default();
    config.limits.header_bytes = 10_000;
    config.limits.trailer_bytes = 5000;
    config.limits.headers = 100;
    config.limits.interim_responses = 3;
    let (client, raw) = Raw::connected(config).await;
    // A section announced to be of a gibibyte; none of it has to come.
    let pending = get(&client, "/");
    let mut exchange = raw.request().await;
    exchange.write(&[1, 0xc0, 0, 0, 0, 0x40, 0, 0, 0]).await;
    assert_eq!(error(pending).await, Error::Limit(Limit::HeaderBytes));
    assert_eq!(exchange.stop_code().await, 0x10c);
    // One that grows as it is decoded.
    let pending = get(&client, "/");
    let small = [&[0, 0, 0xd9][..], &[0xdd; 9000]].concat();
    raw.request().await.write(&frame(HEADERS, &small)).await;
    assert_eq!(error(pending).await, Error::Limit(Limit::HeaderBytes));
    let pending = get(&client, "/");
    raw.request().await.respond("200", &[("a", "b"); 101]).await;
    assert_eq!(error(pending).await, Error::Limit(Limit::Headers));
    let pending = get(&client, "/");
    let mut exchange = raw.request().await;
    exchange.respond("200", &[]).await;
    exchange.write(&frame(HEADERS, &section(&[("x", &"y".repeat(6000))]))).await;
    assert_eq!(error(pending).await, Error::Limit(Limit::TrailerBytes));
    let pending = get(&client, "/");
    let mut exchange = raw.request().await;
    for _ in 0..4 {
        exchange.respond("103", &[]).await;
    }
    assert_eq!(error(pending).await, Error::Limit(Limit::InterimResponses));
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: API-24, H3-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_of_a_lost_connection_says_so() {
    let (client, raw) = Raw::connected(Config::default()).await;
    raw.connection.close(VarInt::from_u32(0x100), b"");
    closed(&client);
    let probe = client.ask(|caller| Command::Probe { caller, checkout: false });
    let answer = answer(probe).await;
    assert!(matches!(answer, hansom_engine::Answer::Error(_)));
}
