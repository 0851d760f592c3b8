//! Resets and violations in every phase, and what is done about bad responses.

use std::time::Duration;

use hansom_engine::{
    AsyncMode, Command, Config, Content, Error, Limit, Notice, RequestOptions, State,
};
use quinn::{TransportConfig, VarInt};

use crate::ask::{accepted, ask, ask_with, get, get_async, mailbox, next, request};
use crate::host::{Client, PATIENCE, answer, error, full, status};
use crate::peer::{DATA, Exchange, HEADERS, Raw, SETTINGS, accept, connect, frame, section};

pub(crate) fn closed(client: &Client) {
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

// Clauses: ST-26, H2-17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_had_begun_is_reset_in_every_phase() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let options = RequestOptions::default();
    for phase in 0..6 {
        let (receiver, _inbox) = mailbox(1);
        let gone = receiver.clone();
        let pending = client.ask_as(1, |caller| match phase {
            0 => Command::Request { caller, request: request("GET", "/", Content::Empty), options },
            1 | 2 => Command::RequestStreaming {
                caller,
                request: request("GET", "/", Content::Empty),
                options,
            },
            3 | 4 => Command::SendHeaders {
                caller,
                request: request("POST", "/", Content::Stream),
                options,
            },
            _ => Command::RequestAsync {
                caller,
                request: request("GET", "/", Content::Empty),
                options,
                receiver,
                receiver_owns: false,
                mode: AsyncMode::Push,
                follow_redirect: false,
            },
        });
        let mut exchange = raw.request().await;
        match phase {
            // Between two commands, and during one.
            2 => {
                exchange.respond("200", &[]).await;
                assert_eq!(status(pending).await, 200);
            }
            3 => accepted(pending).await,
            4 => {
                accepted(pending).await;
                let _parked = client.ask_as(1, |caller| Command::StartResponse { caller });
            }
            5 => accepted(pending).await,
            _ => {}
        }
        client.tell(match phase {
            5 => Command::ReceiverGone { receiver: gone },
            _ => Command::ProcessGone { process: 1 },
        });
        assert_eq!(exchange.stop_code().await, 0x10c, "phase {phase}");
        if let 3 | 4 = phase {
            assert_eq!(exchange.content().await, Err(0x10c));
        }
    }
    let healthy = get(&client, "/");
    raw.request().await.answer(b"ok").await;
    assert_eq!(full(healthy).await.0, 200);
}
