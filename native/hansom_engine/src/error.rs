//! Why something failed.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

/// Why a command failed. Each variant is one documented term above the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The command does not fit the connection's state.
    InvalidState,
    /// The peer closed, or the connection was closed.
    Closed,
    /// Nothing came, or could be sent, in time.
    Timeout,
    /// The name has no address.
    NoSuchName,
    /// The system's error, by its POSIX name in lower case, e.g. `econnrefused`.
    Posix(&'static str),
    /// There is no socket.
    NotConnected,
    /// The connection is not encrypted.
    NotTls,
    /// The peer showed no certificate.
    NoPeerCertificate,
    /// The transport has no such function.
    NotSupported,
    /// The status line is malformed.
    BadRequest,
    /// The status line is longer than 4096 bytes.
    LineTooLong,
    /// What came cannot begin an HTTP response.
    NotHttp,
    /// A chunk's size is malformed.
    InvalidChunkSize,
    /// A chunk's data is not followed by a line end.
    BadChunkEnd,
    /// The response is larger than a configured limit.
    Limit(Limit),
    /// The content coding could not be undone.
    Decompress {
        /// The coding.
        coding: Coding,
        /// Why, as an atom's text, e.g. `data_error` or `too_large`.
        reason: &'static str,
    },
    /// A TLS alert, sent or received.
    Tls {
        /// The alert.
        alert: Alert,
        /// For humans.
        text: String,
    },
    /// An option cannot be honoured: its name, and why for humans.
    Option {
        /// The option.
        name: Cow<'static, str>,
        /// For humans. Empty if the value is sound but nothing it asks for is supported.
        reason: Cow<'static, str>,
    },
    /// What the embedder's own transport failed with, in the embedder's own encoding.
    Foreign(Arc<[u8]>),
    /// Memory was refused.
    OutOfMemory,
    /// The stream was reset, by either side: `{stream_error, Code}` (RFC 9113, section 5.4.2).
    StreamError(H2Code),
    /// The peer announced the end of the connection: `{goaway, Code}` (RFC 9113, section 6.8).
    Goaway(H2Code),
    /// The connection under the exchange is gone: `{closed, Reason}`, an atom's text such as
    /// `tcp_closed`, `ssl_closed`, `normal` or the name of a connection error.
    ClosedBy(&'static str),
    /// The peer allows no more concurrent streams: `max_streams_exceeded`.
    MaxStreamsExceeded,
    /// The header section is larger than the peer accepts: `header_list_too_large`.
    HeaderListTooLarge,
    /// What was to be sent is not allowed in HTTP/2 or HTTP/3: `protocol_error`.
    ProtocolError,
    /// The caller has no stream the command could be about: `no_stream`.
    NoStream,
    /// More than may be waits to be sent: `send_buffer_full`.
    SendBufferFull,
    /// The peer reset the stream under a send that waited for it: `stream_reset`.
    SendReset,
    /// The stream closed under a send that waited for it: `stream_closed`.
    SendClosed,
    /// HTTP/3: the stream was reset: `{stream_reset, Code}` (RFC 9114, section 8.1).
    StreamReset(u64),
    /// HTTP/3: the connection was closed: `{connection_closed, Reason}`, an atom's text.
    ConnectionClosed(&'static str),
    /// HTTP/3: the QUIC connection failed: `{transport_error, Code, Text}`.
    TransportError {
        /// The transport's or the application's error code.
        code: u64,
        /// For humans.
        text: String,
    },
    /// HTTP/3: the server did not take what was sent ahead of the handshake:
    /// `early_data_rejected`.
    EarlyDataRejected,
    /// HTTP/3: a response without a status: `no_status`.
    NoStatus,
}

/// An error code of HTTP/2 (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Code(pub u32);

impl H2Code {
    /// `NO_ERROR`
    pub const NO_ERROR: Self = Self(0);
    /// `PROTOCOL_ERROR`
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// `STREAM_CLOSED`
    pub const STREAM_CLOSED: Self = Self(5);
    /// `CANCEL`
    pub const CANCEL: Self = Self(8);
    /// `ENHANCE_YOUR_CALM`
    pub const ENHANCE_YOUR_CALM: Self = Self(11);

    /// The code's name as an atom's text; `None` is `{unknown, Code}`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 14] = [
            "no_error",
            "protocol_error",
            "internal_error",
            "flow_control_error",
            "settings_timeout",
            "stream_closed",
            "frame_size_error",
            "refused_stream",
            "cancel",
            "compression_error",
            "connect_error",
            "enhance_your_calm",
            "inadequate_security",
            "http_1_1_required",
        ];
        NAMES.get(usize::try_from(self.0).ok()?).copied()
    }
}

/// A limit on what a peer may send, by the name of its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max_header_bytes`
    HeaderBytes,
    /// `max_headers`
    Headers,
    /// `max_interim_responses`
    InterimResponses,
    /// `max_chunk_extension_bytes`
    ChunkExtensionBytes,
    /// `max_trailer_bytes`
    TrailerBytes,
    /// `max_body_bytes`
    BodyBytes,
}

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` or `x-gzip`
    Gzip,
    /// `deflate`, in the zlib format
    Deflate,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

/// A TLS alert by the name OTP gives it, e.g. `unknown_ca`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub &'static str);

impl From<io::Error> for Error {
    /// System errors keep their POSIX name; TLS errors carried inside become alerts.
    fn from(error: io::Error) -> Self {
        crate::transport::classify(error)
    }
}
