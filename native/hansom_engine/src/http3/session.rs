//! From an open QUIC connection to one of HTTP/3, and what that needs besides its requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use quinn::{
    ConnectionError, RecvStream, SendStream, StoppedError, VarInt, WriteError, ZeroRttAccepted,
};

use super::code::{Code, Violation};
use super::control::{Control, greeting};
use super::peer::PeerStreams;
use super::stream::{CHUNKS, SectionLimits};
use crate::config::Config;
use crate::error::Error;
use crate::streams::Progress;
use crate::streams::head::Origin;
use crate::transport::Quic;

type Awaited<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(super) type Pair = (SendStream, RecvStream);

/// A connection over which requests can be sent.
pub(crate) struct Session {
    /// Why the connection is over.
    pub(super) failure: Option<Error>,
    pub(super) origin: Origin,
    pub(super) control: Control,
    pub(super) limits: SectionLimits,
    /// A stream that was opened and not yet used.
    pub(super) spare: Option<Pair>,
    /// The next stream, for which the peer has no room yet.
    pub(super) opening: Option<Awaited<Result<Pair, ConnectionError>>>,
    /// Whether the server takes what is sent before the handshake is complete.
    pub(super) early: Option<ZeroRttAccepted>,
    /// Bytes that may still be read in this turn.
    pub(super) turn: usize,
    pub(super) received: usize,
    pub(super) sent: usize,
    pub(super) scratch: [Bytes; CHUNKS],
    /// Our control stream, kept because its end would be that of the connection.
    greeted: Option<SendStream>,
    greeting: Option<Awaited<Result<SendStream, ConnectionError>>>,
    peers: PeerStreams,
    accepting: Awaited<Result<RecvStream, ConnectionError>>,
    closed: Awaited<ConnectionError>,
    /// Tells whether any of these is worth a look.
    alarm: Arc<Alarm>,
    waker: Waker,
    /// After everything that belongs to it.
    pub(super) quic: Quic,
}

/// Remembers that it was woken, and wakes the connection's task.
struct Alarm {
    raised: AtomicBool,
    outer: std::sync::OnceLock<Waker>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        if let Some(outer) = self.outer.get() {
            outer.wake_by_ref();
        }
    }
}

impl Session {
    /// Sends our settings, which may have to wait for the peer to allow it: the caller bounds it. The
    /// peer's are not waited for: requests are allowed before they come (RFC 9114, section 7.2.4.2).
    ///
    /// # Errors
    /// Why the connection was lost.
    pub(crate) async fn open(mut quic: Quic, config: &Config, port: u16) -> Result<Self, Error> {
        let early = quic.take_early();
        let limits = SectionLimits {
            head: config.limits.header_bytes,
            trailers: config.limits.trailer_bytes,
        };
        let greeted = greet(quic.connection().clone(), limits).await;
        let greeted = greeted.map_err(|reason| quic.loss(&reason))?;
        let alarm = Arc::new(Alarm { raised: AtomicBool::new(true), outer: Default::default() });
        Ok(Self {
            failure: None,
            origin: Origin::new(&config.host_header, port, true),
            control: Control::new(),
            limits,
            spare: None,
            opening: None,
            early,
            turn: 0,
            received: 0,
            sent: 0,
            scratch: Default::default(),
            greeted: Some(greeted),
            greeting: None,
            peers: PeerStreams::default(),
            accepting: accept(quic.connection()),
            closed: closed(quic.connection()),
            waker: Waker::from(alarm.clone()),
            alarm,
            quic,
        })
    }

    /// Moves everything but the requests.
    pub(super) fn poll_all(&mut self, cx: &Context<'_>) -> Progress {
        let _ = self.alarm.outer.get_or_init(|| cx.waker().clone());
        if self.failure.is_none() && self.alarm.raised.swap(false, Ordering::AcqRel) {
            match self.look() {
                Ok(false) => {}
                Ok(true) => return Progress::Rejected,
                Err(violation) => self.give_up(violation),
            }
        }
        self.failure.clone().map_or(Progress::Open, Progress::Over)
    }

    /// `true` if what was sent early is lost.
    fn look(&mut self) -> Result<bool, Violation> {
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        if let Poll::Ready(reason) = self.closed.as_mut().poll(cx) {
            self.failure = Some(self.loss(&reason));
            return Ok(false);
        }
        if let Some(early) = &mut self.early
            && let Poll::Ready(accepted) = Pin::new(early).poll(cx)
        {
            self.early = None;
            // Requests wait for this that could not be sent early.
            self.alarm.wake_by_ref();
            // The handshake may have been over when the connection was first used.
            if !accepted && self.greeted.as_ref().is_some_and(is_lost) {
                self.spare = None;
                self.opening = None;
                self.greeted = None;
                let again = greet(self.quic.connection().clone(), self.limits);
                self.greeting = Some(Box::pin(again));
                return Ok(true);
            }
        }
        if let Some(greeting) = &mut self.greeting
            && let Poll::Ready(greeted) = greeting.as_mut().poll(cx)
        {
            self.greeting = None;
            // If it failed, the connection is lost.
            self.greeted = greeted.ok();
        }
        while let Poll::Ready(accepted) = self.accepting.as_mut().poll(cx) {
            // If it failed, the connection is lost.
            let Ok(stream) = accepted else { break };
            self.peers.add(stream);
            self.accepting = accept(self.quic.connection());
        }
        self.peers.poll(&mut self.control, cx)?;
        Ok(false)
    }

    /// Ends the connection for a violation by the peer.
    pub(super) fn give_up(&mut self, violation: Violation) {
        if self.failure.is_none() {
            let code = VarInt::from_u32(violation.code.0);
            self.quic.connection().close(code, violation.text.as_bytes());
            self.failure = Some(violation.into());
            self.alarm.wake_by_ref();
        }
    }

    /// Ends the connection in order.
    pub(super) fn finish(&mut self) {
        if self.failure.is_none() {
            self.quic.connection().close(VarInt::from_u32(Code::NO_ERROR.0), b"");
            self.failure = Some(Error::ConnectionClosed("normal"));
        }
    }

    /// Why the connection is lost.
    pub(super) fn loss(&self, reason: &ConnectionError) -> Error {
        match (&self.failure, self.quic.loss(reason)) {
            (Some(failure), _) => failure.clone(),
            (None, Error::Closed) => Error::ConnectionClosed("normal"),
            (None, error) => error,
        }
    }
}

async fn greet(
    connection: quinn::Connection,
    limits: SectionLimits,
) -> Result<SendStream, ConnectionError> {
    loop {
        let mut stream = connection.open_uni().await?;
        let bytes = Bytes::from(greeting(limits.head));
        match stream.write_chunk(bytes).await {
            Ok(()) => return Ok(stream),
            // Opened before the end of the handshake, and written to after it.
            Err(WriteError::ZeroRttRejected) => {}
            Err(_) => {
                return Err(connection.close_reason().unwrap_or(ConnectionError::LocallyClosed));
            }
        }
    }
}

/// Whether a stream was opened before the end of a handshake in which the server did not take what
/// was sent early.
fn is_lost(stream: &SendStream) -> bool {
    let stopped = std::pin::pin!(stream.stopped());
    let poll = stopped.poll(&mut Context::from_waker(Waker::noop()));
    matches!(poll, Poll::Ready(Err(StoppedError::ZeroRttRejected)))
}

fn accept(connection: &quinn::Connection) -> Awaited<Result<RecvStream, ConnectionError>> {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_uni().await })
}

fn closed(connection: &quinn::Connection) -> Awaited<ConnectionError> {
    let connection = connection.clone();
    Box::pin(async move { connection.closed().await })
}
