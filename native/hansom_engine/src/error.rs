//! Why something failed.

use std::borrow::Cow;
use std::io;

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
    /// Memory was refused.
    OutOfMemory,
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
