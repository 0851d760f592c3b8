//! Many exchanges at once on one connection, each with its own user: what HTTP/2 and HTTP/3 have in
//! common. The protocol itself is a [`Session`].
//!
//! Everything happens under the connection's lock: commands open streams and add to what is to be
//! sent, the task polls the protocol, and the streams that were woken are looked at, each alone. A
//! slow reader holds no more than its stream's window and never holds up the others.

mod commands;
mod deadlines;
mod drive;
mod ending;
pub(crate) mod head;
mod inbox;
mod opening;
mod outbox;
mod receive;
mod session;
mod stream;
mod wake;

use std::collections::{HashMap, VecDeque};
use std::task::Context;

use slab::Slab;

use crate::error::Error;
use crate::event::Answer;
use crate::host::Host;
use crate::port::Port;
use deadlines::Deadlines;
use outbox::Sent;
pub(crate) use session::{Came, Flush, Goaway, Opened, Progress, Refused, Room, Session};
use stream::{Receive, Role, Stream};
use wake::Ready;

/// With more streams than this a turn takes far longer than a few microseconds.
const CROWD: usize = 8;

/// One connection. Without a session it is over.
pub(crate) struct Streams<H: Host, S: Session> {
    session: Option<S>,
    streams: Slab<Stream<H, S>>,
    /// Streams the peer has no room for yet, oldest first.
    queued: VecDeque<usize>,
    /// Streams whose requests may not be sent before the handshake is complete, oldest first.
    postponed: VecDeque<usize>,
    /// Streams whose messages are pulled, oldest first.
    pulled: Vec<usize>,
    /// Streams that are sent and read by commands of a process, oldest first.
    stepped: Vec<usize>,
    /// There was one such stream at some time.
    was_stepped: bool,
    /// Streams that belong to handlers, by their identifiers.
    handled: HashMap<u64, usize>,
    /// The stream opened last.
    newest: Option<usize>,
    ready: Ready,
    deadlines: Deadlines,
    /// Streams that count for the peer.
    open: usize,
    /// Bytes received and not yet handed on, of all streams.
    held: usize,
    /// Streams of which more may have come than their readers want for now.
    stalled: usize,
    /// No stream is opened any more, and the connection ends with those that are open.
    draining: bool,
    /// The peer has gone; what is left are readers of complete responses.
    lost: bool,
    /// The first stream that was refused by the GOAWAY that was acted on.
    goaway: Option<u64>,
}

/// What a stream needs of its connection.
struct Side<'a, S> {
    session: &'a mut S,
    held: &'a mut usize,
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

impl<H: Host, S: Session> Streams<H, S> {
    pub(crate) fn new(session: S) -> Self {
        let ready = Ready::new(S::WOKEN_FROM_OUTSIDE);
        // Whatever came while the session was opened has woken nobody here.
        ready.note_connection();
        Self {
            session: Some(session),
            streams: Slab::new(),
            queued: VecDeque::new(),
            postponed: VecDeque::new(),
            pulled: Vec::new(),
            stepped: Vec::new(),
            was_stepped: false,
            handled: HashMap::new(),
            newest: None,
            ready,
            deadlines: Deadlines::default(),
            open: 0,
            held: 0,
            stalled: 0,
            draining: false,
            lost: false,
            goaway: None,
        }
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.session.is_none()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.session.as_ref().is_some_and(S::is_tls)
    }

    pub(crate) fn is_carried(&self) -> bool {
        self.session.as_ref().is_some_and(S::is_carried)
    }

    /// Whether there are many streams.
    pub(crate) fn is_crowded(&self) -> bool {
        self.streams.len() > CROWD
    }

    /// Bytes received and not yet asked for, and not yet sent.
    pub(crate) fn buffered(&self) -> (usize, usize) {
        let waiting = self.streams.iter().map(|(_, stream)| stream.outbox.len()).sum();
        (self.held, waiting)
    }

    /// The last stream the peer may have acted on.
    fn last_stream(&self) -> u64 {
        self.session.as_ref().map_or(u64::MAX, S::last_stream)
    }

    /// Does whatever can be done on one stream, and ends it if that was the last.
    fn work(&mut self, key: usize, port: &mut Port<'_, H>) {
        let Some(session) = &mut self.session else { return };
        let Some(stream) = self.streams.get_mut(key) else { return };
        self.stalled -= usize::from(stream.stalled);
        let fate = stream.work(&mut Side { session, held: &mut self.held }, port);
        self.stalled += usize::from(stream.stalled);
        if stream.counted && !stream.is_open() {
            stream.counted = false;
            self.open -= 1;
            // There is room for one that waits.
            self.ready.note_connection();
        }
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
            Fate::Unwanted => self.cancel(key, S::CANCEL),
        }
    }

    /// Resets a stream and forgets it without a word.
    fn cancel(&mut self, key: usize, code: u64) {
        if let Some(mut stream) = self.remove(key) {
            stream.reset(code);
        }
    }

    /// Resets a stream and tells everyone why.
    fn give_up(&mut self, key: usize, error: &Error, port: &mut Port<'_, H>) {
        let last = self.last_stream();
        if let Some(mut stream) = self.remove(key) {
            stream.reset(S::CANCEL);
            stream.fail(error, last, port);
        }
    }

    fn remove(&mut self, key: usize) -> Option<Stream<H, S>> {
        let stream = self.streams.try_remove(key)?;
        self.held -= stream.unreleased;
        self.stalled -= usize::from(stream.stalled);
        self.open -= usize::from(stream.counted);
        let without = |keys: &mut Vec<usize>| keys.retain(|other| *other != key);
        match &stream.role {
            Role::Whole(_) => {}
            Role::Messages(_) => without(&mut self.pulled),
            Role::Steps(_) => without(&mut self.stepped),
            Role::Handled(_) => drop(self.handled.remove(&stream.id)),
        }
        if matches!(stream.receive, Receive::Queued(_)) {
            self.queued.retain(|other| *other != key);
            self.postponed.retain(|other| *other != key);
        }
        if self.newest == Some(key) {
            self.newest = None;
        }
        // The protocol learns of it as the stream is dropped.
        self.ready.note_connection();
        Some(stream)
    }
}

impl<H: Host, S: Session> Stream<H, S> {
    /// Sends what may be sent now; `true` if anything was.
    fn send_more(&mut self, side: &mut Side<'_, S>, port: &mut Port<'_, H>) -> bool {
        let failed = self.outcome.as_ref().is_some_and(Result::is_err);
        let Some(send) = self.send.as_mut().filter(|_| !failed) else {
            self.set_send_deadline(false, false);
            return false;
        };
        if self.outbox.is_idle() && S::is_flushed(send) {
            self.set_send_deadline(false, false);
            return false;
        }
        let mut acks = Vec::new();
        let cx = &mut Context::from_waker(&self.waker);
        let sent = self.outbox.send(side.session, send, cx, &mut acks);
        for caller in acks {
            port.sink.reply(caller, Answer::Ok);
        }
        match sent {
            Sent::All => {
                self.set_send_deadline(false, true);
                true
            }
            Sent::Blocked { progress } => {
                self.set_send_deadline(true, progress);
                progress
            }
            Sent::Refused => {
                self.set_send_deadline(false, false);
                self.refused = true;
                false
            }
        }
    }

    /// The peer takes no more of the request. Why, is learned where the response is read; if there
    /// is nothing wrong with that, the senders alone are told.
    fn stop_sending(&mut self, port: &mut Port<'_, H>) {
        if std::mem::take(&mut self.refused) && self.outcome.as_ref().is_none_or(Result::is_ok) {
            self.send = None;
            for caller in self.outbox.abandon() {
                port.sink.reply(caller, Answer::Error(Error::SendReset));
            }
        }
    }

    /// A stream that can be handed to the protocol with its head.
    fn opened(&mut self, id: u64, incoming: S::Incoming, outgoing: S::Outgoing) {
        self.id = id;
        self.receive = Receive::Open(incoming);
        self.send = Some(outgoing);
        self.counted = true;
        self.timers.receive_deadline = None;
    }
}
