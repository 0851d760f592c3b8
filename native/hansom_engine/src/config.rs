//! What a connection is made with. Every default of the engine lives here.

use std::sync::Arc;
use std::time::Duration;

use crate::command::SendTimeout;
use crate::transport::{Carrier, Descriptor, SocketOption, TlsClient};

/// What to dial. Durations that are `None` are infinite.
#[derive(Clone)]
pub struct Dial {
    /// What carries the bytes.
    pub transport: TransportKind,
    /// The name, address literal (IPv6 with or without brackets) or, for a Unix socket, the path.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Options of the socket, in order.
    pub socket_options: Vec<SocketOption>,
    /// TLS, when `transport` asks for it.
    pub tls: Option<Arc<TlsClient>>,
    /// The name or address the certificate must be for.
    pub server_name: String,
    /// Who moves the bytes, when `transport` asks for it.
    pub carrier: Option<Carrier>,
    /// The socket, when `transport` asks for it.
    pub descriptor: Option<Descriptor>,
    /// From name look-up to the end of the TLS handshake. Default 8 s. The first exchange of
    /// HTTP/2 settings may take as long again.
    pub connect_timeout: Option<Duration>,
    /// Speak HTTP/2 over plain TCP or a Unix domain socket without asking (RFC 9113, section 3.3).
    /// Default false. With TLS the protocol is what the handshake agreed on.
    pub h2c: bool,
    /// Whether HTTP/3 is tried, for which TLS must be asked for. Default [`QuicDial::Never`].
    pub quic: QuicDial,
    /// TLS over QUIC, if that is to differ from `tls`.
    pub quic_tls: Option<Arc<TlsClient>>,
}

/// What a dial makes of QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuicDial {
    /// It is not tried.
    Never,
    /// It is tried first. TCP joins as soon as it has failed; or when half of the time there is,
    /// and at most 2 s, is over. Then the first to be ready wins.
    First,
    /// It is tried together with TCP, and the first to be ready wins.
    Race,
}

/// How a connection behaves. Durations that are `None` are infinite.
#[derive(Clone)]
pub struct Config {
    /// For each read of a response, but not over HTTP/3, where QUIC notices a silent peer; also for a
    /// request that waits for its turn. Default 5 s.
    pub recv_timeout: Option<Duration>,
    /// For a connection between exchanges. Default infinite.
    pub idle_timeout: Option<Duration>,
    /// For each write, as the socket option `send_timeout`. Default infinite.
    pub send_timeout: Option<Duration>,
    /// Connections of a pool go back to it after an exchange instead of staying with their owner.
    pub pooled: bool,
    /// Close after the first exchange.
    pub no_reuse: bool,
    /// Report a body cut short by the peer as complete, as hackney does. Default false.
    pub truncated_body_ok: bool,
    /// Fail a response that is complete, but was not yet pulled to its end, when its connection is
    /// lost or ended by a GOAWAY, as hackney does. Default false. HTTP/2 and HTTP/3.
    pub drop_unpulled: bool,
    /// The `Host` field of requests without one.
    pub host_header: Vec<u8>,
    /// The `User-Agent` field of requests without one.
    pub user_agent: Vec<u8>,
    /// Report `Alt-Svc` fields.
    pub alt_svc: bool,
    /// Limits on what the peer may send.
    pub limits: Limits,
    /// How many bytes a pushed response may deliver before its receiver is looked at. A message
    /// counts for 256 bytes more than it brings. Default 8 MiB.
    pub push_allowance: u64,
    /// Deliver the trailer section of every asynchronous response, as
    /// [`RequestOptions::trailers`](crate::RequestOptions::trailers) does for one. Default false.
    pub trailers: bool,
    /// HTTP/2.
    pub http2: Http2Config,
    /// HTTP/3.
    pub http3: Http3Config,
}

/// The least a stream's window can be. Without any a peer could send nothing, and with a few bytes
/// next to nothing. This is what goes into a DATA frame of HTTP/2 of the usual size.
pub(crate) const LEAST_STREAM_WINDOW: u32 = 16 << 10;

/// How an HTTP/2 connection behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Config {
    /// Bytes of all streams together that the peer may send ahead of their readers. Data kept for
    /// slow readers is not counted, so that they do not hold up the others. Default 16 MiB; at
    /// least 65 535, at most 2^31 - 1.
    pub connection_window: u32,
    /// Bytes of one stream that the peer may send ahead of its reader, which is also what a stream
    /// with a slow reader takes in memory. Default 4 MiB; at least 16 KiB, which less counts as, and
    /// at most 2^31 - 1.
    pub stream_window: u32,
    /// What becomes of a request beyond the streams the peer allows at a time. Default: it waits.
    pub max_streams: MaxStreams,
    /// For each body, how long it may wait for the peer's flow control. Default 30 s.
    pub send_timeout: SendTimeout,
    /// Send a PING when nothing came for so long. Default never.
    pub ping_interval: Option<Duration>,
    /// How long its answer may take before the connection is given up. Default 20 s.
    pub ping_timeout: Duration,
    /// After a GOAWAY let the streams that the peer still serves come to their end, instead of
    /// failing them as hackney does. Default false.
    pub drain_on_goaway: bool,
}

/// How an HTTP/3 connection behaves. Durations that are `None` are infinite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http3Config {
    /// Bytes of one stream that the peer may send ahead of its reader, which is also what a stream
    /// with a slow reader takes in memory. All streams together have no window of their own, so
    /// that slow readers do not hold up the others. Default 4 MiB; at least 16 KiB, which less counts
    /// as, and at most 2^31 - 1.
    pub stream_window: u32,
    /// Without a packet from the peer for so long the connection is lost. The peer may ask for
    /// less. Default 30 s (RFC 9308, section 3.2).
    pub idle_timeout: Option<Duration>,
    /// Send a PING when nothing was sent or received for so long, so that neither side, nor a
    /// device between them, finds the connection idle. Default never.
    pub keep_alive_interval: Option<Duration>,
    /// Whether a resumed connection may send requests with safe methods before the handshake is
    /// complete (0-RTT). Whoever records them can replay them (RFC 8470). Default false.
    pub early_data: bool,
    /// What becomes of a request beyond the streams the peer allows at a time. Default: it waits.
    pub max_streams: MaxStreams,
    /// For each body, how long it may wait for the peer's flow control. Default 30 s.
    pub send_timeout: SendTimeout,
}

impl Default for Http3Config {
    fn default() -> Self {
        Self {
            stream_window: 4 << 20,
            idle_timeout: Some(Duration::from_secs(30)),
            keep_alive_interval: None,
            early_data: false,
            max_streams: MaxStreams::Wait,
            send_timeout: SendTimeout::After(Duration::from_secs(30)),
        }
    }
}

/// What becomes of a request beyond the streams the peer allows at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStreams {
    /// It waits for its turn, at most for its receive timeout.
    Wait,
    /// It fails at once.
    Fail,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            connection_window: 16 << 20,
            stream_window: 4 << 20,
            max_streams: MaxStreams::Wait,
            send_timeout: SendTimeout::After(Duration::from_secs(30)),
            ping_interval: None,
            ping_timeout: Duration::from_secs(20),
            drain_on_goaway: false,
        }
    }
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// A Unix domain socket.
    Unix,
    /// The embedder, which makes the connection itself: [`Dial::carrier`].
    Carried,
    /// TLS of the embedder's, over TCP that is dialled here: [`Dial::carrier`].
    CarriedTls,
    /// A socket that is open already: [`Dial::descriptor`].
    Adopted,
}

/// Limits on what a peer may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header block. Default 1 MiB.
    pub header_bytes: usize,
    /// Fields of one header block. Default 10 000.
    pub headers: usize,
    /// Interim responses before the final one. Default 100.
    pub interim_responses: usize,
    /// Bytes of the extensions of one chunk. Default 16 KiB.
    pub chunk_extension_bytes: usize,
    /// Bytes of a trailer section. Default 1 MiB.
    pub trailer_bytes: usize,
    /// Bytes of a body that is read as a whole, as it comes and as it is handed over. Default: no
    /// limit.
    pub body_bytes: u64,
    /// Bytes of a decompressed body. Default 1 GiB.
    pub decompressed_bytes: u64,
    /// Times a body may grow by decompression, looked at beyond 1 MiB of output. Default 500.
    pub decompress_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 1 << 20,
            headers: 10_000,
            interim_responses: 100,
            chunk_extension_bytes: 16 << 10,
            trailer_bytes: 1 << 20,
            body_bytes: u64::MAX,
            decompressed_bytes: 1 << 30,
            decompress_ratio: 500,
        }
    }
}

impl Dial {
    /// `host` and `port` with every default.
    #[must_use]
    pub fn new(transport: TransportKind, host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        Self {
            transport,
            server_name: host.clone(),
            host,
            port,
            socket_options: Vec::new(),
            tls: None,
            carrier: None,
            descriptor: None,
            connect_timeout: Some(Duration::from_secs(8)),
            h2c: false,
            quic: QuicDial::Never,
            quic_tls: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            recv_timeout: Some(Duration::from_secs(5)),
            idle_timeout: None,
            send_timeout: None,
            pooled: false,
            no_reuse: false,
            truncated_body_ok: false,
            drop_unpulled: false,
            host_header: Vec::new(),
            user_agent: b"hansom".to_vec(),
            alt_svc: false,
            limits: Limits::default(),
            push_allowance: 8 << 20,
            trailers: false,
            http2: Http2Config::default(),
            http3: Http3Config::default(),
        }
    }
}
