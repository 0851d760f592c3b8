//! A client just large enough to see every byte a server sends.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use hansom_origin::listener::{Config, Origin};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// An origin with one plain listener, and where it listens.
pub(crate) async fn origin() -> (Origin, SocketAddr) {
    let config = Config { http: vec![local()], ..Config::default() };
    let origin = Origin::start(config).await.expect("an origin");
    let address = origin.http()[0];
    (origin, address)
}

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Fails the test when `future` takes longer than any healthy run could.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("an answer in time")
}

pub(crate) struct Response {
    /// Everything up to the empty line, interim responses not included.
    pub(crate) head: String,
    /// As it came, chunked framing included.
    pub(crate) raw: Vec<u8>,
    /// Without chunked framing.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Response {
    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).expect("a status")
    }

    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }
}

/// Sends a request that asks for the connection to be closed, and reads to the end.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Response {
    request(address, "GET", target, "", b"").await
}

/// As [`get`], with a method, further header lines and a body.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    fields: &str,
    body: &[u8],
) -> Response {
    let socket = soon(TcpStream::connect(address)).await.expect("a connection");
    exchange(socket, method, target, fields, body).await
}

/// As [`request`], on a connected stream.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    method: &str,
    target: &str,
    fields: &str,
    body: &[u8],
) -> Response {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: origin.test\r\nconnection: close\r\n{fields}\r\n"
    );
    soon(socket.write_all(&[head.as_bytes(), body].concat())).await.expect("a sent request");
    let (bytes, end) = read_all(&mut socket).await;
    end.expect("an orderly end");
    parse(&bytes)
}

/// Everything until the end of the stream, and how it ended.
pub(crate) async fn read_all<S: AsyncRead + Unpin>(
    socket: &mut S,
) -> (Vec<u8>, std::io::Result<()>) {
    let mut bytes = Vec::new();
    let end = soon(socket.read_to_end(&mut bytes)).await.map(|_| ());
    (bytes, end)
}

/// Reads one response with a Content-Length from a connection that stays open.
pub(crate) async fn read_one<S: AsyncRead + Unpin>(socket: &mut S) -> Response {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            let response = parse(&bytes);
            let length = response
                .field("content-length")
                .map_or(0, |length| length.parse::<usize>().expect("a length"));
            if bytes.len() >= at + 4 + length {
                return response;
            }
        }
        assert!(soon(socket.read_buf(&mut bytes)).await.expect("data") > 0, "ended too soon");
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Response {
    let end = find(bytes, b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a textual head");
    let raw = bytes[end + 4..].to_vec();
    let mut response = Response { head, body: raw.clone(), raw, trailers: String::new() };
    if response.field("transfer-encoding") == Some("chunked") {
        (response.body, response.trailers) = dechunk(&response.raw);
    }
    response
}

/// The data of each chunk.
pub(crate) fn chunk_list(mut rest: &[u8]) -> (Vec<Vec<u8>>, String) {
    let mut chunks = Vec::new();
    loop {
        let line = find(rest, b"\r\n").expect("a chunk head");
        let size = std::str::from_utf8(&rest[..line]).expect("hexadecimal digits");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        rest = &rest[line + 2..];
        if size == 0 {
            return (chunks, String::from_utf8(rest.to_vec()).expect("textual trailers"));
        }
        chunks.push(rest[..size].to_vec());
        assert_eq!(&rest[size..size + 2], b"\r\n");
        rest = &rest[size + 2..];
    }
}

fn dechunk(bytes: &[u8]) -> (Vec<u8>, String) {
    let (chunks, trailers) = chunk_list(bytes);
    (chunks.concat(), trailers)
}

pub(crate) fn find(bytes: &[u8], sought: &[u8]) -> Option<usize> {
    bytes.windows(sought.len()).position(|seen| seen == sought)
}

pub(crate) fn is_pattern(bytes: &[u8]) -> bool {
    let period = hansom_origin::service::PATTERN_PERIOD;
    bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % period)
}
