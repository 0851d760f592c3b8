//! Requests sent in pieces, and flow control on the way out.

use std::time::Duration;

use hansom_engine::{
    Answer, AsyncMode, Command, Config, Content, Error, H2Code, HeaderList, RequestOptions,
    SendTimeout, State,
};

use crate::host::{Caller, Client, Large, Pending, answer, data, error, full, status, within};
use crate::peer::{
    DATA, END_STREAM, Exchange, HEADERS, OK, RST_STREAM, Raw, accepted, ask, ask_with, get,
    mailbox, next, request, send_all, served,
};

fn start(client: &Client, process: u64) -> Pending {
    let request = request("POST", "/", Content::Stream);
    let options = RequestOptions::default();
    client.ask_as(process, |caller| Command::SendHeaders { caller, request, options })
}

fn chunk(client: &Client, process: u64, bytes: Vec<u8>) -> Pending {
    let data = if bytes.is_empty() { Content::Empty } else { Content::Payload(Large(bytes)) };
    client.ask_as(process, |caller| Command::SendChunk { caller, data })
}

fn finish(client: &Client, process: u64, fields: &[(&str, &str)]) -> Pending {
    let mut trailers = HeaderList::default();
    for (name, value) in fields {
        trailers.push(name.as_bytes(), value.as_bytes());
    }
    client.ask_as(process, |caller| Command::FinishBody { caller, trailers })
}

fn start_response(client: &Client, process: u64) -> Pending {
    client.ask_as(process, |caller| Command::StartResponse { caller })
}

fn body(client: &Client, process: u64) -> Pending {
    client.ask_as(process, |caller| Command::Body { caller })
}

fn piece(client: &Client, process: u64) -> Pending {
    client.ask_as(process, |caller| Command::StreamBody { caller })
}

async fn echo(mut exchange: Exchange) {
    let content = exchange.content().await;
    let mut stream = exchange.begin();
    send_all(&mut stream, content.into()).await;
}

// Clauses: H2-13, H2-14, TRAP-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_upload_and_read_side_by_side() {
    let client = served(Config::default(), echo).await;
    for process in 1..=3 {
        accepted(start(&client, process)).await;
    }
    assert_eq!(client.connection.state(), State::Connected);
    assert_eq!(full(get(&client, "/")).await.0, 200);
    for part in 0..4_u8 {
        for process in 1..=3 {
            accepted(chunk(&client, process, vec![part + process as u8; 100_000])).await;
        }
    }
    accepted(chunk(&client, 1, Vec::new())).await;
    for process in 1..=3 {
        accepted(finish(&client, process, &[])).await;
        assert_eq!(status(start_response(&client, process)).await, 200);
        if process == 2 {
            let mut seen = 0;
            loop {
                match answer(piece(&client, process)).await {
                    Answer::Data(_) => seen += 1,
                    Answer::Done => break,
                    other => panic!("{}", crate::host::describe(&other)),
                }
            }
            assert!(seen > 1);
        } else {
            let body = data(body(&client, process)).await;
            let expected: Vec<u8> =
                (0..4_u8).flat_map(|part| vec![part + process as u8; 100_000]).collect();
            assert!(body == expected);
        }
        assert_eq!(error(piece(&client, process)).await, Error::NoStream);
        assert_eq!(error(body(&client, process)).await, Error::NoStream);
    }
}

// Clauses: H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_an_upload() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    accepted(start(&client, 1)).await;
    assert_eq!(error(start(&client, 1)).await, Error::InvalidState);
    let head = raw.next(HEADERS).await;
    assert_eq!(head.flags & END_STREAM, 0);
    accepted(chunk(&client, 1, b"part".to_vec())).await;
    assert_eq!(raw.next(DATA).await.payload, b"part");
    accepted(finish(&client, 1, &[])).await;
    let last = raw.next(DATA).await;
    assert_eq!((last.flags & END_STREAM, last.payload.len()), (1, 0));
    // A second end is as good as the first.
    accepted(finish(&client, 1, &[])).await;
    let head = start_response(&client, 1);
    raw.respond(1, 0, OK).await;
    assert_eq!(status(head).await, 200);
    let whole = body(&client, 1);
    raw.send(DATA, END_STREAM, 1, b"answer").await;
    assert_eq!(data(whole).await, b"answer");
}

// Clauses: H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_end_an_upload() {
    let client = served(Config::default(), |mut exchange| async move {
        exchange.content().await;
        let trailers = exchange.request.body_mut().trailers().await.unwrap().unwrap();
        let sum = trailers["x-sum"].as_bytes().to_vec();
        exchange.answer(sum);
    })
    .await;
    accepted(start(&client, 1)).await;
    accepted(chunk(&client, 1, b"abc".to_vec())).await;
    assert_eq!(error(finish(&client, 1, &[("upgrade", "x")])).await, Error::ProtocolError);
    accepted(finish(&client, 1, &[("X-Sum", "294")])).await;
    assert_eq!(status(start_response(&client, 1)).await, 200);
    assert_eq!(data(body(&client, 1)).await, b"294");
}

// Clauses: H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_response_is_kept_until_it_is_asked_for() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    accepted(start(&client, 1)).await;
    raw.request().await;
    raw.respond(1, 0, OK).await;
    raw.send(DATA, END_STREAM, 1, b"early").await;
    raw.settled().await;
    accepted(chunk(&client, 1, b"late".to_vec())).await;
    assert_eq!(status(start_response(&client, 1)).await, 200);
    assert_eq!(data(body(&client, 1)).await, b"early");
}

// Clauses: H2-6, H2-12, H2-13, TRAP-25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_releases_whoever_waits() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 10)]).await;
    // A sender held up by flow control.
    accepted(start(&client, 1)).await;
    assert_eq!(raw.request().await, 1);
    let blocked = chunk(&client, 1, vec![0; 100]);
    assert_eq!(raw.next(DATA).await.payload.len(), 10);
    raw.reset(1, 11).await;
    assert_eq!(error(blocked).await, Error::SendReset);
    assert!(matches!(error(start_response(&client, 1)).await, Error::StreamError(_)));
    assert_eq!(error(start_response(&client, 1)).await, Error::NoStream);
    assert_eq!(error(chunk(&client, 1, b"x".to_vec())).await, Error::NoStream);
    // Someone who waits for the head.
    accepted(start(&client, 1)).await;
    assert_eq!(raw.request().await, 3);
    let parked = start_response(&client, 1);
    raw.reset(3, 7).await;
    assert!(matches!(error(parked).await, Error::StreamError(code) if code.0 == 7));
    // And for the body.
    accepted(start(&client, 1)).await;
    assert_eq!(raw.request().await, 5);
    let parked = start_response(&client, 1);
    raw.respond(5, 0, OK).await;
    assert_eq!(status(parked).await, 200);
    let parked = body(&client, 1);
    raw.reset(5, 2).await;
    assert!(matches!(error(parked).await, Error::StreamError(code) if code.0 == 2));
    assert_eq!(error(body(&client, 1)).await, Error::NoStream);
}

// Clauses: H2-11, TRAP-30, TRAP-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_never_opens_is_given_up() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 0)]).await;
    let brief = Some(SendTimeout::After(Duration::from_millis(30)));
    let options = RequestOptions {
        send_timeout: brief,
        recv_timeout: Some(None),
        ..RequestOptions::default()
    };
    for (stream, content) in
        [(1, Content::Bytes(b"small".to_vec())), (3, Content::Payload(Large(vec![0; 100_000])))]
    {
        let pending = ask_with(&client, "POST", "/", content, options);
        assert_eq!(raw.request().await, stream);
        assert_eq!(error(pending).await, Error::Timeout);
        assert_eq!(raw.reset_code().await, 8);
    }
    // An asynchronous request fails in the call.
    let (receiver, mut inbox) = mailbox(1);
    let request = request("POST", "/", Content::Bytes(b"small".to_vec()));
    let pending = client.ask(|caller| Command::RequestAsync {
        caller,
        request,
        options,
        receiver,
        receiver_owns: false,
        mode: AsyncMode::Push,
        follow_redirect: false,
    });
    assert_eq!(error(pending).await, Error::Timeout);
    assert!(inbox.try_recv().is_err());
    // The value was for that request alone, and the connection is in order.
    let patient = ask(&client, "POST", "/", Content::Bytes(b"x".to_vec()));
    let stream = loop {
        let frame = raw.next(HEADERS).await;
        if frame.stream == 7 {
            break frame.stream;
        }
    };
    raw.open_window(stream, 1).await;
    assert_eq!(raw.next(DATA).await.payload, b"x");
    raw.respond(stream, END_STREAM, OK).await;
    assert_eq!(full(patient).await.0, 200);
}

// Clauses: H2-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_wait_is_refused_when_too_much_waits() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 0)]).await;
    let options =
        RequestOptions { send_timeout: Some(SendTimeout::Never), ..RequestOptions::default() };
    let whole = Content::Payload(Large(vec![0; (1 << 20) + 1]));
    assert_eq!(error(ask_with(&client, "POST", "/", whole, options)).await, Error::SendBufferFull);
    let request = request("POST", "/", Content::Stream);
    accepted(client.ask(|caller| Command::SendHeaders { caller, request, options })).await;
    accepted(chunk(&client, 0, vec![1; 1 << 20])).await;
    accepted(chunk(&client, 0, vec![2; 10])).await;
    assert_eq!(error(chunk(&client, 0, vec![3; 10])).await, Error::SendBufferFull);
    raw.open_window(1, 2 << 20).await;
    raw.open_window(0, 2 << 20).await;
    let mut seen = 0;
    while seen < (1 << 20) + 10 {
        seen += raw.next(DATA).await.payload.len();
    }
    accepted(finish(&client, 0, &[])).await;
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(status(start_response(&client, 0)).await, 200);
}

/// What ends a stream, or its connection, under a sender.
const ENDS: [&str; 4] = ["reset", "answered and reset", "goaway", "close"];

/// The peer, unless it is gone then.
async fn end(mut raw: Raw, how: &str) -> Option<Raw> {
    match how {
        "reset" => raw.reset(1, 8).await,
        "answered and reset" => {
            raw.respond(1, END_STREAM, OK).await;
            raw.reset(1, 0).await;
        }
        "goaway" => raw.go_away(1, 0).await,
        _ => return None,
    }
    Some(raw)
}

// Clauses: H2-12, TRAP-25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_its_stream_releases_a_blocked_sender() {
    for how in ENDS {
        let (client, mut raw) = Raw::connected(Config::default(), &[(4, 10)]).await;
        accepted(start(&client, 1)).await;
        let blocked = chunk(&client, 1, vec![0; 20]);
        assert_eq!(raw.next(DATA).await.payload.len(), 10);
        let _peer = end(raw, how).await;
        let expected = match how {
            "goaway" => Error::Goaway(H2Code(0)),
            "close" => Error::ClosedBy("tcp_closed"),
            _ => Error::SendReset,
        };
        assert_eq!(error(blocked).await, expected, "{how}");
    }
}

// Clauses: ST-8, H2-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_reading_a_response_waits_for_the_receive_timeout() {
    let patience = Duration::from_millis(50);
    let config = Config { recv_timeout: Some(patience), ..Config::default() };
    let (client, mut raw) = Raw::connected(config, &[]).await;
    let steps: [fn(&Client, u64) -> Pending; 3] = [start_response, body, piece];
    for (done, step) in steps.into_iter().enumerate() {
        accepted(start(&client, 0)).await;
        accepted(finish(&client, 0, &[])).await;
        let stream = raw.request().await;
        if done > 0 {
            raw.respond(stream, 0, OK).await;
            raw.settled().await;
            assert_eq!(status(start_response(&client, 0)).await, 200);
        }
        if done > 1 {
            raw.send(DATA, 0, stream, b"part").await;
            raw.settled().await;
            assert_eq!(data(piece(&client, 0)).await, b"part");
        }
        // Between two steps nobody waits.
        tokio::time::sleep(2 * patience).await;
        raw.settled().await;
        assert_eq!(error(step(&client, 0)).await, Error::Timeout);
        assert_eq!(raw.reset_code().await, 8);
        assert_eq!(error(step(&client, 0)).await, Error::NoStream);
    }
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H2-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_was_never_sent_takes_no_room() {
    const MIB: usize = 1 << 20;
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 64 << 20)]).await;
    raw.open_window(0, 64 << 20).await;
    let mut room = (64 << 20) + 65_535;
    let mut uploads = Vec::new();
    for _ in 0..16 {
        let (caller, pending) = client.caller();
        let target = Caller { id: caller.id, process: 0, reply: None };
        let request = request("POST", "/", Content::Payload(Large(vec![1; 2 * MIB])));
        client.tell(Command::Request { caller, request, options: RequestOptions::default() });
        uploads.push((target, pending));
    }
    // What is handed over now waits for a peer that does not read.
    raw.full(&client).await;
    for (target, _) in uploads {
        accepted(client.ask(|caller| Command::Cancel { caller, target })).await;
    }
    let mut resets = 0;
    while resets < 16 {
        let frame = raw.any().await.expect("the connection was closed");
        match frame.kind {
            DATA => room -= frame.payload.len(),
            RST_STREAM => resets += 1,
            _ => {}
        }
    }
    raw.settled().await;
    let options =
        RequestOptions { send_timeout: Some(SendTimeout::Never), ..RequestOptions::default() };
    let post = |size| ask_with(&client, "POST", "/", Content::Bytes(vec![2; size]), options);
    assert_eq!(error(post(room + MIB + 1)).await, Error::SendBufferFull);
    let fits = post(room + MIB);
    let stream = raw.request().await;
    raw.open_window(0, 1 << 20).await;
    while raw.next(DATA).await.flags & END_STREAM == 0 {}
    raw.respond(stream, END_STREAM, OK).await;
    assert_eq!(full(fits).await.0, 200);
}

// Clauses: H2-12, TRAP-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_sender_whose_data_has_left_is_not_told_what_happened_then() {
    for how in ENDS {
        let (client, mut raw) = Raw::connected(Config::default(), &[(4, 10)]).await;
        accepted(start(&client, 1)).await;
        let blocked = chunk(&client, 1, vec![0; 20]);
        assert_eq!(raw.next(DATA).await.payload.len(), 10);
        raw.open_window(1, 10).await;
        assert_eq!(raw.next(DATA).await.payload.len(), 10);
        let _peer = end(raw, how).await;
        accepted(blocked).await;
    }
}

// Clauses: H2-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_after_the_end() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    accepted(start(&client, 1)).await;
    accepted(finish(&client, 1, &[])).await;
    assert_eq!(error(chunk(&client, 1, b"more".to_vec())).await, Error::SendClosed);
    assert_eq!(raw.next(DATA).await.flags & END_STREAM, 1);
    raw.respond(1, END_STREAM, OK).await;
    assert_eq!(status(start_response(&client, 1)).await, 200);
}

// Clauses: H2-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_may_open_byte_by_byte() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 1)]).await;
    let pending = ask(&client, "POST", "/", Content::Payload(Large(b"abcdefghij".to_vec())));
    let stream = raw.request().await;
    let mut seen = Vec::new();
    loop {
        let frame = raw.next(DATA).await;
        assert!(frame.payload.len() <= 1);
        seen.extend_from_slice(&frame.payload);
        if frame.flags & END_STREAM != 0 {
            break;
        }
        raw.open_window(stream, 1).await;
    }
    assert_eq!(seen, b"abcdefghij");
    raw.respond(stream, END_STREAM, OK).await;
    assert_eq!(full(pending).await.0, 200);
}

// Clauses: H2-11, ST-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receive_timeout_does_not_run_while_the_body_is_held_up() {
    let (client, mut raw) = Raw::connected(Config::default(), &[(4, 0)]).await;
    let options = RequestOptions {
        recv_timeout: Some(Some(Duration::from_millis(20))),
        ..RequestOptions::default()
    };
    let started = std::time::Instant::now();
    let pending = ask_with(&client, "POST", "/", Content::Bytes(b"x".to_vec()), options);
    let stream = raw.request().await;
    within(async {
        while started.elapsed() < Duration::from_millis(60) {
            raw.settled().await;
        }
    })
    .await;
    raw.open_window(stream, 1).await;
    raw.next(DATA).await;
    assert_eq!(error(pending).await, Error::Timeout);
    assert!(started.elapsed() >= Duration::from_millis(80));
}

// Clauses: ST-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_a_dead_process_are_reset() {
    let (client, mut raw) = Raw::connected(Config::default(), &[]).await;
    accepted(start(&client, 1)).await;
    accepted(start(&client, 2)).await;
    assert_eq!((raw.request().await, raw.request().await), (1, 3));
    client.tell(Command::ProcessGone { process: 1 });
    let reset = raw.next(crate::peer::RST_STREAM).await;
    assert_eq!(reset.stream, 1);
    accepted(chunk(&client, 2, b"still here".to_vec())).await;
    assert_eq!(raw.next(DATA).await.stream, 3);
    let (receiver, mut inbox) = mailbox(1);
    let options = RequestOptions::default();
    let accepting = crate::peer::get_async(&client, "/", receiver, AsyncMode::Push, options);
    accepted(accepting).await;
    let stream = raw.request().await;
    raw.respond(stream, END_STREAM, OK).await;
    for message in ["status 200", "headers", "done"] {
        assert_eq!(next(&mut inbox).await, message);
    }
}
