//! A peer whose every byte is in the test's hands.

use std::net::UdpSocket;
use std::sync::{Arc, LazyLock};

use hansom_engine::transport::{TlsClient, TlsOptions};
use hansom_engine::{Answer, Command, Config, Dial, QuicDial, TransportKind};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig,
    VarInt,
};

use crate::certificates::{Authority, config_for, plain_config};
use crate::host::{Client, Pending, answer, describe, within};

pub(crate) const DATA: u64 = 0x0;
pub(crate) const HEADERS: u64 = 0x1;
pub(crate) const SETTINGS: u64 = 0x4;
pub(crate) const GOAWAY: u64 = 0x7;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("root"));

/// A server configuration with the names `a.test` and `early.test`.
pub(crate) fn server_config(transport: TransportConfig) -> ServerConfig {
    let identity = AUTHORITY.issue(&["a.test", "early.test"]);
    let mut tls = config_for(&identity, &[&rustls::version::TLS13]);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.max_early_data_size = u32::MAX;
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    config
}

pub(crate) fn endpoint(config: ServerConfig) -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime)).unwrap()
}

/// The same for TLS over TCP.
pub(crate) fn tcp_config() -> rustls::ServerConfig {
    plain_config(&AUTHORITY.issue(&["a.test"]))
}

/// Options under which that server is trusted; sessions are resumed among connections that share
/// them.
pub(crate) fn trust() -> Arc<TlsClient> {
    TlsClient::lazy(AUTHORITY.trusted())
}

/// The same with sessions that no other test has: they belong to the options.
pub(crate) fn trust_within(depth: u32) -> Arc<TlsClient> {
    TlsClient::lazy(TlsOptions { depth: Some(depth), ..AUTHORITY.trusted() })
}

pub(crate) fn dial(endpoint: &Endpoint, tls: Arc<TlsClient>) -> Box<Dial> {
    Box::new(target(endpoint.local_addr().unwrap().port(), tls))
}

/// What to dial to reach that server at this port.
pub(crate) fn target(port: u16, tls: Arc<TlsClient>) -> Dial {
    Dial {
        server_name: "a.test".into(),
        tls: Some(tls),
        quic: QuicDial::First,
        connect_timeout: Some(std::time::Duration::from_secs(20)),
        ..Dial::new(TransportKind::Tls, "127.0.0.1", port)
    }
}

pub(crate) fn connect(client: &Client, endpoint: &Endpoint) -> Pending {
    let dial = dial(endpoint, trust());
    client.ask(|caller| Command::Connect { caller, dial })
}

pub(crate) async fn accept(endpoint: &Endpoint) -> quinn::Connection {
    within(async { endpoint.accept().await.unwrap().await.unwrap() }).await
}

/// A peer that has sent its settings.
pub(crate) struct Raw {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) control: SendStream,
}

impl Raw {
    pub(crate) async fn connected(config: Config) -> (Client, Self) {
        Self::connected_to(config, TransportConfig::default(), &[]).await
    }

    /// The same with settings of the test.
    pub(crate) async fn connected_to(
        config: Config,
        transport: TransportConfig,
        settings: &[u8],
    ) -> (Client, Self) {
        let (client, endpoint, connection) = Self::greeted(config, transport).await;
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&[0]).await.unwrap();
        control.write_all(&frame(SETTINGS, settings)).await.unwrap();
        (client, Self { endpoint, connection, control })
    }

    /// The same before it has sent anything.
    pub(crate) async fn greeted(
        config: Config,
        transport: TransportConfig,
    ) -> (Client, Endpoint, quinn::Connection) {
        let endpoint = endpoint(server_config(transport));
        let client = Client::new(config);
        let pending = connect(&client, &endpoint);
        let connection = accept(&endpoint).await;
        let answer = answer(pending).await;
        assert!(matches!(answer, Answer::Ok), "{}", describe(&answer));
        (client, endpoint, connection)
    }

    /// The next request.
    pub(crate) async fn request(&self) -> Exchange {
        let (send, recv) = within(self.connection.accept_bi()).await.unwrap();
        Exchange { send, recv }
    }

    /// Sends bytes on the control stream.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        within(self.control.write_all(bytes)).await.unwrap();
    }

    /// The code and the text with which the client closes.
    pub(crate) async fn closed(&self) -> (u64, String) {
        match within(self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("{other}"),
        }
    }
}

/// One request.
pub(crate) struct Exchange {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Exchange {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.send.write_all(bytes)).await.unwrap();
    }

    /// The head of a response.
    pub(crate) async fn respond(&mut self, status: &str, fields: &[(&str, &str)]) {
        self.write(&head(status, fields)).await;
    }

    pub(crate) async fn data(&mut self, data: &[u8]) {
        self.write(&frame(DATA, data)).await;
    }

    pub(crate) fn end(&mut self) {
        self.send.finish().unwrap();
    }

    /// A whole response.
    pub(crate) async fn answer(&mut self, body: &[u8]) {
        self.respond("200", &[]).await;
        self.data(body).await;
        self.end();
    }

    pub(crate) fn reset(&mut self, code: u32) {
        self.send.reset(VarInt::from_u32(code)).unwrap();
    }

    /// The code with which the client gives up the response.
    pub(crate) async fn stop_code(&self) -> u64 {
        within(self.send.stopped()).await.unwrap().expect("the response was read").into_inner()
    }

    /// The bytes of the whole request, or the code with which it was aborted.
    pub(crate) async fn content(&mut self) -> Result<Vec<u8>, u64> {
        match within(self.recv.read_to_end(16 << 20)).await {
            Ok(bytes) => Ok(bytes),
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => {
                Err(code.into_inner())
            }
            Err(other) => panic!("{other}"),
        }
    }
}

pub(crate) fn varint(value: usize, out: &mut Vec<u8>) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        _ => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
    }
}

pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    varint(kind as usize, &mut frame);
    varint(payload.len(), &mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// A header section, all of it literal.
pub(crate) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    fn string(pattern: u8, prefix: u32, text: &str, out: &mut Vec<u8>) {
        let most = (1 << prefix) - 1;
        if text.len() < most {
            out.push(pattern | text.len() as u8);
        } else {
            out.push(pattern | most as u8);
            let mut rest = text.len() - most;
            while rest >= 0x80 {
                out.push(0x80 | (rest & 0x7f) as u8);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
        out.extend_from_slice(text.as_bytes());
    }
    let mut section = vec![0, 0];
    for (name, value) in fields {
        string(0x20, 3, name, &mut section);
        string(0, 7, value, &mut section);
    }
    section
}

/// A HEADERS frame.
pub(crate) fn head(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[(":status", status)], fields].concat();
    frame(HEADERS, &section(&fields))
}
