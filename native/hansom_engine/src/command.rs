//! Everything a connection can be asked.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Dial;
use crate::headers::HeaderList;
use crate::host::Host;
use crate::transport::{Carrier, SocketOption, TlsClient};

/// What a connection is asked to do. A command with a `caller` is answered exactly once.
pub enum Command<H: Host> {
    /// Dial, from `idle` or `closed`.
    Connect {
        /// Who waits.
        caller: H::Caller,
        /// What to dial.
        dial: Box<Dial>,
    },
    /// Start TLS on the open TCP connection.
    Upgrade {
        /// Who waits.
        caller: H::Caller,
        /// The trust, identity and protocols to use.
        tls: Arc<TlsClient>,
        /// The name or address the certificate must be for.
        server_name: String,
    },
    /// Let the embedder start TLS on the open connection.
    UpgradeCarried {
        /// Who waits.
        caller: H::Caller,
        /// Who takes the socket over.
        carrier: Carrier,
    },
    /// Send a request and answer its status and header fields.
    Request {
        /// Who waits.
        caller: H::Caller,
        /// The request.
        request: Request<H::Payload>,
        /// What applies to this request alone.
        options: RequestOptions,
    },
    /// Send a request and deliver its response as messages.
    RequestAsync {
        /// Who waits for the request to be accepted.
        caller: H::Caller,
        /// The request.
        request: Request<H::Payload>,
        /// What applies to this request alone.
        options: RequestOptions,
        /// Who gets the messages.
        receiver: H::Receiver,
        /// Whether `receiver` becomes the process whose death ends the connection.
        receiver_owns: bool,
        /// Pushed or pulled.
        mode: AsyncMode,
        /// Report a redirect as one message instead of an ordinary response.
        follow_redirect: bool,
    },
    /// Send a request and answer status and header fields; its body is then asked for. Only for
    /// HTTP/3, where others answer a whole response.
    RequestStreaming {
        /// Who waits.
        caller: H::Caller,
        /// The request.
        request: Request<H::Payload>,
        /// What applies to this request alone.
        options: RequestOptions,
    },
    /// Send a request's head; its body follows in pieces.
    SendHeaders {
        /// Who waits.
        caller: H::Caller,
        /// The head; its content is [`Content::Stream`].
        request: Request<H::Payload>,
        /// What applies to this request alone.
        options: RequestOptions,
    },
    /// Send a piece of a request body.
    SendChunk {
        /// Who waits.
        caller: H::Caller,
        /// The bytes of one chunk.
        data: Content<H::Payload>,
    },
    /// End the request body.
    FinishBody {
        /// Who waits.
        caller: H::Caller,
        /// Fields to send after it (RFC 9110, section 6.5); none if empty.
        trailers: HeaderList,
    },
    /// Answer status and header fields of the response to a request sent in pieces.
    StartResponse {
        /// Who waits.
        caller: H::Caller,
    },
    /// Answer the whole (rest of the) response body.
    Body {
        /// Who waits.
        caller: H::Caller,
    },
    /// Answer the next piece of the response body.
    StreamBody {
        /// Who waits.
        caller: H::Caller,
    },
    /// Deliver one more message of a response that is pulled: of the oldest one, among those of
    /// `receiver` if that is given. HTTP/1.1 has only one and does not ask whose it is.
    StreamNext {
        /// Who pulls.
        receiver: Option<H::Receiver>,
    },
    /// Stop delivering messages; the rest of the body is read as a synchronous one.
    StopAsync {
        /// Who waits.
        caller: H::Caller,
    },
    /// Turn a pushed response into a pulled one. Answered `Ok` whatever the state.
    Pause {
        /// Who waits.
        caller: H::Caller,
    },
    /// Turn a pulled response into a pushed one. Answered `Ok` whatever the state.
    Resume {
        /// Who waits.
        caller: H::Caller,
    },
    /// Allow a pushed response to deliver this many more bytes before asking again.
    Grant {
        /// Whose responses: those of every receiver if `None`.
        receiver: Option<H::Receiver>,
        /// Bytes.
        bytes: u64,
    },
    /// Open a stream of the handler's own on an HTTP/2 connection, full duplex. The handler gets a
    /// [`Message::Stream`](crate::Message::Stream) for whatever happens on it.
    OpenStream {
        /// Who waits for [`Answer::Stream`](crate::Answer::Stream).
        caller: H::Caller,
        /// The head; its content is [`Content::Stream`].
        request: Request<H::Payload>,
        /// Who gets the messages.
        handler: H::Receiver,
        /// The window reopens only by [`Command::StreamConsume`], instead of as data is delivered.
        manual: bool,
    },
    /// Send data on a stream of one's own; answered when flow control has let it pass.
    StreamSend {
        /// Who waits.
        caller: H::Caller,
        /// The stream.
        stream: u64,
        /// The bytes, possibly none.
        data: Content<H::Payload>,
        /// Nothing follows.
        end: bool,
        /// How long this and what is sent later may wait, instead of the connection's timeout.
        send_timeout: Option<SendTimeout>,
    },
    /// Send trailers on a stream of one's own, which ends the request.
    StreamTrailers {
        /// Who waits.
        caller: H::Caller,
        /// The stream.
        stream: u64,
        /// The fields.
        trailers: HeaderList,
    },
    /// Reopen the window of a stream whose flow control is manual.
    StreamConsume {
        /// The stream.
        stream: u64,
        /// Bytes the handler is done with.
        bytes: u64,
    },
    /// Reset a stream of one's own. Answered `Ok` whatever has become of it.
    StreamCancel {
        /// Who waits.
        caller: H::Caller,
        /// The stream.
        stream: u64,
        /// The error code, e.g. 8 for `CANCEL`.
        code: u32,
    },
    /// Answer the protocol spoken.
    Protocol {
        /// Who waits.
        caller: H::Caller,
    },
    /// A process that sent requests is dead: its uploads and unread responses on a connection of
    /// many streams are reset.
    ProcessGone {
        /// The dead process.
        process: H::Process,
    },
    /// A receiver of messages is dead: stop its transfer.
    ReceiverGone {
        /// The dead receiver.
        receiver: H::Receiver,
    },
    /// Change options of the open socket.
    SetOptions {
        /// Who waits.
        caller: H::Caller,
        /// The options, in order.
        options: Vec<SocketOption>,
    },
    /// Answer the peer's address.
    PeerName {
        /// Who waits.
        caller: H::Caller,
    },
    /// Answer the local address.
    SockName {
        /// Who waits.
        caller: H::Caller,
    },
    /// Answer the peer's certificate.
    PeerCertificate {
        /// Who waits.
        caller: H::Caller,
    },
    /// Move a QUIC connection to the local address the system chooses now (RFC 9000, section 9).
    Migrate {
        /// Who waits.
        caller: H::Caller,
    },
    /// Write raw bytes past HTTP.
    Send {
        /// Who waits.
        caller: H::Caller,
        /// The bytes.
        data: Content<H::Payload>,
    },
    /// Read raw bytes past HTTP.
    Recv {
        /// Who waits.
        caller: H::Caller,
        /// Exactly so many bytes; 0 is any number.
        length: usize,
        /// How long to wait; `None` is for ever.
        timeout: Option<Duration>,
    },
    /// Answer the header fields of the last response.
    ResponseHeaders {
        /// Who waits.
        caller: H::Caller,
    },
    /// Answer whether the socket of a `connected` connection is sound. With `checkout` the idle
    /// timer restarts and a close by the peer is from here on reported to the next request.
    Probe {
        /// Who waits.
        caller: H::Caller,
        /// The connection is about to be used.
        checkout: bool,
    },
    /// Answer whether the connection may go back to a pool ([`Answer::Reuse`](crate::Answer)).
    Reuse {
        /// Who waits.
        caller: H::Caller,
    },
    /// The connection is idle in a pool: watch for the peer closing it.
    WatchIdle,
    /// Close the socket; the connection may dial again.
    Close {
        /// Who waits.
        caller: H::Caller,
    },
    /// Forget a caller that no longer waits; what it asked for goes on.
    Cancel {
        /// Who waits for the word that nothing more will come.
        caller: H::Caller,
        /// Who is to be forgotten.
        target: H::Caller,
    },
    /// Close for good.
    Shutdown {
        /// Those who were to get more messages are told that they will not.
        tell: bool,
    },
}

/// The caller of a command, taken out of it or, of a reference, as a reference.
macro_rules! caller_of {
    ($command:expr) => {
        match $command {
            Command::Connect { caller, .. }
            | Command::Upgrade { caller, .. }
            | Command::UpgradeCarried { caller, .. }
            | Command::Request { caller, .. }
            | Command::RequestAsync { caller, .. }
            | Command::RequestStreaming { caller, .. }
            | Command::SendHeaders { caller, .. }
            | Command::SendChunk { caller, .. }
            | Command::FinishBody { caller, .. }
            | Command::OpenStream { caller, .. }
            | Command::StreamSend { caller, .. }
            | Command::StreamTrailers { caller, .. }
            | Command::StreamCancel { caller, .. }
            | Command::Protocol { caller }
            | Command::StartResponse { caller }
            | Command::Body { caller }
            | Command::StreamBody { caller }
            | Command::StopAsync { caller }
            | Command::Pause { caller }
            | Command::Resume { caller }
            | Command::SetOptions { caller, .. }
            | Command::PeerName { caller }
            | Command::SockName { caller }
            | Command::PeerCertificate { caller }
            | Command::Migrate { caller }
            | Command::Send { caller, .. }
            | Command::Recv { caller, .. }
            | Command::ResponseHeaders { caller }
            | Command::Probe { caller, .. }
            | Command::Reuse { caller }
            | Command::Close { caller }
            | Command::Cancel { caller, .. } => Some(caller),
            Command::StreamNext { .. }
            | Command::StreamConsume { .. }
            | Command::ProcessGone { .. }
            | Command::Grant { .. }
            | Command::ReceiverGone { .. }
            | Command::WatchIdle
            | Command::Shutdown { .. } => None,
        }
    };
}

impl<H: Host> Command<H> {
    /// The caller that waits for the answer, if there is one.
    pub(crate) fn into_caller(self) -> Option<H::Caller> {
        caller_of!(self)
    }

    /// Whether `target` waits for the answer.
    pub(crate) fn is_from(&self, target: &H::Caller) -> bool {
        caller_of!(self).is_some_and(|caller| H::same_caller(caller, target))
    }

    /// Whether the command is a part of an exchange.
    pub(crate) fn is_of_an_exchange(&self) -> bool {
        matches!(
            self,
            Self::Request { .. }
                | Self::RequestAsync { .. }
                | Self::SendHeaders { .. }
                | Self::SendChunk { .. }
                | Self::FinishBody { .. }
                | Self::StartResponse { .. }
                | Self::Body { .. }
                | Self::StreamBody { .. }
                | Self::OpenStream { .. }
        )
    }

    /// Whether the command begins an exchange or looks at the socket of an idle connection.
    pub(crate) fn needs_open_connection(&self) -> bool {
        matches!(
            self,
            Self::Request { .. }
                | Self::RequestAsync { .. }
                | Self::RequestStreaming { .. }
                | Self::SendHeaders { .. }
                | Self::OpenStream { .. }
                | Self::Probe { .. }
        )
    }
}

/// A request.
pub struct Request<P> {
    /// The method, verbatim.
    pub method: Vec<u8>,
    /// The request target, verbatim.
    pub target: Vec<u8>,
    /// The header fields, in the order and case to be sent.
    pub headers: HeaderList,
    /// The content.
    pub content: Content<P>,
}

/// What follows a request's head, or one piece of it.
pub enum Content<P> {
    /// Nothing.
    Empty,
    /// A few bytes, copied.
    Bytes(Vec<u8>),
    /// Bytes that stay with the embedder.
    Payload(P),
    /// Pieces that follow as commands of their own; only for a request's head.
    Stream,
}

/// What applies to one request alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestOptions {
    /// How long to wait for each read; the outer `None` is the connection's own value, the inner
    /// one for ever.
    pub recv_timeout: Option<Option<Duration>>,
    /// Tell the caller of interim responses.
    pub inform: bool,
    /// Undo the content coding when the whole body is read. Without effect on HTTP/2 and HTTP/3.
    pub auto_decompress: bool,
    /// How long a body may wait for the peer's flow control; `None` is the connection's own value.
    /// For HTTP/2 and HTTP/3.
    pub send_timeout: Option<SendTimeout>,
    /// Deliver the trailer section of an asynchronous response.
    pub trailers: bool,
    /// Deliver interim responses over HTTP/2 and HTTP/3 as over HTTP/1.1, where `inform` alone is
    /// without effect on them.
    pub interim: bool,
}

/// How long a body may wait for the peer's flow control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendTimeout {
    /// So long.
    After(Duration),
    /// For ever.
    Infinite,
    /// Not at all: what is sent is kept, and refused once more than 1 MiB waits.
    Never,
}

/// How the messages of an asynchronous response are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncMode {
    /// As they come.
    Push,
    /// One for each [`Command::StreamNext`].
    Once,
}
