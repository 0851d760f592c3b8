//! What exchanges side by side ask of the protocol under them.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::command::{Command, Request, SendTimeout};
use crate::config::{Config, MaxStreams};
use crate::error::Error;
use crate::event::StreamEvent;
use crate::headers::HeaderList;
use crate::host::Host;
use crate::port::Port;

/// A connection of one protocol. Every method returns without waiting; what it waits for wakes the
/// waker it was given.
pub(crate) trait Session: Sized + Send + 'static {
    /// A request's head, checked and ready to be sent.
    type Head: Send;
    /// The receiving half of an open stream. Dropping it tells the peer, if it does not know, that
    /// nobody listens.
    type Incoming: Send;
    /// The sending half. Dropping it before the end was sent aborts the request.
    type Outgoing: Send;

    /// Whether handlers may have streams of their own.
    const HANDLERS: bool;
    /// Whether a request may be sent as a whole and its response be read in steps.
    const STREAMS_RESPONSES: bool;
    /// Whether data is to be taken in as it comes, windows being reopened by [`Self::release`];
    /// otherwise it stays where it is until it is wanted.
    const TAKES_ALL: bool;
    /// Whether wakers are woken by other threads than the one that holds the connection's lock.
    const WOKEN_FROM_OUTSIDE: bool;
    /// The code of a stream nobody is interested in any more.
    const CANCEL: u64;

    /// What becomes of requests beyond the streams the peer allows.
    fn max_streams(config: &Config) -> MaxStreams;
    /// How long the peer may be silent while someone waits for its response, unless the request says
    /// otherwise.
    fn receive_timeout(config: &Config) -> Option<Duration>;
    /// How long content may wait for the peer's flow control.
    fn send_timeout(config: &Config) -> SendTimeout;

    /// Checks a request and makes its head ready.
    ///
    /// # Errors
    /// [`Error::ProtocolError`] for what the protocol does not allow, [`Error::HeaderListTooLarge`]
    /// for what the peer does not take.
    fn head<P>(&self, request: &Request<P>) -> Result<Self::Head, Error>;
    /// Whether a head says that the response has no content, whatever it says itself.
    fn expects_no_content(head: &Self::Head) -> bool;
    /// A head to be kept until it is known that the peer will take what is sent now, so that the
    /// request can be sent again.
    fn keep(&self, head: &Self::Head) -> Option<Self::Head>;

    /// Whether a request may be sent now. If not, it has to wait for the end of the handshake, which
    /// wakes the connection.
    fn may_send(&self, _: &Self::Head) -> bool {
        true
    }

    /// Whether one more stream can be opened besides the `open` ones.
    fn poll_room(&mut self, open: usize, cx: &mut Context<'_>) -> Room;
    /// Bytes of content a new stream may certainly take without waiting.
    fn content_room(&self) -> u64;
    /// Opens a stream, for which there is room.
    ///
    /// # Errors
    /// Why the request cannot be sent.
    fn open(&mut self, head: Self::Head, bodyless: bool) -> Result<Opened<Self>, Error>;

    /// Begins a turn in which up to `turn` bytes may be read; 0 is for threads that must not be
    /// kept.
    fn begin_turn(&mut self, turn: usize, cx: &Context<'_>);
    /// Whether everything was read that may be read in this turn.
    fn turn_is_over(&self) -> bool;
    /// Moves the connection; why it is over, if it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Progress;
    /// Ends a turn: what it led to is written.
    ///
    /// # Errors
    /// Why the connection is over.
    fn end_turn(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Whether a thread that must not be kept may do what is to be done.
    fn allows_inline(&self) -> bool;
    /// Something came from the peer.
    fn heard(&mut self, cx: &mut Context<'_>);
    /// The last stream the peer may have acted on.
    fn last_stream(&self) -> u64;
    /// The peer's announcement that the connection will end.
    fn goaway(&self, config: &Config) -> Option<Goaway>;
    /// Gives the peer as much room as is meant to be free: `held` bytes wait here, `stalled`
    /// streams have a reader who wants nothing more for now.
    fn set_window(&mut self, held: usize, stalled: usize, connection: &Waker);
    /// When something of the connection's own is to be done.
    fn deadline(&self) -> Option<Instant>;
    /// Does that; why the connection is over, if it is.
    fn expire(&mut self, now: Instant) -> Option<Error>;

    /// Takes in one thing.
    fn poll_receive(
        &mut self,
        incoming: &mut Self::Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Came, Error>>;
    /// Reopens the window for bytes that were received.
    fn release(incoming: &mut Self::Incoming, bytes: usize);
    /// Nothing more is wanted of a response.
    fn stop(incoming: &mut Self::Incoming, code: u64);

    /// Whether everything handed over is on its way.
    fn is_flushed(outgoing: &Self::Outgoing) -> bool;
    /// Moves what was handed over on its way.
    fn flush(&mut self, outgoing: &mut Self::Outgoing, cx: &mut Context<'_>) -> Flush;
    /// How many bytes may be handed over, of `wanted`, after a flush.
    fn poll_capacity(
        &mut self,
        outgoing: &mut Self::Outgoing,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Refused>>;
    /// Hands over data for which there is capacity; `end` says that nothing follows.
    fn send(
        &mut self,
        outgoing: &mut Self::Outgoing,
        data: Bytes,
        end: bool,
    ) -> Result<(), Refused>;
    /// Hands over a trailer section, with which the request ends.
    fn send_trailers(outgoing: &mut Self::Outgoing, trailers: HeaderMap) -> Result<(), Refused>;
    /// Aborts a request.
    fn reset(outgoing: &mut Self::Outgoing, code: u64);

    /// A violation by the peer, of one stream.
    fn malformed() -> Error;
    /// The end of the connection by our side, in order.
    fn closed_normally() -> Error;
    /// The code with which a stream is reset that failed with `error`.
    fn code_of(error: &Error) -> u64;
    /// What a sender is told whose stream failed with `error`.
    fn send_error(error: &Error) -> Error;
    /// What a handler is told whose stream failed with `error`; `last` is the last stream the peer
    /// may have acted on.
    fn handled_end<H: Host>(error: &Error, last: u64) -> StreamEvent<H>;

    /// Whether the connection is sound.
    ///
    /// # Errors
    /// Why it is not.
    fn check(&self) -> Result<(), Error>;
    /// Why a connection is over of which [`Self::check`] says that it is not sound.
    fn unsound(&self) -> Error;
    /// Answers a question about the connection, or refuses what does not fit.
    fn ask<H: Host>(&self, command: Command<H>, port: &mut Port<'_, H>);
    /// Whether the connection is encrypted.
    fn is_tls(&self) -> bool;
    /// Whether the embedder moves the bytes.
    fn is_carried(&self) -> bool {
        false
    }
    /// Bytes received and sent since the last call.
    fn take_counts(&mut self) -> (usize, usize);
    /// Says goodbye, as far as that needs no waiting, and closes.
    fn close(&mut self);
}

/// A stream that was just opened.
pub(crate) struct Opened<S: Session> {
    pub(crate) id: u64,
    pub(crate) incoming: S::Incoming,
    pub(crate) outgoing: S::Outgoing,
    /// Identifiers are running out: a new connection has to take over.
    pub(crate) is_last: bool,
}

/// One thing that came on a stream.
pub(crate) enum Came {
    /// An interim response.
    Interim { status: u16, headers: HeaderList },
    /// The final response; `length` is what it says of its content.
    Head { status: u16, headers: HeaderList, length: Option<u64>, ended: bool },
    /// Content.
    Data { data: Bytes, ended: bool },
    /// The end, with the trailer section if there is one.
    End(Option<HeaderList>),
    /// Nothing to be told.
    Nothing,
}

/// Whether one more stream can be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Yes,
    /// The waker will be woken when it is worth another look.
    Later,
    /// The stream opened last has to move first.
    AfterNewest,
    /// The connection is about to end.
    Over,
}

/// How far the connection has come.
pub(crate) enum Progress {
    Open,
    /// What was sent early was lost: streams opened with a head that was kept are to be opened
    /// again.
    Rejected,
    Over(Error),
}

/// The peer's announcement that the connection will end.
pub(crate) struct Goaway {
    /// Streams from this one on were not acted on.
    pub(crate) refused_from: u64,
    /// What they are told, or all if the others are not waited for.
    pub(crate) error: Error,
    /// Streams that the peer still serves may come to their end.
    pub(crate) drain: bool,
}

/// Whether everything handed over is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Done,
    /// Flow control is in the way; something may have been sent before.
    Blocked {
        progress: bool,
    },
    /// The stream takes nothing more.
    Refused,
}

/// The stream takes nothing more; why, is learned where the response is read.
#[derive(Debug)]
pub(crate) struct Refused;
