//! How streams end, and who is told.

use super::Streams;
use super::session::Session;
use super::stream::{Handled, Messages, Role, Stage, Steps, Stream};
use crate::error::Error;
use crate::event::{Answer, Message};
use crate::host::Host;
use crate::port::Port;

impl<H: Host, S: Session> Streams<H, S> {
    /// What receivers and handlers are to be told, should the connection be dropped.
    pub(crate) fn last_messages(&self) -> Vec<(H::Receiver, Message<H>)> {
        let last = |(_, stream): (usize, &Stream<H, S>)| match &stream.role {
            Role::Messages(Messages { receiver, accept: None, .. }) => {
                Some((receiver.clone(), Message::Error(S::closed_normally())))
            }
            Role::Handled(Handled { handler, accept: None, .. }) => {
                let event = S::handled_end(&S::closed_normally(), 0);
                Some((handler.clone(), Message::Stream { id: stream.id, event }))
            }
            _ => None,
        };
        self.streams.iter().filter_map(last).collect()
    }
}

impl<H: Host, S: Session> Stream<H, S> {
    /// Tells everyone who waits for this stream that it failed, and a process that sends or reads it
    /// step by step and does not wait, by its next step. `last` is the last stream the peer
    /// may have acted on.
    pub(super) fn fail(mut self, error: &Error, last: u64, port: &mut Port<'_, H>) {
        let senders = self.outbox.abandon();
        let mut told = !senders.is_empty();
        for caller in senders {
            port.sink.reply(caller, Answer::Error(S::send_error(error)));
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
                    told = true;
                    port.sink.reply(caller, Answer::Error(error.clone()));
                }
                if !told {
                    port.untold.add(steps.process, error.clone());
                }
            }
            Role::Handled(Handled { accept: Some(caller), .. }) => {
                port.sink.reply(caller, Answer::Error(error.clone()));
            }
            Role::Handled(handled) => {
                let event = S::handled_end(error, last);
                let message = Message::Stream { id: self.id, event };
                let _ = port.sink.send(&handled.handler, message);
            }
        }
    }

    /// The same because the connection has ended, unless it had failed before.
    pub(super) fn lost(mut self, error: &Error, last: u64, port: &mut Port<'_, H>) {
        match self.outcome.take() {
            Some(Err(own)) => self.fail(&own, last, port),
            _ => self.fail(error, last, port),
        }
    }

    /// Whether the response is delivered as messages that are pulled.
    pub(super) fn is_pulled(&self) -> bool {
        matches!(&self.role, Role::Messages(messages) if messages.pace.is_pulled())
    }

    /// Whether all of the response is here.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.outcome, Some(Ok(())))
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
