//! Scripts, played to plain and TLS connections.

mod client;

use std::io::ErrorKind;
use std::sync::Arc;

use client::{find, local, read_all, soon};
use hansom_origin::certs;
use hansom_origin::script::{Outcome, Script, Server, Step};
use hansom_origin::tls::Tls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

async fn server(script: &str) -> Server {
    let script = Script::parse(script).expect("a script");
    Server::start(script, local(), None).await.expect("a server")
}

/// Connects, sends, and reads to the end.
async fn talk(server: &Server, bytes: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
    soon(socket.write_all(bytes)).await.expect("sent bytes");
    let (received, end) = read_all(&mut socket).await;
    (received, end.map_err(|reason| reason.kind()))
}

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHoSt: x\r\n\r\n";

#[tokio::test]
async fn exact_bytes_in_and_out() {
    let server = server(
        r#"
        expect-head
        reply-head
        expect 2
        expect "cd"
        expect-until "\r\n"
        send "\x00sent"
        repeat 3 "ab"
        "#,
    )
    .await;
    let (bytes, end) = talk(&server, &[HEAD, b"abcdefg\r\n"].concat()).await;
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", HEAD.len());
    assert_eq!(bytes, [reply.as_bytes(), HEAD, b"\0sentababab"].concat());
    assert_eq!(end, Ok(()));
    let played = soon(server.played(0)).await;
    assert_eq!(played.outcome, Outcome::Finished);
    assert_eq!(played.received, [HEAD, b"abcdefg\r\n"].concat());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn pieces_arrive_apart() {
    let server = server("split 2 \"abcde\"\nexpect-eof").await;
    let mut socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
    let mut first = [0; 100];
    let count = soon(socket.read(&mut first)).await.expect("the first piece");
    assert!((1..5).contains(&count), "all pieces came as one");
    let mut rest = vec![0; 5 - count];
    soon(socket.read_exact(&mut rest)).await.expect("the rest");
    assert_eq!([&first[..count], &rest].concat(), b"abcde");
}

#[tokio::test]
async fn pauses_last() {
    let server = server("wait 60").await;
    let start = std::time::Instant::now();
    assert_eq!(talk(&server, b"").await, (vec![], Ok(())));
    assert!(start.elapsed() >= std::time::Duration::from_millis(60));
}

#[tokio::test]
async fn every_ending() {
    let server = server(
        r#"
        send "a"
        close
        connection
        send "a"
        cut
        connection
        send "a"
        reset
        connection
        send "a"
        half-close
        expect 1
        connection
        echo
        "#,
    )
    .await;
    let empty: &[u8] = b"";
    assert_eq!(talk(&server, empty).await, (b"a".to_vec(), Ok(())));
    assert_eq!(talk(&server, empty).await, (b"a".to_vec(), Ok(())));
    assert_eq!(talk(&server, empty).await, (b"a".to_vec(), Err(ErrorKind::ConnectionReset)));

    let mut socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
    assert_eq!(read_all(&mut socket).await.0, b"a");
    soon(socket.write_all(b"b")).await.expect("the other direction is open");
    let played = soon(server.played(3)).await;
    assert_eq!((&played.outcome, played.received.as_slice()), (&Outcome::Finished, &b"b"[..]));

    // The last section serves all further connections.
    for _ in 0..2 {
        let mut socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
        soon(socket.write_all(b"echo")).await.expect("sent bytes");
        soon(socket.shutdown()).await.expect("a half-closed connection");
        assert_eq!(read_all(&mut socket).await.0, b"echo");
    }
}

#[tokio::test]
async fn a_section_can_serve_many_requests() {
    let server = server("expect-head\nsend \"HTTP/1.1 204 No Content\\r\\n\\r\\n\"\nagain").await;
    let mut socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
    for _ in 0..3 {
        soon(socket.write_all(HEAD)).await.expect("a sent request");
        assert_eq!(client::read_one(&mut socket).await.status(), "204");
    }
    soon(socket.shutdown()).await.expect("a half-closed connection");
    assert_eq!(soon(server.played(0)).await.outcome, Outcome::PeerClosed(0));
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let server = server("expect-until \"!\"\nexpect \"right\"\nsend \"never\"").await;
    assert_eq!(talk(&server, b"ab!wrong").await, (vec![], Ok(())));
    let played = soon(server.played(0)).await;
    assert_eq!(played.outcome, Outcome::Mismatch(1));
    assert_eq!(played.received, b"ab!wrong");

    let mut socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
    soon(socket.write_all(b"ab!ri")).await.expect("sent bytes");
    drop(socket);
    assert_eq!(soon(server.played(1)).await.outcome, Outcome::PeerClosed(1));
}

#[tokio::test]
async fn degenerate_scripts_do_no_harm() {
    let empty = bytes::Bytes::new();
    let script = Script::new()
        .step(Step::ExpectUntil(empty.clone()))
        .step(Step::Expect(empty.clone()))
        .split(0, "ab")
        .step(Step::Repeat(2, empty))
        .connection()
        .step(Step::Again);
    let server = Server::start(script, local(), None).await.expect("a server");
    assert_eq!(talk(&server, b"").await, (b"ab".to_vec(), Ok(())));
    // Plays for ever, but must not hold up the server.
    let _endless = soon(TcpStream::connect(server.address())).await.expect("a connection");
    let _other = soon(TcpStream::connect(server.address())).await.expect("a connection");
}

#[tokio::test]
async fn scripts_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    certs::write(folder.path()).expect("certificates");
    let script = Script::parse("expect-head\nsend \"a\"\nclose\nconnection\nsend \"a\"\ncut");
    let tls = Tls::new(folder.path());
    let server = Server::start(script.expect("a script"), local(), Some(&tls)).await;
    let server = server.expect("a server");

    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(folder.path().join("ca.pem"));
    roots.add(authority.expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for expected in [Ok(()), Err(ErrorKind::UnexpectedEof)] {
        let socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = soon(connector.connect(name, socket)).await.expect("a handshake");
        soon(stream.write_all(HEAD)).await.expect("a sent request");
        let (bytes, end) = read_all(&mut stream).await;
        assert_eq!(bytes, b"a");
        assert_eq!(end.map_err(|reason| reason.kind()), expected);
    }

    let (alert, _) = talk(&server, b"not a handshake at all").await;
    assert!(find(&alert, b"\x15\x03").is_some(), "no alert in {alert:?}");
    assert!(matches!(soon(server.played(2)).await.outcome, Outcome::Handshake(_)));
}

/// Talks HTTP/2 to a script: the answer to one request, and how the connection ended.
async fn talk_http2(
    server: &Server,
) -> (Result<http::Response<h2::RecvStream>, h2::Error>, Result<(), h2::Error>) {
    let socket = soon(TcpStream::connect(server.address())).await.expect("a connection");
    let (mut requests, connection) =
        soon(h2::client::handshake(socket)).await.expect("a handshake");
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://origin.test/").body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("a sent request");
    let response = soon(response).await;
    (response, soon(connection).await.expect("a task without panic"))
}

#[tokio::test]
async fn frames_make_a_response() {
    let server = server(
        r#"
        h2-preface
        expect-frame headers 1
        frame ping 0 0 "12345678"
        expect-frame ping 0 "12345678"
        fields headers 0 1 ":status: 200"
        fields continuation end_headers 1 "x-field: a value"
        frames 20 data 0 1 ""
        frame data end_stream 1 "ab"*1000
        frame goaway 0 0 "\x00\x00\x00\x01\x00\x00\x00\x00"
        expect-eof
        "#,
    )
    .await;
    let (response, end) = talk_http2(&server).await;
    let (head, mut body) = response.expect("a response").into_parts();
    assert_eq!(head.headers["x-field"], "a value");
    let mut received = Vec::new();
    while let Some(data) = soon(body.data()).await {
        received.extend_from_slice(&data.expect("data"));
    }
    assert_eq!(received, b"ab".repeat(1000));
    end.expect("an orderly end");
    assert_eq!(soon(server.played(0)).await.outcome, Outcome::Finished);
}

#[tokio::test]
async fn floods_of_frames_are_noticed() {
    let server = server(
        r#"
        h2-preface
        expect-frame headers 1
        fields headers 0 1 ":status: 200"
        frames 100000 continuation 0 1 ""
        expect-eof
        connection
        h2-preface
        expect-frame headers 1
        fields headers end_headers 1 ":status: 200"
        frame window_update 0 0 "\x00\x00\x00\x00"
        expect-frame goaway 0 "\x00\x00\x00\x00\x00\x00\x00\x07"
        expect-eof
        "#,
    )
    .await;
    let (response, end) = talk_http2(&server).await;
    assert!(response.is_err() && end.is_err());
    let (_, end) = talk_http2(&server).await;
    assert_eq!(end.expect_err("an error").reason(), Some(h2::Reason::PROTOCOL_ERROR));
    // The client names another code.
    assert_eq!(soon(server.played(1)).await.outcome, Outcome::Mismatch(4));
}
