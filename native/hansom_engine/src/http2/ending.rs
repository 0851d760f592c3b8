//! How streams and connections end, and what that is called.

use h2::Reason;

use super::Http2;
use super::stream::{Handled, Messages, Role, Stage, Steps, Stream};
use super::wire::Line;
use crate::error::{Error, H2Code};
use crate::event::{Answer, Message, StreamEvent};
use crate::host::Host;
use crate::port::Port;

/// Why a stream failed.
pub(super) fn stream_error(error: &h2::Error, line: &Line, tls: bool) -> Error {
    match error.reason() {
        Some(reason) if error.is_reset() => Error::StreamError(H2Code(reason.into())),
        _ => connection_error(error, line, tls),
    }
}

/// Why a connection failed: the peer's GOAWAY, the name of an error of its that we found, or what
/// became of the link.
pub(super) fn connection_error(error: &h2::Error, line: &Line, tls: bool) -> Error {
    if let Some((_, code)) = line.peer().goaway {
        return Error::Goaway(H2Code(code));
    }
    match error.reason() {
        Some(reason) if error.is_remote() => Error::Goaway(H2Code(reason.into())),
        Some(reason) if reason != Reason::NO_ERROR => {
            Error::ClosedBy(H2Code(reason.into()).name().unwrap_or("protocol_error"))
        }
        _ => lost(line, tls),
    }
}

/// Why a request could not be sent.
pub(super) fn request_error(error: &h2::Error, line: &Line, tls: bool) -> Error {
    if error.is_io() || error.is_go_away() {
        connection_error(error, line, tls)
    } else {
        Error::ProtocolError
    }
}

/// Why a connection without a link was lost.
pub(super) fn lost(line: &Line, tls: bool) -> Error {
    if let Some((_, code)) = line.peer().goaway {
        return Error::Goaway(H2Code(code));
    }
    Error::ClosedBy(match line.failure() {
        Some(Error::Posix(name)) => name,
        Some(Error::Tls { alert, .. }) => alert.0,
        _ if tls => "ssl_closed",
        _ => "tcp_closed",
    })
}

/// What a sender is told whose stream failed with `error`.
pub(super) fn send_error(error: &Error) -> Error {
    match error {
        Error::StreamError(_) => Error::SendReset,
        other => other.clone(),
    }
}

/// Why a handler's stream is over.
pub(super) fn handled_end<H: Host>(error: &Error, last: u32) -> StreamEvent<H> {
    match error {
        Error::StreamError(code) => StreamEvent::Reset(code.0.into()),
        Error::Goaway(code) => StreamEvent::Goaway { last: last.into(), code: code.0.into() },
        Error::ClosedBy(reason) => StreamEvent::Closed(reason),
        _ => StreamEvent::Reset(H2Code::CANCEL.0.into()),
    }
}

impl<H: Host> Http2<H> {
    /// What receivers and handlers are to be told, should the connection be dropped.
    pub(crate) fn last_messages(&self) -> Vec<(H::Receiver, Message<H>)> {
        const DROPPED: &str = "normal";
        let last = |(_, stream): (usize, &Stream<H>)| match &stream.role {
            Role::Messages(Messages { receiver, accept: None, .. }) => {
                Some((receiver.clone(), Message::Error(Error::ClosedBy(DROPPED))))
            }
            Role::Handled(Handled { handler, accept: None, .. }) => {
                let event = StreamEvent::Closed(DROPPED);
                Some((handler.clone(), Message::Stream { id: stream.id.into(), event }))
            }
            _ => None,
        };
        self.streams.iter().filter_map(last).collect()
    }
}

impl<H: Host> Stream<H> {
    /// Tells everyone who waits for this stream that it failed. `last` is the last stream the peer
    /// may have acted on.
    pub(super) fn fail(mut self, error: &Error, last: u32, port: &mut Port<'_, H>) {
        for caller in self.outbox.abandon() {
            port.sink.reply(caller, Answer::Error(send_error(error)));
        }
        match self.role {
            Role::Whole(caller) => port.sink.reply(caller, Answer::Error(error.clone())),
            Role::Messages(messages) => match messages.accept {
                // An error of the call means that there will be no messages.
                Some(caller) => port.sink.reply(caller, Answer::Error(error.clone())),
                None => {
                    let _ = port.sink.send(&messages.receiver, Message::Error(error.clone()));
                }
            },
            Role::Steps(steps) => {
                let waiting = match steps.stage {
                    Stage::Head(caller) => caller,
                    Stage::Reading(_, caller) => Some(caller),
                    Stage::Sending | Stage::Idle => None,
                };
                let held = steps.held.into_iter().map(|(_, caller)| caller);
                for caller in steps.accept.into_iter().chain(waiting).chain(held) {
                    port.sink.reply(caller, Answer::Error(error.clone()));
                }
            }
            Role::Handled(Handled { accept: Some(caller), .. }) => {
                port.sink.reply(caller, Answer::Error(error.clone()));
            }
            Role::Handled(handled) => {
                let event = handled_end(error, last);
                let message = Message::Stream { id: self.id.into(), event };
                let _ = port.sink.send(&handled.handler, message);
            }
        }
    }

    /// Forgets a caller that waits. `None` if none is this one, else whether the stream is of use
    /// to anybody still.
    pub(super) fn forget(&mut self, target: &H::Caller) -> Option<bool> {
        if self.outbox.forget(target) {
            return Some(true);
        }
        if let Role::Messages(Messages { accept, .. })
        | Role::Steps(Steps { accept, .. })
        | Role::Handled(Handled { accept, .. }) = &mut self.role
            && let Some(caller) = accept.take_if(|caller| H::same_caller(caller, target))
        {
            H::forget(caller);
            return Some(true);
        }
        match &mut self.role {
            Role::Whole(caller) => H::same_caller(caller, target).then_some(false),
            Role::Messages(_) | Role::Handled(_) => None,
            Role::Steps(steps) => {
                if let Some(at) =
                    steps.held.iter().position(|(_, caller)| H::same_caller(caller, target))
                {
                    H::forget(steps.held.remove(at)?.1);
                    return Some(true);
                }
                let (caller, after) = match std::mem::replace(&mut steps.stage, Stage::Idle) {
                    Stage::Head(Some(caller)) => (caller, Stage::Head(None)),
                    Stage::Reading(wish, caller) => {
                        if !H::same_caller(&caller, target) {
                            steps.stage = Stage::Reading(wish, caller);
                            return None;
                        }
                        (caller, Stage::Idle)
                    }
                    other => {
                        steps.stage = other;
                        return None;
                    }
                };
                if !H::same_caller(&caller, target) {
                    steps.stage = Stage::Head(Some(caller));
                    return None;
                }
                H::forget(caller);
                steps.stage = after;
                Some(true)
            }
        }
    }
}
