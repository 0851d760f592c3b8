//! The other end.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use hansom_engine::{Answer, Command, Config, Dial, TransportKind};
use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) use crate::ask::{
    accepted, ask, ask_async, ask_with, get, get_async, mailbox, next, request,
};
use crate::host::{Client, Pending, answer, within};

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// `:status: 200`, 204 and 304 in the static table of HPACK (RFC 7541, appendix A).
pub(crate) const OK: &[u8] = &[0x88];
pub(crate) const NO_CONTENT: &[u8] = &[0x89];
pub(crate) const NOT_MODIFIED: &[u8] = &[0x8b];

/// A header block: one of the above and fields, written out.
pub(crate) fn block(status: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = status.to_vec();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A peer whose every frame is in the test's hands.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
}

impl Raw {
    /// A connection to such a peer, which has sent these settings.
    pub(crate) async fn connected(config: Config, settings: &[(u16, u32)]) -> (Client, Self) {
        let (client, pending, mut raw) = Self::greeted(config).await;
        raw.settle(settings).await;
        assert!(matches!(answer(pending).await, Answer::Ok));
        (client, raw)
    }

    /// The same before it has sent anything.
    pub(crate) async fn greeted(config: Config) -> (Client, Pending, Self) {
        let client = Client::new(config);
        let (pending, raw) = Self::dialled(&client).await;
        (client, pending, raw)
    }

    /// A new such peer for a connection that is closed.
    pub(crate) async fn connected_again(client: &Client) -> Self {
        let (pending, mut raw) = Self::dialled(client).await;
        raw.settle(&[]).await;
        accepted(pending).await;
        raw
    }

    async fn dialled(client: &Client) -> (Pending, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pending = connect(client, listener.local_addr().unwrap().port());
        let (mut socket, _) = within(listener.accept()).await.unwrap();
        let mut preface = [0; 24];
        within(socket.read_exact(&mut preface)).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        (pending, Self { socket })
    }

    pub(crate) async fn settle(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &payload).await;
        // The client's own count from here on.
        self.send(SETTINGS, ACK, 0, b"").await;
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = frame(kind, flags, stream, payload);
        within(self.socket.write_all(&frame)).await.unwrap();
    }

    /// A response head; `flags` besides END_HEADERS.
    pub(crate) async fn respond(&mut self, stream: u32, flags: u8, block: &[u8]) {
        self.send(HEADERS, END_HEADERS | flags, stream, block).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(crate) async fn go_away(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    pub(crate) async fn open_window(&mut self, stream: u32, by: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &by.to_be_bytes()).await;
    }

    /// The next frame, whatever it is; `None` at the end.
    pub(crate) async fn any(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within(self.socket.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        within(self.socket.read_exact(&mut payload)).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame of a kind; others are passed over.
    pub(crate) async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.any().await.expect("the connection was closed");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The stream of the next request.
    pub(crate) async fn request(&mut self) -> u32 {
        self.next(HEADERS).await.stream
    }

    /// The code with which the next stream is reset.
    pub(crate) async fn reset_code(&mut self) -> u32 {
        let payload = self.next(RST_STREAM).await.payload;
        u32::from_be_bytes(payload.try_into().unwrap())
    }

    /// Waits until everything sent so far has been acted on.
    pub(crate) async fn settled(&mut self) {
        self.send(PING, 0, 0, b"whatever").await;
        while self.next(PING).await.flags & ACK == 0 {}
    }

    /// Waits until `client` can write no more, of which nothing is read here.
    pub(crate) async fn full(&self, client: &Client) {
        let mut sent = 0;
        while sent != client.connection.info().totals.sent {
            sent = client.connection.info().totals.sent;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) {
        while self.any().await.is_some() {}
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

pub(crate) fn connect(client: &Client, port: u16) -> Pending {
    let dial = Dial { h2c: true, ..Dial::new(TransportKind::Tcp, "127.0.0.1", port) };
    client.ask(|caller| Command::Connect { caller, dial: Box::new(dial) })
}

/// One request at a server.
pub(crate) struct Exchange {
    pub(crate) request: http::Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Exchange {
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The whole content of the request.
    pub(crate) async fn content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        let body = self.request.body_mut();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            content.extend_from_slice(&data);
        }
        content
    }

    /// Begins the response.
    pub(crate) fn begin(&mut self) -> SendStream<Bytes> {
        self.respond.send_response(Response::new(()), false).unwrap()
    }

    /// Responds at once.
    pub(crate) fn answer(&mut self, body: impl Into<Bytes>) {
        self.begin().send_data(body.into(), true).unwrap();
    }
}

pub(crate) fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    trailers
}

/// Sends all of `data` as the windows open; `false` if the stream was reset.
pub(crate) async fn send_all(stream: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(room)) => {
                if stream.send_data(data.split_to(room.min(data.len())), false).is_err() {
                    return false;
                }
            }
            _ => return false,
        }
    }
    stream.send_data(Bytes::new(), true).is_ok()
}

/// A connection to a server that handles each request with `handle`.
pub(crate) async fn served<F, R>(config: Config, handle: F) -> Client
where
    F: Fn(Exchange) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    served_by(config, server::Builder::new(), handle).await
}

/// The same with settings of the server's own.
pub(crate) async fn served_by<F, R>(config: Config, builder: server::Builder, handle: F) -> Client
where
    F: Fn(Exchange) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(config);
    let pending = connect(&client, listener.local_addr().unwrap().port());
    let (socket, _) = within(listener.accept()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    tokio::spawn(async move {
        let mut connection = builder.handshake(socket).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(handle(Exchange { request, respond }));
        }
    });
    assert!(matches!(answer(pending).await, Answer::Ok));
    client
}
