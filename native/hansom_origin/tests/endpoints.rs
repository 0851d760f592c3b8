//! Every endpoint, over plain HTTP/1.1.

mod client;

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use client::{chunk_list, find, get, is_pattern, origin, read_all, read_one, request, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn hello() {
    let (_origin, address) = origin().await;
    for target in ["/", "/hello"] {
        let response = get(address, target).await;
        assert_eq!(response.status(), "200");
        assert_eq!(response.text(), "Hello, world!\n");
        assert_eq!(response.field("content-length"), Some("14"));
    }
}

#[tokio::test]
async fn bytes_have_a_length_and_the_pattern() {
    let (_origin, address) = origin().await;
    for length in [0, 1, 1024, 64_256, 64_257, 1_000_003] {
        let response = get(address, &format!("/bytes/{length}")).await;
        assert_eq!(response.field("content-length"), Some(length.to_string().as_str()));
        assert_eq!(response.body.len(), length);
        assert!(is_pattern(&response.body));
    }
    let response = get(address, "/bytes/3?headers=5").await;
    assert_eq!(response.fields("x-fill").len(), 5);
}

#[tokio::test]
async fn bytes_of_any_length_begin_at_once() {
    let (_origin, address) = origin().await;
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    let head = format!("GET /bytes/{} HTTP/1.1\r\nhost: x\r\n\r\n", u64::MAX / 2);
    soon(socket.write_all(head.as_bytes())).await.expect("a sent request");
    let mut some = vec![0; 100_000];
    soon(socket.read_exact(&mut some)).await.expect("the beginning");
    let body = find(&some, b"\r\n\r\n").expect("a head") + 4;
    assert!(is_pattern(&some[body..]));
}

#[tokio::test]
async fn head_has_the_fields_and_no_body() {
    let (_origin, address) = origin().await;
    let response = request(address, "HEAD", "/bytes/1024", "", b"").await;
    assert_eq!(response.field("content-length"), Some("1024"));
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn chunks_come_in_the_sizes_asked_for() {
    let (_origin, address) = origin().await;
    let response = get(address, "/chunks/5/300").await;
    let (chunks, _) = chunk_list(&response.raw);
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [300; 5]);
    assert!(is_pattern(&response.body));
    let response = get(address, "/chunks/2/70000").await;
    assert!(is_pattern(&response.body) && response.body.len() == 140_000);
    assert!(get(address, "/chunks/0/1").await.body.is_empty());
    assert_eq!(get(address, "/chunks/1/0").await.status(), "400");
}

#[tokio::test]
async fn paced_bodies_take_their_time() {
    let (_origin, address) = origin().await;
    let start = Instant::now();
    assert_eq!(get(address, "/stream/3?interval_ms=40").await.text(), "line 0\nline 1\nline 2\n");
    assert!(start.elapsed() >= Duration::from_millis(80));
    let start = Instant::now();
    let response = get(address, "/drip?bytes=4&interval_ms=30").await;
    assert_eq!(response.body, [0, 1, 2, 3]);
    assert_eq!(response.field("content-length"), Some("4"));
    assert!(start.elapsed() >= Duration::from_millis(90));
    let start = Instant::now();
    assert_eq!(get(address, "/delay/60").await.status(), "200");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn statuses() {
    let (_origin, address) = origin().await;
    for code in ["200", "201", "404", "418", "500", "999"] {
        let response = get(address, &format!("/status/{code}")).await;
        assert_eq!(response.status(), code);
        assert_eq!(response.text(), format!("status {code}\n"));
    }
    for code in ["204", "205", "304"] {
        let response = get(address, &format!("/status/{code}")).await;
        assert_eq!((response.status(), response.body.len()), (code, 0));
    }
}

#[tokio::test]
async fn redirects() {
    let (_origin, address) = origin().await;
    let response = get(address, "/redirect/2").await;
    assert_eq!((response.status(), response.field("location")), ("302", Some("/redirect/1")));
    let response = get(address, "/redirect/1?status=307").await;
    assert_eq!(response.status(), "307");
    assert_eq!(response.field("location"), Some("/redirect/0?status=307"));
    assert_eq!(get(address, "/redirect/0").await.status(), "200");
    let response = get(address, "/redirect-to?url=http%3A%2F%2Fx.test%2Fa%3Fb&status=301").await;
    assert_eq!(response.status(), "301");
    assert_eq!(response.field("location"), Some("http://x.test/a?b"));
}

#[tokio::test]
async fn headers_are_shown() {
    let (_origin, address) = origin().await;
    let response = request(address, "PATCH", "/headers?q", "X-One: 1\r\nX-One: 2\r\n", b"").await;
    assert_eq!(
        response.text(),
        "PATCH /headers?q HTTP/1.1\nhost: origin.test\nconnection: close\nx-one: 1\nx-one: 2\n"
    );
}

#[tokio::test]
async fn large_heads() {
    let (_origin, address) = origin().await;
    for size in [0, 100, 1024, 300_000] {
        let response = get(address, &format!("/headers-size/{size}")).await;
        let fill: usize =
            response.fields("x-fill").iter().map(|value| value.len() + "x-fill: \r\n".len()).sum();
        assert!(fill.abs_diff(size) <= 10, "{fill} is not {size}");
    }
    assert_eq!(get(address, "/headers-count/500").await.fields("x-fill").len(), 500);
}

#[tokio::test]
async fn cookies_and_caches() {
    let (_origin, address) = origin().await;
    let response = request(address, "GET", "/cookies?a=b", "Cookie: x=1; y=2\r\n", b"").await;
    assert_eq!(response.text(), "x=1; y=2\n");
    assert_eq!(
        response.fields("set-cookie"),
        ["first=1; Path=/", "second=2; Path=/; HttpOnly", "a=b; Path=/"]
    );

    assert_eq!(get(address, "/cache/304").await.status(), "304");
    let fresh = get(address, "/cache").await;
    assert_eq!((fresh.status(), fresh.field("etag")), ("200", Some("\"hansom\"")));
    for (condition, status) in [
        ("If-None-Match: \"other\", \"hansom\"\r\n", "304"),
        ("If-None-Match: \"other\"\r\n", "200"),
        ("If-None-Match: \"other\"\r\nIf-Modified-Since: x\r\n", "200"),
        ("If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT\r\n", "304"),
    ] {
        let response = request(address, "GET", "/cache", condition, b"").await;
        assert_eq!(response.status(), status, "{condition}");
    }
}

#[tokio::test]
async fn alternative_services() {
    let (_origin, address) = origin().await;
    assert_eq!(get(address, "/alt-svc").await.field("alt-svc"), Some("h3=\":443\"; ma=60"));
    let response = get(address, "/alt-svc?value=clear").await;
    assert_eq!(response.field("alt-svc"), Some("clear"));
}

#[tokio::test]
async fn uploads_are_counted_and_echoed() {
    let (_origin, address) = origin().await;
    let body: Vec<u8> = (0..300_000_u32).map(|at| (at % 256) as u8).collect();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let length = format!("content-length: {}\r\n", body.len());

    let response = request(address, "POST", "/upload", &length, &body).await;
    assert_eq!(response.text(), format!("bytes: 300000\ncrc32: {:08x}\n", crc.sum()));

    let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\nx-after: yes\r\n\r\n");
    let fields = "transfer-encoding: chunked\r\ntrailer: x-after\r\n";
    let response = request(address, "PUT", "/upload", fields, &chunked).await;
    assert_eq!(
        response.text(),
        format!("bytes: 300000\ncrc32: {:08x}\ntrailer x-after: yes\n", crc.sum())
    );

    let length = "content-length: 6\r\ncontent-type: text/x-test\r\n";
    let response = request(address, "POST", "/echo", length, b"abcdef").await;
    assert_eq!(response.text(), "abcdef");
    assert_eq!(response.field("content-type"), Some("text/x-test"));
}

#[tokio::test]
async fn an_expectation_is_answered_before_the_body_comes() {
    let (_origin, address) = origin().await;
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    let head = "POST /upload HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\
                connection: close\r\n\r\n";
    soon(socket.write_all(head.as_bytes())).await.expect("a sent head");
    let interim = read_one(&mut socket).await;
    assert_eq!(interim.status(), "100");
    soon(socket.write_all(b"ab")).await.expect("a sent body");
    assert!(read_one(&mut socket).await.text().starts_with("bytes: 2\n"));
}

fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded),
        "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut decoded),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded),
        _ => zstd::Decoder::new(bytes).expect("a decoder").read_to_end(&mut decoded),
    }
    .expect("well compressed data");
    decoded
}

#[tokio::test]
async fn content_codings() {
    let (_origin, address) = origin().await;
    let plain = get(address, "/text").await.body;
    assert_eq!(plain.len(), 10 * 1024);
    let long = get(address, "/text?bytes=600000").await.body;
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let response = get(address, &format!("/{coding}")).await;
        assert_eq!(response.field("content-encoding"), Some(coding));
        assert!(response.field("content-length").is_some());
        assert_eq!(decode(coding, &response.body), plain);

        let response = get(address, &format!("/{coding}?chunked")).await;
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
        assert_eq!(decode(coding, &response.body), plain);

        let response = get(address, &format!("/{coding}?bytes=600000")).await;
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
        assert_eq!(decode(coding, &response.body), long);

        let response = get(address, &format!("/{coding}?bytes=0")).await;
        assert!(decode(coding, &response.body).is_empty());

        let response = get(address, &format!("/bomb/{coding}?bytes=5000000")).await;
        assert_eq!(response.field("content-encoding"), Some(coding));
        assert!(response.body.len() < 10_000, "{coding}: {}", response.body.len());
        assert_eq!(decode(coding, &response.body), vec![0; 5_000_000]);
    }
}

#[tokio::test]
async fn trailers_are_for_those_who_ask() {
    let (_origin, address) = origin().await;
    let wanted = request(address, "GET", "/trailers", "TE: trailers\r\n", b"").await;
    let forced = get(address, "/trailers?force").await;
    for response in [&wanted, &forced] {
        assert_eq!(response.text(), "a body with trailers\n");
        assert!(response.trailers.contains("x-checksum: 05f885d0\r\n"), "{}", response.trailers);
        assert!(response.trailers.contains("x-last: yes\r\n"));
    }
    assert_eq!(get(address, "/trailers").await.trailers, "\r\n");
}

#[tokio::test]
async fn interim_responses_keep_their_place() {
    let (_origin, address) = origin().await;
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    let requests = "GET /bytes/100000 HTTP/1.1\r\nhost: x\r\n\r\n\
                    GET /interim/103?count=2 HTTP/1.1\r\nhost: x\r\n\r\n\
                    GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    soon(socket.write_all(requests.as_bytes())).await.expect("sent requests");
    let (bytes, end) = read_all(&mut socket).await;
    end.expect("an orderly end");
    let first = client::parse(&bytes);
    assert!(is_pattern(&first.raw[..100_000]));
    let rest = String::from_utf8(first.raw[100_000..].to_vec()).expect("text");
    let starts: Vec<_> = rest.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
    let expected = [
        "HTTP/1.1 103 Early Hints",
        "HTTP/1.1 103 Early Hints",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
    ];
    assert_eq!(starts, expected);
    assert!(rest.contains("x-interim: 2\r\n\r\nHTTP/1.1 200 OK"));
    assert!(rest.ends_with("\r\n\r\nHello, world!\n"));
}

#[tokio::test]
async fn connections_are_kept_and_counted() {
    let (_origin, address) = origin().await;
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    for number in 1..=3 {
        soon(socket.write_all(b"GET /connection HTTP/1.1\r\nhost: x\r\n\r\n")).await.expect("sent");
        let text = read_one(&mut socket).await.text();
        assert!(text.starts_with(&format!("connection: 1\nrequest: {number}\n")), "{text}");
        let from = socket.local_addr().expect("an address");
        assert!(text.contains(&format!("peer: {from}\n")));
    }
    assert!(get(address, "/connection").await.text().starts_with("connection: 2\nrequest: 1\n"));
}

#[tokio::test]
async fn endings() {
    let (_origin, address) = origin().await;
    let ask = async |target: &str| {
        let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        soon(socket.write_all(head.as_bytes())).await.expect("a sent request");
        let (bytes, end) = read_all(&mut socket).await;
        (bytes, end.map_err(|reason| reason.kind()))
    };

    let (bytes, end) = ask("/close").await;
    assert_eq!(client::parse(&bytes).field("connection"), Some("close"));
    assert_eq!(end, Ok(()));

    let (bytes, end) = ask("/close-delimited/70000").await;
    let response = client::parse(&bytes);
    assert_eq!(response.field("content-length"), None);
    assert_eq!(response.field("transfer-encoding"), None);
    assert!(is_pattern(&response.raw) && response.raw.len() == 70_000);
    assert_eq!(end, Ok(()));

    for sent in [0, 10, 2_000_000] {
        let (bytes, end) = ask(&format!("/cut/{sent}/3000000")).await;
        let response = client::parse(&bytes);
        assert_eq!(response.field("content-length"), Some("3000000"));
        assert!(is_pattern(&response.raw));
        assert_eq!((response.raw.len(), end), (sent, Ok(())));
    }

    let (bytes, end) = ask("/reset").await;
    assert_eq!(client::parse(&bytes).field("content-length"), Some("1024"));
    assert_eq!(end, Err(ErrorKind::ConnectionReset));

    assert_eq!(ask("/reset/before-head").await, (vec![], Err(ErrorKind::ConnectionReset)));
    assert_eq!(ask("/cut/before-head").await, (vec![], Ok(())));
}

#[tokio::test]
async fn raw_responses() {
    let (_origin, address) = origin().await;
    let raw = b"HTTP/1.1 200 Fine\r\nX: 1\r\n\r\nanything";
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    let head = format!("POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", raw.len());
    soon(socket.write_all(&[head.as_bytes(), raw].concat())).await.expect("a sent request");
    let (bytes, end) = read_all(&mut socket).await;
    assert_eq!(bytes, raw);
    end.expect("an orderly end");
}

#[tokio::test]
async fn bad_requests_are_answered_and_harm_nobody() {
    let (_origin, address) = origin().await;
    for (target, status) in [
        ("/nothing", "404"),
        ("/hello/again", "404"),
        ("/a/b/c/d/e", "404"),
        ("/bomb/lzw", "404"),
        ("/bytes/", "400"),
        ("/bytes/-1", "400"),
        ("/bytes/+1", "400"),
        ("/bytes/99999999999999999999", "400"),
        ("/bytes/1?headers=x", "400"),
        ("/chunks/1/99999999999", "400"),
        ("/status/100", "400"),
        ("/status/1000", "400"),
        ("/status/70000", "400"),
        ("/redirect/1?status=200", "400"),
        ("/redirect-to", "400"),
        ("/redirect-to?url=%0d%0a", "400"),
        ("/interim/101", "400"),
        ("/interim/200", "400"),
        ("/cut/10/10", "400"),
        ("/headers-size/99999999999", "400"),
        ("/headers-count/100000", "400"),
        ("/text?bytes=99999999999", "400"),
        ("/stream/1?interval_ms=-1", "400"),
    ] {
        assert_eq!(get(address, target).await.status(), status, "{target}");
    }
    for garbage in
        [&b"\0\0\0\0\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
    {
        let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
        soon(socket.write_all(garbage)).await.expect("sent garbage");
        soon(socket.shutdown()).await.expect("a half-closed connection");
        let (bytes, _) = read_all(&mut socket).await;
        assert!(!bytes.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(get(address, "/hello").await.status(), "200");
}

#[tokio::test]
async fn what_needs_another_version_says_so_or_falls_back() {
    let (_origin, address) = origin().await;
    assert_eq!(get(address, "/frames").await.status(), "501");
    assert_eq!(get(address, "/goaway").await.field("connection"), Some("close"));
    assert_eq!(get(address, "/goaway/sideways").await.status(), "404");
    assert_eq!(get(address, "/reset?code=x").await.status(), "400");
    assert_eq!(get(address, "/window/2147483648").await.status(), "400");
    for target in ["/disconnect/after/10", "/reset/after/10"] {
        let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        soon(socket.write_all(head.as_bytes())).await.expect("a sent request");
        let (bytes, end) = read_all(&mut socket).await;
        assert!(find(&bytes, b"content-length: 1034\r\n").is_some(), "{target}");
        assert_eq!(end.map_err(|reason| reason.kind()), Err(ErrorKind::ConnectionReset));
    }
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    soon(socket.write_all(b"GET /stall/head HTTP/1.1\r\nhost: x\r\n\r\n"))
        .await
        .expect("a request");
    let mut head = Vec::new();
    while find(&head, b"\r\n\r\n").is_none() {
        assert!(soon(socket.read_buf(&mut head)).await.expect("a head") > 0);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
}
