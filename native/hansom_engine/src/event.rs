//! Everything a connection can say.

use std::sync::Arc;

use crate::error::Error;
use crate::headers::HeaderList;
use crate::host::Host;
use crate::transport::Address;

/// The answer to a command.
pub enum Answer<H: Host> {
    /// It is done.
    Ok,
    /// Status and header fields of a response whose body is still to be asked for.
    Response {
        /// The status code.
        status: u16,
        /// The header fields.
        headers: Arc<HeaderList>,
    },
    /// The whole (rest of the) body, or one piece of it.
    Data(H::Buffer),
    /// There are no more pieces.
    Done,
    /// The peer closed in the middle of the body; this is what came before.
    Truncated(H::Buffer),
    /// The header fields of the last response, if there was one.
    Headers(Option<Arc<HeaderList>>),
    /// An address.
    Address(Address),
    /// A certificate (DER).
    Certificate(Vec<u8>),
    /// Whether the connection may be used for another exchange.
    Reuse {
        /// The last exchange, or the configuration, demands that the connection be closed.
        should_close: bool,
        /// The connection is between exchanges and its socket sound.
        ready: bool,
    },
    /// A whole response: `{ok, Status, Headers, Body}`.
    Full {
        /// The status code.
        status: u16,
        /// The header fields.
        headers: Arc<HeaderList>,
        /// The content.
        body: H::Buffer,
    },
    /// The protocol spoken; HTTP/1.1 before the first dial.
    Protocol(HttpProtocol),
    /// A stream of its own was opened ([`Command::OpenStream`](crate::Command::OpenStream)).
    Stream {
        /// Its identifier.
        id: u64,
    },
    /// The embedder moves the bytes of this connection: only its transport can answer.
    AskTransport,
    /// It failed.
    Error(Error),
}

/// A message of an asynchronous response.
pub enum Message<H: Host> {
    /// An interim response.
    Informational {
        /// The status code.
        status: u16,
        /// The reason phrase.
        reason: Vec<u8>,
        /// The header fields.
        headers: HeaderList,
    },
    /// The status line.
    Status {
        /// The status code.
        status: u16,
        /// The reason phrase.
        reason: Vec<u8>,
    },
    /// The header fields.
    Headers(Arc<HeaderList>),
    /// A piece of the body.
    Data(H::Buffer),
    /// The trailer section, for requests that asked for it; [`Message::Done`] follows.
    Trailers(HeaderList),
    /// The end.
    Done,
    /// Something happened on a stream of the receiver's own.
    Stream {
        /// The stream.
        id: u64,
        /// What happened.
        event: StreamEvent<H>,
    },
    /// The end, by a redirect to be followed with the same method.
    Redirect {
        /// The `Location` field.
        location: Vec<u8>,
        /// The header fields.
        headers: Arc<HeaderList>,
    },
    /// The end, by a redirect to be followed with GET.
    SeeOther {
        /// The `Location` field.
        location: Vec<u8>,
        /// The header fields.
        headers: Arc<HeaderList>,
    },
    /// The end, by a failure.
    Error(Error),
}

/// What happens on a stream opened with [`Command::OpenStream`](crate::Command::OpenStream). After
/// the end of the response, a reset, [`StreamEvent::Goaway`] or [`StreamEvent::Closed`] nothing
/// more is said.
pub enum StreamEvent<H: Host> {
    /// An interim response.
    Informational {
        /// The status code.
        status: u16,
        /// The header fields.
        headers: HeaderList,
    },
    /// The final response.
    Response {
        /// The status code.
        status: u16,
        /// The header fields.
        headers: Arc<HeaderList>,
    },
    /// A piece of the content.
    Data {
        /// The bytes; none if only the end is to be told.
        data: H::Buffer,
        /// The response ends here.
        end: bool,
    },
    /// The trailer section, with which the response ends.
    Trailers(HeaderList),
    /// The stream was reset, by either side; the code as a number.
    Reset(u64),
    /// The peer announced the end of the connection.
    Goaway {
        /// The last stream the peer may have acted on.
        last: u64,
        /// The error code as a number.
        code: u64,
    },
    /// The connection is gone; the reason as an atom's text.
    Closed(&'static str),
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HttpProtocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// HTTP/3 (RFC 9114).
    Http3,
}

/// A change the connection's own process has to act on. It is delivered before the answer or
/// message that announces the same change.
pub enum Notice<H: Host> {
    /// The socket is gone; the connection may dial again.
    Closed,
    /// The exchange is over and the connection, now closed, is of no further use.
    Finished,
    /// The exchange of a pooled connection is over and it may be used again: it is the pool's.
    Released,
    /// This receiver is now the process whose death ends the connection.
    Owner(H::Receiver),
    /// A pushed response has used up its allowance: look at its receiver, then
    /// [`Command::Grant`](crate::Command::Grant) more.
    Flow(H::Receiver),
    /// A final response with an `Alt-Svc` field (RFC 7838).
    AltSvc(Arc<HeaderList>),
}

/// The state of a connection, as its users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not yet dialled.
    Idle,
    /// Dialling.
    Connecting,
    /// Between exchanges.
    Connected,
    /// Sending a request body in pieces.
    StreamingBody,
    /// A response is being awaited or read.
    Receiving,
    /// A response is being pushed as messages.
    Streaming,
    /// A response is being pulled, message by message.
    StreamingOnce,
    /// Without a socket.
    Closed,
}
