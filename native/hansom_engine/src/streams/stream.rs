//! One stream: what is sent on it, what came, and who gets it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::Side;
use super::inbox::{Inbox, PIECE};
use super::outbox::Outbox;
use super::session::Session;
use crate::command::SendTimeout;
use crate::error::Error;
use crate::flow::Pace;
use crate::headers::HeaderList;
use crate::host::Host;

/// A stream, from the wish for it to the last word about it.
pub(super) struct Stream<H: Host, S: Session> {
    pub(super) role: Role<H>,
    pub(super) receive: Receive<S>,
    pub(super) send: Option<S::Outgoing>,
    /// The head of a request that may have to be sent again.
    pub(super) again: Option<Box<S::Head>>,
    pub(super) outbox: Outbox<H>,
    pub(super) inbox: Inbox<H::Buffer>,
    pub(super) waker: Waker,
    /// The identifier, once there is one.
    pub(super) id: u64,
    /// A response to HEAD.
    pub(super) head_only: bool,
    pub(super) response: Option<Head>,
    /// Interim responses so far.
    pub(super) interim: usize,
    /// Those nobody was told of yet: the request was not accepted, or nobody waited.
    pub(super) untold: Vec<(u16, HeaderList)>,
    pub(super) trailers: Option<HeaderList>,
    /// How the response ended, once it has.
    pub(super) outcome: Option<Result<(), Error>>,
    /// It is counted among those that are open.
    pub(super) counted: bool,
    /// The peer takes no more of the request.
    pub(super) refused: bool,
    /// There may be more, but its reader has enough for now.
    pub(super) stalled: bool,
    /// A handler has been told that the response is complete.
    pub(super) end_told: bool,
    /// Bytes received for which the window was not yet reopened.
    pub(super) unreleased: usize,
    pub(super) wants: Wants,
    pub(super) timers: Timers,
}

/// What the request asked to be told besides the response.
#[derive(Clone, Copy)]
pub(super) struct Wants {
    pub(super) interim: bool,
    pub(super) trailers: bool,
}

/// The head of a final response.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Arc<HeaderList>,
    pub(super) length: Option<u64>,
    /// The receiver of messages has been told.
    pub(super) told: bool,
}

/// How far the response has come.
///
/// ```text
///   Queued ─► Open ─► Over        Open ── sent early, and lost ──► Queued
/// ```
pub(super) enum Receive<S: Session> {
    /// The peer allows no more streams for now.
    Queued(Box<S::Head>),
    Open(S::Incoming),
    Over,
}

/// Who gets what.
pub(super) enum Role<H: Host> {
    /// The whole response is one answer.
    Whole(H::Caller),
    /// The response is delivered as messages.
    Messages(Messages<H>),
    /// The request is sent, and its response read, by commands of one process.
    Steps(Steps<H>),
    /// Both directions belong to a handler.
    Handled(Handled<H>),
}

/// A response delivered as messages.
pub(super) struct Messages<H: Host> {
    pub(super) receiver: H::Receiver,
    /// Told when the request is on its way.
    pub(super) accept: Option<H::Caller>,
    pub(super) pace: Pace,
}

/// A request sent in pieces.
pub(super) struct Steps<H: Host> {
    pub(super) process: H::Process,
    /// Told when the stream is open.
    pub(super) accept: Option<H::Caller>,
    pub(super) stage: Stage<H>,
    /// Wishes for the body that came before it was their turn.
    pub(super) held: VecDeque<(Wish, H::Caller)>,
}

/// How far the process has come.
pub(super) enum Stage<H: Host> {
    /// It sends the request.
    Sending,
    /// It waits for the head; nobody does once the caller has given up.
    Head(Option<H::Caller>),
    /// It has the head and wants nothing for now.
    Idle,
    /// It waits for a part of the body.
    Reading(Wish, H::Caller),
}

/// What is wanted of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Whole,
    Piece,
}

/// A stream of a handler's own.
pub(super) struct Handled<H: Host> {
    pub(super) handler: H::Receiver,
    /// Told when the stream is open.
    pub(super) accept: Option<H::Caller>,
    pub(super) pace: Pace,
    /// The window reopens only when the handler says so.
    pub(super) manual: bool,
}

/// When what waits is given up.
pub(super) struct Timers {
    pub(super) queued: Option<Duration>,
    pub(super) receive: Option<Duration>,
    pub(super) receive_deadline: Option<Instant>,
    pub(super) send: SendTimeout,
    pub(super) send_deadline: Option<Instant>,
    /// The one entry among the connection's deadlines that counts.
    pub(super) entered: Option<Instant>,
}

impl<H: Host> Role<H> {
    /// Whether there is a way to send content after the head.
    pub(super) fn sends_in_pieces(&self) -> bool {
        match self {
            Self::Whole(_) | Self::Messages(_) => false,
            Self::Steps(steps) => matches!(steps.stage, Stage::Sending),
            Self::Handled(_) => true,
        }
    }

    /// Who waits to hear whether the request was accepted, or for its answer.
    pub(super) fn into_caller(self) -> Option<H::Caller> {
        match self {
            Self::Whole(caller) => Some(caller),
            Self::Messages(messages) => messages.accept,
            Self::Steps(Steps { stage: Stage::Head(caller), .. }) => caller,
            Self::Steps(steps) => steps.accept,
            Self::Handled(handled) => handled.accept,
        }
    }
}

impl<S: Session> Side<'_, S> {
    /// Reopens the window of a stream for bytes that were received.
    pub(super) fn release(
        &mut self,
        unreleased: &mut usize,
        receive: &mut Receive<S>,
        bytes: usize,
    ) {
        let bytes = bytes.min(*unreleased);
        *unreleased -= bytes;
        *self.held -= bytes;
        if let Receive::Open(incoming) = receive {
            S::release(incoming, bytes);
        }
    }
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        [self.receive_deadline, self.send_deadline].into_iter().flatten().min()
    }
}

impl<H: Host, S: Session> Stream<H, S> {
    /// Tells the peer that nobody is interested any more, if it does not know yet.
    pub(super) fn reset(&mut self, code: u64) {
        let complete = matches!(self.outcome, Some(Ok(())));
        if let Receive::Open(incoming) = &mut self.receive
            && !complete
        {
            S::stop(incoming, code);
        }
        if let Some(send) = &mut self.send
            && !(complete && self.outbox.is_complete())
        {
            S::reset(send, code);
        }
        self.send = None;
        self.receive = Receive::Over;
    }

    /// Reopens the window for bytes that were received.
    pub(super) fn release(&mut self, bytes: usize, side: &mut Side<'_, S>) {
        side.release(&mut self.unreleased, &mut self.receive, bytes);
    }

    /// Whether the response may have no content (RFC 9110, section 6.4.1).
    pub(super) fn is_contentless(&self) -> bool {
        self.head_only
            || self.response.as_ref().is_some_and(|head| matches!(head.status, 204 | 304))
    }

    /// Whether the request is on its way, its end included.
    pub(super) fn is_sent(&self) -> bool {
        self.outbox.is_complete() && self.send.as_ref().is_none_or(S::is_flushed)
    }

    /// Whether the stream counts among those the peer allows at a time: until both sides have come to
    /// their end or one has reset it (RFC 9113, section 5.1.2), whoever may read from it still.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.receive, Receive::Open(_)) && !(self.is_complete() && self.is_sent())
    }

    /// Whether the peer may be taking the rest of the request still. If it wants no more it resets the
    /// stream (RFC 9113, section 8.1; RFC 9114, section 4.1).
    pub(super) fn is_sending(&self) -> bool {
        self.send.is_some()
            && !self.refused
            && self.timers.send != SendTimeout::Never
            && !self.is_sent()
    }

    /// The same of a peer whose response is complete already.
    pub(super) fn sends_still(&self) -> bool {
        self.is_complete() && self.is_sending()
    }

    /// Whether a request whose response is delivered as messages counts as accepted although not all
    /// of it is sent. As long as the peer may take the rest it does not, so that the call can fail
    /// still; unless the response has to be read for the peer to go on.
    pub(super) fn is_accepted_unsent(&self) -> bool {
        self.response.is_some()
            && match self.outcome {
                None => !self.is_sending() || self.is_full(),
                Some(Ok(())) => !self.is_sending(),
                Some(Err(_)) => false,
            }
    }

    /// The largest number of bytes that may have to be copied in one go.
    pub(super) fn to_be_copied(&self) -> usize {
        let wants_whole = match &self.role {
            Role::Steps(Steps { stage, held, .. }) => {
                matches!(stage, Stage::Reading(Wish::Whole, _))
                    || held.iter().any(|(wish, _)| *wish == Wish::Whole)
            }
            Role::Whole(_) | Role::Messages(_) | Role::Handled(_) => false,
        };
        let read = if wants_whole { self.inbox.len() } else { 0 };
        self.outbox.len().max(read)
    }

    /// Whether as much of the response is here as is kept for a reader who wants nothing yet.
    pub(super) fn is_full(&self) -> bool {
        self.inbox.len() >= PIECE
    }

    /// Whether more of the response is to be taken in.
    pub(super) fn wants_more(&self) -> bool {
        if S::TAKES_ALL || !self.is_full() {
            return true;
        }
        match &self.role {
            Role::Whole(_) => true,
            Role::Messages(messages) => messages.pace.allows(),
            Role::Steps(steps) => matches!(steps.stage, Stage::Reading(..)),
            Role::Handled(handled) => handled.manual || handled.pace.allows(),
        }
    }

    /// Whether someone waits for the peer, so that it may take too long.
    fn waits_for_peer(&self) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        if matches!(self.receive, Receive::Queued(_)) {
            return true;
        }
        match &self.role {
            Role::Whole(_) => self.is_sent(),
            Role::Messages(messages) => {
                let waits = self.response.is_none() || messages.pace.allows();
                self.is_sent() && waits
            }
            Role::Steps(steps) => {
                matches!(steps.stage, Stage::Head(Some(_)) | Stage::Reading(..))
                    && self.outbox.is_idle()
            }
            Role::Handled(_) => false,
        }
    }

    /// Sets the receive deadline anew if anything happened, and lifts it while nobody waits.
    pub(super) fn set_receive_deadline(&mut self, progress: bool) {
        let queued = matches!(self.receive, Receive::Queued(_));
        let timeout = if queued { self.timers.queued } else { self.timers.receive };
        match timeout {
            Some(timeout) if self.waits_for_peer() => {
                if progress || self.timers.receive_deadline.is_none() {
                    self.timers.receive_deadline = Instant::now().checked_add(timeout);
                }
            }
            _ => self.timers.receive_deadline = None,
        }
    }

    /// Sets the deadline of a send that is blocked, and lifts it when it is not.
    pub(super) fn set_send_deadline(&mut self, blocked: bool, progress: bool) {
        match self.timers.send {
            SendTimeout::After(timeout) if blocked => {
                if progress || self.timers.send_deadline.is_none() {
                    self.timers.send_deadline = Instant::now().checked_add(timeout);
                }
            }
            _ => self.timers.send_deadline = None,
        }
    }
}
