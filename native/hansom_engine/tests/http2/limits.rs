//! What a peer allows, and what it is allowed.

use std::time::Duration;

use hansom_engine::{
    Command, Config, Content, Error, H2Code, HeaderList, Http2Config, Limit, Limits, MaxStreams,
    Request, RequestOptions, State,
};
use tokio::io::AsyncWriteExt;

use crate::host::{error, full, status};
use crate::peer::{
    DATA, END_STREAM, HEADERS, OK, Raw, SETTINGS, accepted, ask_with, block, frame, get, request,
};

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_peers_limit_wait_for_their_turn() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(3, 2)]).await;
    let mut pending: Vec<_> = (0..5).map(|_| get(&client, "/")).collect();
    for turn in 0..5 {
        if turn == 0 {
            assert_eq!((raw.request().await, raw.request().await), (1, 3));
        } else if turn < 4 {
            assert_eq!(raw.request().await, 2 * turn + 3);
        }
        raw.respond(2 * turn + 1, END_STREAM, OK).await;
        assert_eq!(full(pending.remove(0)).await.0, 200);
    }
}

// Clauses: H2-4, ST-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_turn_is_bounded_by_the_receive_timeout() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(3, 1)]).await;
    let first = get(&client, "/");
    assert_eq!(raw.request().await, 1);
    let options = RequestOptions {
        recv_timeout: Some(Some(Duration::from_millis(30))),
        ..RequestOptions::default()
    };
    let waiting = ask_with(&client, "GET", "/", Content::Empty, options);
    assert_eq!(error(waiting).await, Error::Timeout);
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(first).await.0, 200);
    // Nothing was sent for the one that gave up.
    let next = get(&client, "/");
    assert_eq!(raw.request().await, 3);
    raw.respond(3, END_STREAM, OK).await;
    assert_eq!(full(next).await.0, 200);
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_fail_at_once() {
    let http2 = Http2Config { max_streams: MaxStreams::Fail, ..Http2Config::default() };
    let (client, mut raw) = Raw::connected(Config { http2, ..Config::default() }, &[(3, 1)]).await;
    let first = get(&client, "/");
    assert_eq!(error(get(&client, "/")).await, Error::MaxStreamsExceeded);
    assert_eq!(raw.request().await, 1);
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(first).await.0, 200);
    let next = get(&client, "/");
    assert_eq!(raw.request().await, 3);
    raw.respond(3, END_STREAM, OK).await;
    assert_eq!(full(next).await.0, 200);
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_given_up_is_taken_by_the_next() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(3, 1)]).await;
    let options = RequestOptions {
        recv_timeout: Some(Some(Duration::from_millis(30))),
        ..RequestOptions::default()
    };
    for turn in 0..3 {
        let stalled = ask_with(&client, "GET", "/", Content::Empty, options);
        assert_eq!(raw.request().await, 4 * turn + 1);
        let next = get(&client, "/");
        assert_eq!(error(stalled).await, Error::Timeout);
        assert_eq!(raw.reset_code().await, 8);
        assert_eq!(raw.request().await, 4 * turn + 3);
        raw.respond(4 * turn + 3, END_STREAM, OK).await;
        assert_eq!(full(next).await.0, 200);
    }
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_section_the_peer_does_not_take_is_not_sent() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(6, 1000)]).await;
    let large = |size: usize| {
        let mut headers = HeaderList::default();
        headers.push(b"x-large", &vec![b'x'; size]);
        let (method, target) = (b"GET".to_vec(), b"/".to_vec());
        let request = Request { method, target, headers, content: Content::Empty };
        let options = RequestOptions::default();
        client.ask(|caller| Command::Request { caller, request, options })
    };
    assert_eq!(error(large(1000)).await, Error::HeaderListTooLarge);
    let small = large(500);
    assert_eq!(raw.request().await, 1);
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(small).await.0, 200);
}

// Clauses: H2-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_fields_concern_their_request_alone() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let other = get(&client, "/");
    assert_eq!(raw.request().await, 1);
    let mut headers = HeaderList::default();
    for index in 0..30_000 {
        headers.push(format!("x-{index}").as_bytes(), b"y");
    }
    let options = RequestOptions::default();
    let fields = Request { headers: headers.clone(), ..request("GET", "/", Content::Empty) };
    let large = client.ask(|caller| Command::Request { caller, request: fields, options });
    assert_eq!(error(large).await, Error::HeaderListTooLarge);
    let upload = request("POST", "/", Content::Stream);
    accepted(client.ask(|caller| Command::SendHeaders { caller, request: upload, options })).await;
    assert_eq!(raw.request().await, 3);
    let end = client.ask(|caller| Command::FinishBody { caller, trailers: headers });
    assert_eq!(error(end).await, Error::HeaderListTooLarge);
    accepted(client.ask(|caller| Command::FinishBody { caller, trailers: HeaderList::default() }))
        .await;
    let uploaded = client.ask(|caller| Command::StartResponse { caller });
    for stream in [1, 3] {
        raw.respond(stream, END_STREAM, OK).await;
    }
    assert_eq!(full(other).await.0, 200);
    assert_eq!(status(uploaded).await, 200);
}

// Clauses: RSP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_on_a_response_reset_it() {
    let limits = Limits { body_bytes: 1000, interim_responses: 3, ..Limits::default() };
    let (client, mut raw) = Raw::connected(Config { limits, ..Config::default() }, &[]).await;
    let pending = get(&client, "/");
    assert_eq!(raw.request().await, 1);
    raw.respond(1, 0, OK).await;
    raw.send(DATA, 0, 1, &[0; 1001]).await;
    assert_eq!(error(pending).await, Error::Limit(hansom_engine::Limit::BodyBytes));
    assert_eq!(raw.reset_code().await, 8);
    let pending = get(&client, "/");
    assert_eq!(raw.request().await, 3);
    for _ in 0..4 {
        raw.respond(3, 0, &block(b"", &[(":status", "103")])).await;
    }
    assert_eq!(error(pending).await, Error::Limit(hansom_engine::Limit::InterimResponses));
    assert_eq!(raw.reset_code().await, 8);
}

// Clauses: RSP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_count_for_every_header_section() {
    let limits =
        Limits { header_bytes: 1000, trailer_bytes: 500, headers: 10, ..Limits::default() };
    let (client, mut raw) = Raw::connected(Config { limits, ..Config::default() }, &[]).await;
    let long = "y".repeat(100);
    let many = |count| vec![("x", ""); count];
    let large = |count| vec![("x", &*long); count];
    let told = |limit| Error::Limit(limit);
    let cases = [
        (large(8), many(0), many(0), told(Limit::HeaderBytes)),
        (many(0), large(8), many(0), told(Limit::HeaderBytes)),
        (many(0), many(0), large(4), told(Limit::TrailerBytes)),
        (many(11), many(0), many(0), told(Limit::Headers)),
        (many(0), many(11), many(0), told(Limit::Headers)),
        (many(0), many(0), many(11), told(Limit::Headers)),
        // Twice as much and more is refused by the library.
        (many(0), large(16), many(0), Error::StreamError(H2Code::PROTOCOL_ERROR)),
    ];
    for (index, (interim, head, trailers, expected)) in cases.into_iter().enumerate() {
        let pending = get(&client, "/");
        let stream = raw.request().await;
        let interim = [vec![(":status", "103")], interim].concat();
        raw.respond(stream, 0, &block(b"", &interim)).await;
        raw.respond(stream, 0, &block(OK, &head)).await;
        raw.respond(stream, END_STREAM, &block(b"", &trailers)).await;
        assert_eq!(error(pending).await, expected, "case {index}");
    }
    let pending = get(&client, "/");
    let stream = raw.request().await;
    raw.respond(stream, 0, &block(OK, &large(7))).await;
    raw.respond(stream, END_STREAM, &block(b"", &large(3))).await;
    assert_eq!(full(pending).await.0, 200);
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H2-7, H2-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_errors_are_told_by_name() {
    let cases: [(&str, Vec<u8>); 6] = [
        ("protocol_error", frame(HEADERS, 4, 1, &block(OK, &[("Upper", "x")]))),
        ("protocol_error", frame(DATA, 0, 0, b"x")),
        ("protocol_error", frame(HEADERS, 4, 2, OK)),
        ("protocol_error", frame(SETTINGS, 0, 0, &[1, 2, 3])),
        ("frame_size_error", [&[0xff, 0xff, 0xff][..], &[0; 30]].concat()),
        ("protocol_error", frame(0x5, 4, 1, &[0, 0, 0, 2, 0x88])),
    ];
    for (index, (name, bytes)) in cases.into_iter().enumerate() {
        let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
        let pending = get(&client, "/");
        raw.request().await;
        raw.socket.write_all(&bytes).await.unwrap();
        assert_eq!(error(pending).await, Error::ClosedBy(name), "case {index}");
        let goaway = raw.next(crate::peer::GOAWAY).await;
        assert_ne!(H2Code(u32::from(goaway.payload[7])), H2Code::NO_ERROR);
        assert_eq!(client.connection.state(), State::Closed);
    }
}
