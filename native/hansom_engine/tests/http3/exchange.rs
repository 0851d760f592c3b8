//! Requests and their responses.

use hansom_engine::transport::Address;
use hansom_engine::{
    Answer, Command, Config, Content, Error, HeaderList, HttpProtocol, Request, RequestOptions,
    State,
};
use http::{HeaderMap, Response};

use crate::ask::{ask, get, request};
use crate::host::{Client, Large, answer, data, describe, error, full, status, within};
use crate::peer::Raw;
use crate::server::{Exchange, served};

async fn sized(exchange: Exchange) {
    let size = exchange.size();
    exchange.answer(vec![b'x'; size]).await;
}

// Clauses: H3-1, API-7, API-29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_side_by_side() {
    let client = served(Config::default(), sized).await;
    assert_eq!(client.connection.protocol(), HttpProtocol::Http3);
    let pending: Vec<_> = (0..60).map(|n| get(&client, &format!("/{}", n * 3000))).collect();
    for (n, pending) in pending.into_iter().enumerate() {
        let (status, body) = full(pending).await;
        assert_eq!((status, body.len()), (200, n * 3000));
    }
    assert_eq!(client.connection.state(), State::Connected);
    let info = client.connection.info();
    assert!(info.tls && info.totals.requests == 60);
    // What passed is counted after it was handed on.
    within(async {
        while client.connection.info().totals.received < 5_310_000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

// Clauses: H3-1, H2-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_of_a_request() {
    let config = Config { host_header: b"a.test".to_vec(), ..Config::default() };
    let client = served(config, |exchange| async move {
        let fields = exchange.request.headers().iter();
        let fields: Vec<_> =
            fields.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        let (method, uri) = (exchange.request.method(), exchange.request.uri());
        let text = format!("{method} {} {}", uri.path(), fields.join(" "));
        let port = uri.authority().unwrap().port_u16();
        assert_eq!(uri.authority().unwrap().host(), "a.test");
        assert!(port.is_some_and(|port| port != 443), "the port is told");
        exchange.answer(text).await;
    })
    .await;
    let mut headers = HeaderList::default();
    for (name, value) in [("X-B", "1"), ("Host", "other"), ("Accept", "*/*"), ("x-b", "2")] {
        headers.push(name.as_bytes(), value.as_bytes());
    }
    let request = Request { headers, ..request("PATCH", "", Content::Empty) };
    let options = RequestOptions::default();
    let pending = client.ask(|caller| Command::Request { caller, request, options });
    assert_eq!(full(pending).await, (200, b"PATCH / x-b=1 x-b=2 accept=*/*".to_vec()));
    let refused = ask(&client, "CONNECT", "/", Content::Empty);
    assert_eq!(error(refused).await, Error::ProtocolError);
}

// Clauses: H3-11, H2-5, RSP-15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_and_trailers_are_passed_over() {
    let client = served(Config::default(), |mut exchange| async move {
        let mut early = Response::new(());
        *early.status_mut() = http::StatusCode::EARLY_HINTS;
        exchange.respond(early).await;
        exchange.respond(Response::new(())).await;
        exchange.stream.send_data("body".into()).await.unwrap();
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        exchange.stream.send_trailers(trailers).await.unwrap();
        exchange.stream.finish().await.unwrap();
    })
    .await;
    assert_eq!(full(get(&client, "/")).await, (200, b"body".to_vec()));
    assert_eq!(full(get(&client, "/")).await, (200, b"body".to_vec()));
}

// Clauses: H2-3, H2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_without_content() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let cases = [("HEAD", "200"), ("GET", "204"), ("GET", "304")];
    for (method, status) in cases {
        let pending = ask(&client, method, "/", Content::Empty);
        let mut exchange = raw.request().await;
        exchange.respond(status, &[("content-length", "5")]).await;
        exchange.data(b"").await;
        exchange.end();
        assert_eq!(full(pending).await, (status.parse().unwrap(), Vec::new()));
    }
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: H3-6, API-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_read_in_steps() {
    let client = served(Config::default(), sized).await;
    let streaming = |target: &str| {
        let (request, options) =
            (request("GET", target, Content::Empty), RequestOptions::default());
        client.ask(|caller| Command::RequestStreaming { caller, request, options })
    };
    assert_eq!(error(client.piece()).await, Error::NoStream);
    assert_eq!(error(client.body()).await, Error::InvalidState);
    assert_eq!(status(streaming("/300000")).await, 200);
    let mut seen = 0;
    loop {
        match answer(client.piece()).await {
            Answer::Data(piece) => seen += hansom_engine::BodyBuffer::as_slice(&piece).len(),
            Answer::Done => break,
            other => panic!("{}", describe(&other)),
        }
    }
    assert_eq!(seen, 300_000);
    assert_eq!(error(client.piece()).await, Error::NoStream);
    assert_eq!(status(streaming("/70000")).await, 200);
    assert_eq!(data(client.body()).await.len(), 70_000);
    assert_eq!(error(client.body()).await, Error::NoStream);
    // A response that was not read to its end makes way for the next.
    assert_eq!(status(streaming("/9000000")).await, 200);
    assert_eq!(status(streaming("/3")).await, 200);
    assert_eq!(data(client.piece()).await, b"xxx");
    assert!(matches!(answer(client.piece()).await, Answer::Done));
}

// Clauses: H3-12, LOW-1, LOW-2, LOW-3, LOW-4, LOW-5, API-24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_asked_of_the_connection() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let address = raw.endpoint.local_addr().unwrap();
    match answer(client.ask(|caller| Command::PeerName { caller })).await {
        Answer::Address(Address::Ip(peer)) => assert_eq!(peer, address),
        other => panic!("{}", describe(&other)),
    }
    match answer(client.ask(|caller| Command::SockName { caller })).await {
        Answer::Address(Address::Ip(own)) => assert_eq!(own, raw.connection.remote_address()),
        other => panic!("{}", describe(&other)),
    }
    let certificate = answer(client.ask(|caller| Command::PeerCertificate { caller })).await;
    assert!(matches!(certificate, Answer::Certificate(der) if !der.is_empty()));
    let options = client.ask(|caller| Command::SetOptions { caller, options: Vec::new() });
    assert_eq!(error(options).await, Error::NotSupported);
    let send = client.ask(|caller| Command::Send { caller, data: Content::Empty });
    assert_eq!(error(send).await, Error::NotConnected);
    let recv = client.ask(|caller| Command::Recv { caller, length: 0, timeout: None });
    assert_eq!(error(recv).await, Error::NotConnected);
    let stop = client.ask(|caller| Command::StopAsync { caller });
    assert_eq!(error(stop).await, Error::InvalidState);
    for checkout in [false, true] {
        let probe = client.ask(|caller| Command::Probe { caller, checkout });
        assert!(matches!(answer(probe).await, Answer::Ok));
    }
    let reuse = answer(client.ask(|caller| Command::Reuse { caller })).await;
    assert!(matches!(reuse, Answer::Reuse { should_close: false, ready: true }));
    assert_eq!(client.connection.state(), State::Connected);
}

// Clauses: API-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_handlers_are_for_http_2_only() {
    let (client, _raw) = Raw::connected(Config::default()).await;
    let (handler, _inbox) = crate::ask::mailbox(1);
    let request = request("GET", "/", Content::Stream);
    let pending =
        client.ask(|caller| Command::OpenStream { caller, request, handler, manual: false });
    assert_eq!(error(pending).await, Error::InvalidState);
}

// Clauses: API-19, RSP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_keep_their_order() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let pending = get(&client, "/");
    let mut exchange = raw.request().await;
    exchange.respond("200", &[("b", "1"), ("a", "2"), ("b", "3")]).await;
    exchange.end();
    assert_eq!(full(pending).await.0, 200);
    match answer(client.ask(|caller| Command::ResponseHeaders { caller })).await {
        Answer::Headers(Some(headers)) => {
            let fields: Vec<_> = headers.iter().collect();
            assert_eq!(fields, [(&b"b"[..], &b"1"[..]), (b"a", b"2"), (b"b", b"3")]);
        }
        other => panic!("{}", describe(&other)),
    }
}

// Clauses: ST-26, API-34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gave_up_hears_nothing_and_its_stream_is_reset() {
    let (client, raw) = Raw::connected(Config::default()).await;
    let (caller, mut pending) = client.caller();
    let target = crate::host::Caller { id: caller.id, process: 0, reply: None };
    let request = request("GET", "/", Content::Empty);
    client.tell(Command::Request { caller, request, options: RequestOptions::default() });
    let exchange = raw.request().await;
    let cancelled = answer(client.ask(|caller| Command::Cancel { caller, target })).await;
    assert!(matches!(cancelled, Answer::Ok));
    assert_eq!(exchange.stop_code().await, 0x10c);
    assert!(pending.try_recv().is_err());
    let after = get(&client, "/");
    raw.request().await.answer(b"ok").await;
    assert_eq!(full(after).await, (200, b"ok".to_vec()));
}

async fn echo(mut exchange: Exchange) {
    let content = exchange.content().await;
    exchange.answer(content).await;
}

// Clauses: H3-1, ST-25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_of_any_size_goes_and_comes_back() {
    let client: Client = served(Config::default(), echo).await;
    let mut pending = Vec::new();
    for size in [1, 1200, 16_384, 65_536, 65_537, 1_000_000, 5_000_000] {
        let content: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        let sent = Content::Payload(Large(content.clone()));
        pending.push((content.clone(), ask(&client, "POST", "/", sent)));
        let bytes = Content::Bytes(content.clone());
        pending.push((content, ask(&client, "PUT", "/", bytes)));
    }
    for (content, pending) in pending {
        let (status, body) = full(pending).await;
        assert!(status == 200 && body == content, "{} bytes", content.len());
    }
    within(async {
        while client.connection.info().buffered_in + client.connection.info().buffered_out > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
