//! HTTP/2 (RFC 9113) over the `h2` crate: many exchanges at once, each with its own user.
//!
//! Everything happens under the connection's lock: commands open streams and add to what is to be
//! sent, the task polls the protocol library, and the streams that it woke are looked at, each
//! alone. Data is taken in at once but the windows are reopened only as it is handed on, so that a
//! slow reader holds no more than its stream's window and never holds up the others.

mod commands;
mod deadlines;
mod drive;
mod ending;
mod frames;
mod head;
mod inbox;
mod keepalive;
mod outbox;
mod receive;
mod session;
mod stream;
mod wake;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::task::Context;

use bytes::Bytes;
use slab::Slab;

use crate::config::Config;
use crate::error::Error;
use crate::host::Host;
use crate::port::Port;
use crate::transport::Link;
use deadlines::Deadlines;
use keepalive::KeepAlive;
use outbox::Sent;
pub(crate) use session::Session;
use stream::{Receive, Role, Stream};
use wake::Ready;
use wire::Line;

/// One connection. Without a session it is over.
pub(crate) struct Http2<H: Host> {
    session: Option<Session>,
    streams: Slab<Stream<H>>,
    /// Streams the peer has no room for yet, oldest first.
    queued: VecDeque<usize>,
    /// Streams whose messages are pulled, oldest first.
    pulled: Vec<usize>,
    /// Streams that are sent and read by commands of a process, oldest first.
    stepped: Vec<usize>,
    /// There was one such stream at some time.
    was_stepped: bool,
    /// Streams that belong to handlers, by their identifiers.
    handled: HashMap<u32, usize>,
    /// The stream that may be in the protocol library's own queue for a free place.
    newest: Option<usize>,
    ready: Ready,
    deadlines: Deadlines,
    keepalive: KeepAlive,
    /// Bytes received for which no window was reopened, of all streams.
    held: usize,
    /// The window meant to be free for all streams together, and what it is set to now.
    base_window: usize,
    window: usize,
    /// Bytes of content handed to the protocol library.
    handed: u64,
    /// No stream is opened any more, and the connection ends with those that are open.
    draining: bool,
    /// The last stream of the GOAWAY that was acted on.
    goaway: Option<u32>,
}

/// What a stream needs of its connection.
struct Side<'a> {
    line: &'a Line,
    tls: bool,
    held: &'a mut usize,
    handed: &'a mut u64,
}

/// What is to become of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes on.
    Open,
    /// Its last word is to be said.
    Over,
    /// Everything is said.
    Gone,
    /// There is nobody to say anything to.
    Unwanted,
}

impl Side<'_> {
    fn error(&self, error: &h2::Error) -> Error {
        ending::stream_error(error, self.line, self.tls)
    }
}

impl<H: Host> Http2<H> {
    pub(crate) fn new(mut session: Session, config: &Config) -> Self {
        let keepalive = KeepAlive::new(session.connection.ping_pong(), &config.http2);
        let ready = Ready::new();
        // Whatever came while the session was opened has woken nobody here.
        ready.connection().wake_by_ref();
        Self {
            session: Some(session),
            streams: Slab::new(),
            queued: VecDeque::new(),
            pulled: Vec::new(),
            stepped: Vec::new(),
            was_stepped: false,
            handled: HashMap::new(),
            newest: None,
            ready,
            deadlines: Deadlines::default(),
            keepalive,
            held: 0,
            base_window: config.http2.connection_window.max(65_535) as usize,
            window: config.http2.connection_window.max(65_535) as usize,
            handed: 0,
            draining: false,
            goaway: None,
        }
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.session.is_none()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_tls)
    }

    /// Bytes received and not yet asked for, and not yet sent.
    pub(crate) fn buffered(&self) -> (usize, usize) {
        let waiting = self.streams.iter().map(|(_, stream)| stream.outbox.len()).sum();
        (self.held, waiting)
    }

    fn with_link<R>(&self, look: impl FnOnce(Option<&Link>) -> R) -> R {
        match &self.session {
            Some(session) => session.line.with_link(look),
            None => look(None),
        }
    }

    /// The last stream the peer may have acted on.
    fn last_stream(&self) -> u32 {
        self.session
            .as_ref()
            .and_then(|session| session.line.peer().goaway)
            .map_or(u32::MAX >> 1, |(last, _)| last)
    }

    /// Does whatever can be done on one stream, and ends it if that was the last.
    fn work(&mut self, key: usize, port: &mut Port<'_, H>) {
        let Some(session) = &self.session else { return };
        let Some(stream) = self.streams.get_mut(key) else { return };
        let mut side = Side {
            line: &session.line,
            tls: session.tls,
            held: &mut self.held,
            handed: &mut self.handed,
        };
        let fate = stream.work(&mut side, port);
        match fate {
            Fate::Open => {
                if let Some(at) = stream.timers.next()
                    && stream.timers.entered.is_none_or(|entered| at < entered)
                {
                    stream.timers.entered = Some(at);
                    self.deadlines.enter(at, key);
                }
            }
            Fate::Over => {
                let last = self.last_stream();
                if let Some(stream) = self.remove(key) {
                    stream.conclude(last, port);
                }
            }
            Fate::Gone => drop(self.remove(key)),
            Fate::Unwanted => self.cancel(key, h2::Reason::CANCEL),
        }
    }

    /// Resets a stream and forgets it without a word.
    fn cancel(&mut self, key: usize, reason: h2::Reason) {
        if let Some(mut stream) = self.remove(key) {
            stream.reset(reason);
        }
    }

    /// Resets a stream and tells everyone why.
    fn give_up(&mut self, key: usize, error: &Error, port: &mut Port<'_, H>) {
        let last = self.last_stream();
        if let Some(mut stream) = self.remove(key) {
            stream.reset(h2::Reason::CANCEL);
            stream.fail(error, last, port);
        }
    }

    fn remove(&mut self, key: usize) -> Option<Stream<H>> {
        let stream = self.streams.try_remove(key)?;
        self.held -= stream.unreleased;
        let without = |keys: &mut Vec<usize>| keys.retain(|other| *other != key);
        match &stream.role {
            Role::Whole(_) => {}
            Role::Messages(_) => without(&mut self.pulled),
            Role::Steps(_) => without(&mut self.stepped),
            Role::Handled(_) => drop(self.handled.remove(&stream.id)),
        }
        if matches!(stream.receive, Receive::Queued(_)) {
            self.queued.retain(|other| *other != key);
        }
        if self.newest == Some(key) {
            self.newest = None;
        }
        // The protocol library learns of it as the stream is dropped.
        self.ready.connection().wake_by_ref();
        Some(stream)
    }
}

impl<H: Host> Stream<H> {
    /// Sends what may be sent now; `true` if anything was.
    fn send_more(&mut self, side: &mut Side<'_>, port: &mut Port<'_, H>) -> bool {
        if self.outbox.is_idle() || self.outcome.as_ref().is_some_and(Result::is_err) {
            self.set_send_deadline(false, false);
            return false;
        }
        let Some(send) = &mut self.send else { return false };
        let before = self.outbox.len();
        let mut acks = Vec::new();
        let cx = &mut Context::from_waker(&self.waker);
        let sent = self.outbox.send(send, cx, &mut acks, side.handed);
        for caller in acks {
            port.sink.reply(caller, crate::event::Answer::Ok);
        }
        match sent {
            Sent::All => self.set_send_deadline(false, true),
            Sent::Blocked { progress } => self.set_send_deadline(true, progress),
            Sent::Refused => {
                // Why, is learned where the response is read.
                self.set_send_deadline(false, false);
                if matches!(self.outcome, Some(Ok(()))) {
                    for caller in self.outbox.abandon() {
                        port.sink.reply(caller, crate::event::Answer::Error(Error::SendReset));
                    }
                }
            }
        }
        before != self.outbox.len() || sent == Sent::All
    }

    /// A stream that can be handed to the protocol library with its head.
    fn opened(
        &mut self,
        id: u32,
        response: h2::client::ResponseFuture,
        send: h2::SendStream<Bytes>,
    ) {
        self.id = id;
        self.receive = Receive::Head(response);
        self.send = Some(send);
        self.timers.receive_deadline = None;
    }
}
