//! Requests and responses as they are meant to be.

use std::time::Duration;

use bytes::Bytes;
use h2::server;
use hansom_engine::{
    Answer, AsyncMode, Command, Config, Content, Error, Http2Config, HttpProtocol, RequestOptions,
    State,
};
use http::{Response, StatusCode};

use crate::host::{Client, Large, answer, error, full, within};
use crate::peer::{
    ACK, END_STREAM, Exchange, HEADERS, NO_CONTENT, NOT_MODIFIED, OK, Raw, SETTINGS, ask,
    ask_async, ask_with, block, get, mailbox, request, send_all, served, served_by, trailers,
};

async fn echo(mut exchange: Exchange) {
    let content = exchange.content().await;
    let mut stream = exchange.begin();
    send_all(&mut stream, content.into()).await;
}

// Clauses: H2-3, NEG-2, API-29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_one_answer_and_the_state_stays_connected() {
    let client = served(Config::default(), |mut exchange| async move {
        let path = exchange.path().to_owned();
        exchange.answer(path);
    })
    .await;
    assert_eq!(client.connection.protocol(), HttpProtocol::Http2);
    for _ in 0..3 {
        assert_eq!(full(get(&client, "/a?b")).await, (200, b"/a".to_vec()));
        assert_eq!(client.connection.state(), State::Connected);
    }
    let asked = client.ask(|caller| Command::Protocol { caller });
    assert!(matches!(answer(asked).await, Answer::Protocol(HttpProtocol::Http2)));
    assert_eq!(client.connection.info().totals.requests, 3);
}

// Clauses: H2-3, ST-30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_exchanges_go_on_at_once() {
    let client = served(Config::default(), echo).await;
    let pending: Vec<_> = (0..200_usize)
        .map(|n| {
            let body = vec![n as u8; n * 331];
            let content =
                if n % 2 == 0 { Content::Bytes(body) } else { Content::Payload(Large(body)) };
            ask(&client, "POST", "/", content)
        })
        .collect();
    for (n, pending) in pending.into_iter().enumerate() {
        let (status, body) = full(pending).await;
        assert_eq!((status, body.len()), (200, n * 331));
        assert!(body.iter().all(|byte| *byte == n as u8));
    }
    assert_eq!(client.connection.info().buffered_in, 0);
    assert_eq!(client.connection.info().buffered_out, 0);
}

// Clauses: H2-16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_both_ways() {
    let client = served(Config::default(), echo).await;
    let body: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let sent = ask(&client, "PUT", "/", Content::Payload(Large(body.clone())));
    let (status, back) = full(sent).await;
    assert_eq!(status, 200);
    assert!(back == body);
}

// Clauses: H2-16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_every_size_let_responses_through() {
    let body = vec![7; 300_000];
    for (stream_window, connection_window) in [(0, 0), (1, 65_535), (u32::MAX >> 1, u32::MAX >> 1)]
    {
        let http2 = Http2Config { stream_window, connection_window, ..Http2Config::default() };
        let client = served(Config { http2, ..Config::default() }, echo).await;
        let sent = ask(&client, "PUT", "/", Content::Payload(Large(body.clone())));
        assert!(full(sent).await == (200, body.clone()), "{stream_window}");
    }
}

/// The fields of a header block, each by its place in the static table of HPACK and the length of
/// its value as it is written, if it is (RFC 7541, section 6).
fn fields_of(block: &[u8]) -> Vec<(u64, Option<u64>)> {
    let mut rest = block;
    let mut fields = Vec::new();
    while let Some(first) = rest.first() {
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = number(&mut rest, prefix);
        match prefix {
            7 => fields.push((index, None)),
            // A size of the dynamic table.
            5 => {}
            _ => {
                assert_ne!(index, 0, "a name of the static table");
                let length = number(&mut rest, 7);
                rest = &rest[length as usize..];
                fields.push((index, Some(length)));
            }
        }
    }
    fields
}

/// RFC 7541, section 5.1
fn number(rest: &mut &[u8], prefix: u32) -> u64 {
    let most = (1 << prefix) - 1;
    let mut next = || {
        let (byte, others) = rest.split_first().unwrap();
        *rest = others;
        u64::from(*byte)
    };
    let mut value = next() & most;
    if value == most {
        for shift in (0..).step_by(7) {
            let byte = next();
            value += (byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
    }
    value
}

// Clauses: H2-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pseudo_header_fields_come_in_order_then_the_users_and_nothing_else() {
    // Without a dynamic table names stay what they are.
    let (client, mut raw) = Raw::connected(Config::default(), &[(1, 0)]).await;
    let mut request = request("GET", "/", Content::Empty);
    request.target = b"/00000000".to_vec();
    for (name, zeros) in [("User-Agent", 8), ("accept", 16), ("host", 8), ("age", 24)] {
        request.headers.push(name.as_bytes(), &vec![b'0'; zeros]);
    }
    request.headers.push(b"accept", &[b'0'; 32]);
    let options = RequestOptions::default();
    let pending = client.ask(|caller| Command::Request { caller, request, options });
    let fields = fields_of(&raw.next(HEADERS).await.payload);
    // :method GET, :scheme http, then :authority and :path with values of their own.
    assert!(
        matches!(fields[..4], [(2, None), (6, None), (1, Some(_)), (4, Some(_))]),
        "{fields:?}"
    );
    // Eight times 0 is five bytes (RFC 7541, appendix B). Fields of one name stand together.
    let users = [(58, Some(5)), (19, Some(10)), (19, Some(20)), (21, Some(15))];
    assert_eq!(fields[4..], users);
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(pending).await, (200, Vec::new()));
}

// Clauses: RSP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_come_in_order_but_for_those_of_one_name() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let pending = get(&client, "/");
    let fields = [("z", "1"), ("set-cookie", "2"), ("a", "3"), ("z", "4"), ("set-cookie", "5")];
    let stream = raw.request().await;
    raw.respond(stream, END_STREAM, &block(OK, &fields)).await;
    match answer(pending).await {
        Answer::Full { headers, .. } => {
            let came: Vec<_> = headers.iter().collect();
            let expected =
                [("z", "1"), ("z", "4"), ("set-cookie", "2"), ("set-cookie", "5"), ("a", "3")];
            assert_eq!(came, expected.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        }
        other => panic!("{}", crate::host::describe(&other)),
    }
}

// Clauses: H2-2, ST-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_request_is_refused_and_the_connection_goes_on() {
    let client =
        served(Config::default(), |mut exchange| async move { exchange.answer("ok") }).await;
    for (method, target) in [("CONNECT", "/"), ("GET", "x"), ("GET", "/a b"), ("G T", "/")] {
        let refused = ask(&client, method, target, Content::Empty);
        assert_eq!(error(refused).await, Error::ProtocolError);
    }
    assert_eq!(full(get(&client, "/")).await, (200, b"ok".to_vec()));
}

// Clauses: H2-3, H2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_without_content() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let head = block(OK, &[("content-length", "700")]);
    for (stream, method, status, block) in [
        (1, "HEAD", 200, head.as_slice()),
        (3, "GET", 204, NO_CONTENT),
        (5, "GET", 304, NOT_MODIFIED),
    ] {
        let at_once = ask(&client, method, "/", Content::Empty);
        assert_eq!(raw.request().await, 2 * stream - 1);
        raw.respond(2 * stream - 1, END_STREAM, block).await;
        assert_eq!(full(at_once).await, (status, Vec::new()));
        // An empty DATA frame may carry the end.
        let later = ask(&client, method, "/", Content::Empty);
        assert_eq!(raw.request().await, 2 * stream + 1);
        raw.respond(2 * stream + 1, 0, block).await;
        raw.send(0, END_STREAM, 2 * stream + 1, b"").await;
        assert_eq!(full(later).await, (status, Vec::new()));
    }
}

// Clauses: H2-5, TRAP-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_end_a_response() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    for (stream, fields) in [(1, &[("x-sum", "1")][..]), (3, &[])] {
        let pending = get(&client, "/");
        assert_eq!(raw.request().await, stream);
        raw.respond(stream, 0, OK).await;
        raw.send(0, 0, stream, b"body").await;
        raw.respond(stream, END_STREAM, &block(b"", fields)).await;
        assert_eq!(full(pending).await, (200, b"body".to_vec()));
    }
}

// Clauses: H2-15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_are_never_final() {
    let client = served(Config::default(), |mut exchange| async move {
        for _ in 0..3 {
            let mut early = Response::new(());
            *early.status_mut() = StatusCode::EARLY_HINTS;
            exchange.respond.send_informational(early).unwrap();
        }
        exchange.answer("final");
    })
    .await;
    assert_eq!(full(get(&client, "/")).await, (200, b"final".to_vec()));
}

// Clauses: ST-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_is_up_when_the_peers_settings_have_come() {
    let (client, mut connecting, mut raw) = Raw::greeted(Config::default()).await;
    let ours = raw.next(SETTINGS).await;
    assert_eq!(ours.flags & ACK, 0);
    assert!(ours.payload.chunks(6).any(|it| it == [0, 2, 0, 0, 0, 0]), "push is off");
    assert_eq!(client.connection.state(), State::Connecting);
    assert!(connecting.try_recv().is_err());
    raw.settle(&[]).await;
    assert!(matches!(answer(connecting).await, Answer::Ok));
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: ST-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_do_not_come_are_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = Client::new(Config::default());
    let dial = hansom_engine::Dial {
        h2c: true,
        connect_timeout: Some(Duration::from_millis(50)),
        ..hansom_engine::Dial::new(hansom_engine::TransportKind::Tcp, "127.0.0.1", port)
    };
    let pending = client.ask(|caller| Command::Connect { caller, dial: Box::new(dial) });
    let (_socket, _) = within(listener.accept()).await.unwrap();
    assert_eq!(error(pending).await, Error::Timeout);
    assert_eq!(client.connection.state(), State::Closed);
}

// Clauses: H2-15, LOW-4, LOW-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_http_1_is_refused_or_without_effect() {
    let client =
        served(Config::default(), |mut exchange| async move { exchange.answer("ok") }).await;
    assert!(matches!(answer(client.ask(|caller| Command::Pause { caller })).await, Answer::Ok));
    assert!(matches!(answer(client.ask(|caller| Command::Resume { caller })).await, Answer::Ok));
    let refused = client.ask(|caller| Command::StopAsync { caller });
    assert_eq!(error(refused).await, Error::InvalidState);
    let raw = client.ask(|caller| Command::Send { caller, data: Content::Empty });
    assert_eq!(error(raw).await, Error::NotSupported);
    let raw = client.ask(|caller| Command::Recv { caller, length: 0, timeout: None });
    assert_eq!(error(raw).await, Error::NotSupported);
    // Nothing could be sent after the head.
    let head = ask(&client, "POST", "/", Content::Stream);
    assert_eq!(error(head).await, Error::NotSupported);
    let (receiver, _inbox) = mailbox(1);
    let head = request("POST", "/", Content::Stream);
    let head = ask_async(&client, head, receiver, AsyncMode::Push, RequestOptions::default());
    assert_eq!(error(head).await, Error::NotSupported);
    assert_eq!(error(client.body()).await, Error::NoStream);
    assert_eq!(error(client.piece()).await, Error::NoStream);
    let start = client.ask(|caller| Command::StartResponse { caller });
    assert_eq!(error(start).await, Error::InvalidState);
}

// Clauses: H2-18, LOW-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_socket_questions_leave_streams_alone() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    let pending = get(&client, "/");
    raw.request().await;
    for checkout in [false, true] {
        let probe = client.ask(|caller| Command::Probe { caller, checkout });
        assert!(matches!(answer(probe).await, Answer::Ok));
    }
    let name = client.ask(|caller| Command::PeerName { caller });
    assert!(matches!(answer(name).await, Answer::Address(_)));
    let options = client.ask(|caller| Command::SetOptions { caller, options: Vec::new() });
    assert!(matches!(answer(options).await, Answer::Ok));
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(full(pending).await, (200, Vec::new()));
}

// Clauses: ST-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_idle_timer_does_not_end_a_shared_connection() {
    let config = Config { idle_timeout: Some(Duration::ZERO), ..Config::default() };
    let client = served(config, |mut exchange| async move { exchange.answer("ok") }).await;
    for _ in 0..20 {
        assert_eq!(full(get(&client, "/")).await.0, 200);
    }
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_response_is_taken_although_the_request_is_not_all_sent() {
    let mut builder = server::Builder::new();
    builder.initial_window_size(1000);
    let client = served_by(Config::default(), builder, |mut exchange| async move {
        // The server resets the stream with NO_ERROR as it lets go of the request.
        exchange.answer("too large");
    })
    .await;
    let pending = ask(&client, "POST", "/", Content::Payload(Large(vec![7; 500_000])));
    assert_eq!(full(pending).await, (200, b"too large".to_vec()));
    assert_eq!(full(get(&client, "/")).await.0, 200);
}

// Clauses: H2-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_sent_to_its_end_although_it_is_answered() {
    let (done, mut all) = tokio::sync::mpsc::unbounded_channel();
    let mut builder = server::Builder::new();
    builder.initial_window_size(1000);
    let client = served_by(Config::default(), builder, move |mut exchange| {
        let done = done.clone();
        async move {
            exchange.answer("taken");
            let _ = done.send(exchange.content().await.len());
        }
    })
    .await;
    let pending = ask(&client, "POST", "/", Content::Payload(Large(vec![7; 500_000])));
    assert_eq!(full(pending).await, (200, b"taken".to_vec()));
    assert_eq!(all.recv().await, Some(500_000));
}

// Clauses: API-19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_of_the_last_response_are_kept() {
    let client = served(Config::default(), |mut exchange| async move {
        let response = Response::builder().header("x-a", "1").header("x-a", "2").body(()).unwrap();
        let mut stream = exchange.respond.send_response(response, false).unwrap();
        stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        stream.send_trailers(trailers()).unwrap();
    })
    .await;
    let options = RequestOptions::default();
    match answer(ask_with(&client, "GET", "/", Content::Empty, options)).await {
        Answer::Full { headers, .. } => {
            let fields: Vec<_> = headers.iter().collect();
            assert_eq!(fields, [(&b"x-a"[..], &b"1"[..]), (b"x-a", b"2")]);
        }
        other => panic!("{}", crate::host::describe(&other)),
    }
    match answer(client.ask(|caller| Command::ResponseHeaders { caller })).await {
        Answer::Headers(Some(headers)) => assert!(headers.contains(b"x-a")),
        other => panic!("{}", crate::host::describe(&other)),
    }
}
