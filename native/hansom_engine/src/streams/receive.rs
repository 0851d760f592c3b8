//! What comes on a stream, taken in as it comes and handed on as its reader wants it.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::session::{Came, Session};
use super::stream::{Head, Receive, Role, Stage, Steps, Stream, Wish};
use super::{Fate, Side};
use crate::config::Limits;
use crate::error::{Error, Limit};
use crate::event::{Answer, Message, Notice, StreamEvent};
use crate::headers::HeaderList;
use crate::host::{BodyBuffer, Host};
use crate::port::Port;

/// How much is taken in of what has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// What the reader wants now, and a little ahead.
    Wanted,
    /// Everything: a window at most.
    All,
}

impl<H: Host, S: Session> Stream<H, S> {
    /// Does whatever can be done on this stream.
    pub(super) fn work(&mut self, side: &mut Side<'_, S>, port: &mut Port<'_, H>) -> Fate {
        if matches!(self.receive, Receive::Queued(_)) {
            self.set_receive_deadline(false);
            return Fate::Open;
        }
        let sent = self.send_more(side, port);
        let mut came = false;
        let fate = loop {
            came |= self.take_in(Share::Wanted, side, port);
            let fate = self.hand_on(side, port);
            // What was handed on may have made room for more.
            if fate != Fate::Open || !self.stalled || !self.wants_more() {
                break fate;
            }
        };
        self.stop_sending(port);
        self.set_receive_deadline(sent || came);
        fate
    }

    /// Takes in what has come; `true` if anything has.
    pub(super) fn take_in(
        &mut self,
        share: Share,
        side: &mut Side<'_, S>,
        port: &mut Port<'_, H>,
    ) -> bool {
        let mut progress = false;
        self.stalled = false;
        while self.outcome.is_none() {
            if share == Share::Wanted && !self.wants_more() {
                self.stalled = true;
                break;
            }
            match self.poll(side, port) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => progress = true,
                Poll::Ready(Err(error)) => {
                    progress = true;
                    self.reset(S::code_of(&error));
                    self.outcome = Some(Err(error));
                }
            }
        }
        progress
    }

    /// Takes in one thing.
    fn poll(&mut self, side: &mut Side<'_, S>, port: &mut Port<'_, H>) -> Poll<Result<(), Error>> {
        let Receive::Open(incoming) = &mut self.receive else { return Poll::Pending };
        let cx = &mut Context::from_waker(&self.waker);
        let came = match side.session.poll_receive(incoming, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(came)) => came,
        };
        Poll::Ready(match came {
            Came::Interim { status, headers } => {
                self.take_interim(status, headers, &port.config.limits)
            }
            Came::Head { status, headers, length, ended } => {
                self.take_head(status, headers, length, ended, port)
            }
            Came::Data { data, ended } => {
                let taken = self.take_data(&data, side, port);
                if ended && taken.is_ok() {
                    self.outcome = Some(Ok(()));
                }
                taken
            }
            Came::End(trailers) => {
                let count = trailers.as_ref().map_or(0, HeaderList::len);
                check_count(count, &port.config.limits).map(|()| {
                    self.trailers = trailers;
                    self.outcome = Some(Ok(()));
                })
            }
            Came::Nothing => Ok(()),
        })
    }

    fn take_head(
        &mut self,
        status: u16,
        headers: HeaderList,
        length: Option<u64>,
        ended: bool,
        port: &mut Port<'_, H>,
    ) -> Result<(), Error> {
        check_count(headers.len(), &port.config.limits)?;
        let headers = port.remember_headers(headers);
        self.response = Some(Head { status, headers, length, told: false });
        // It is known now that the peer took the request.
        self.again = None;
        if ended {
            self.outcome = Some(Ok(()));
        }
        Ok(())
    }

    fn take_interim(
        &mut self,
        status: u16,
        headers: HeaderList,
        limits: &Limits,
    ) -> Result<(), Error> {
        // Nothing to switch to (RFC 9113, section 8.6, RFC 9114, section 4.5).
        if status == 101 {
            return Err(S::malformed());
        }
        check_count(headers.len(), limits)?;
        self.interim += 1;
        if self.interim > limits.interim_responses {
            return Err(Error::Limit(Limit::InterimResponses));
        }
        if self.wants.interim || matches!(self.role, Role::Handled(_)) {
            self.untold.push((status, headers));
        }
        Ok(())
    }

    fn take_data(
        &mut self,
        data: &Bytes,
        side: &mut Side<'_, S>,
        port: &Port<'_, H>,
    ) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        self.unreleased += data.len();
        *side.held += data.len();
        if self.is_contentless() {
            return Err(S::malformed());
        }
        let limit = port.config.limits.body_bytes;
        let whole = match &self.role {
            Role::Whole(_) => true,
            Role::Steps(steps) => matches!(steps.stage, Stage::Reading(Wish::Whole, _)),
            Role::Messages(_) | Role::Handled(_) => false,
        };
        if whole {
            let expected = self.response.as_ref().and_then(|head| head.length);
            self.inbox.extend(data, expected, limit)?;
            self.release(self.unreleased, side);
            Ok(())
        } else {
            let asked = matches!(&self.role, Role::Messages(m) if m.pace.is_pulled());
            self.inbox.push(data, asked)
        }
    }

    /// Hands on what its reader wants now.
    fn hand_on(&mut self, side: &mut Side<'_, S>, port: &mut Port<'_, H>) -> Fate {
        let result = match &self.role {
            Role::Whole(caller) => {
                for (status, headers) in self.untold.drain(..) {
                    port.sink.inform(caller, status, b"", &headers);
                }
                let over = self.outcome.is_some() && !self.sends_still();
                Ok(if over { Fate::Over } else { Fate::Open })
            }
            Role::Messages(_) => self.hand_messages(side, port),
            Role::Steps(_) => self.hand_steps(side, port),
            Role::Handled(_) => self.hand_handler(side, port),
        };
        match result {
            Ok(fate) => fate,
            Err(error) => {
                self.reset(S::CANCEL);
                self.inbox.clear();
                self.outcome = Some(Err(error));
                Fate::Over
            }
        }
    }

    fn hand_messages(
        &mut self,
        side: &mut Side<'_, S>,
        port: &mut Port<'_, H>,
    ) -> Result<Fate, Error> {
        let (sent, sends_still) = (self.is_sent(), self.sends_still());
        let accepted = sent || self.is_accepted_unsent();
        let Role::Messages(messages) = &mut self.role else { return Ok(Fate::Open) };
        if messages.accept.is_some() && !accepted {
            return Ok(if matches!(self.outcome, Some(Err(_))) { Fate::Over } else { Fate::Open });
        }
        if let Some(caller) = messages.accept.take() {
            port.sink.reply(caller, Answer::Ok);
        }
        for (status, headers) in self.untold.drain(..) {
            let message = Message::Informational { status, reason: Vec::new(), headers };
            if port.sink.send(&messages.receiver, message).is_err() {
                return Ok(Fate::Unwanted);
            }
        }
        if let Some(head) = &mut self.response
            && !std::mem::replace(&mut head.told, true)
        {
            let status = Message::Status { status: head.status, reason: Vec::new() };
            let headers = Message::Headers(head.headers.clone());
            let told = port.sink.send(&messages.receiver, status);
            if told.and_then(|()| port.sink.send(&messages.receiver, headers)).is_err() {
                return Ok(Fate::Unwanted);
            }
        }
        while messages.pace.allows() {
            let Some(piece) = self.inbox.take_piece()? else { break };
            let len = piece.as_slice().len();
            if port.sink.send(&messages.receiver, Message::Data(piece)).is_err() {
                return Ok(Fate::Unwanted);
            }
            if messages.pace.spend(len as u64, port.config) {
                port.sink.notify(Notice::Flow(messages.receiver.clone()));
            }
            side.release(&mut self.unreleased, &mut self.receive, len);
        }
        let over = match &self.outcome {
            Some(_) if !self.inbox.is_empty() => false,
            // A failure is no piece that could be asked for.
            Some(Err(_)) => true,
            Some(Ok(())) => !sends_still && messages.pace.allows_end(),
            None => false,
        };
        Ok(if over { Fate::Over } else { Fate::Open })
    }

    fn hand_steps(
        &mut self,
        side: &mut Side<'_, S>,
        port: &mut Port<'_, H>,
    ) -> Result<Fate, Error> {
        if let Role::Steps(Steps { accept, .. }) = &mut self.role
            && self.outcome.as_ref().is_none_or(Result::is_ok)
            && let Some(caller) = accept.take()
        {
            port.sink.reply(caller, Answer::Ok);
        }
        loop {
            let Role::Steps(Steps { stage, held, .. }) = &mut self.role else {
                return Ok(Fate::Open);
            };
            match std::mem::replace(stage, Stage::Idle) {
                Stage::Sending => {
                    *stage = Stage::Sending;
                    // The reason is kept for the next command.
                    if let Some(Err(error)) = &self.outcome {
                        for caller in self.outbox.abandon() {
                            port.sink.reply(caller, Answer::Error(S::send_error(error)));
                        }
                    }
                    return Ok(Fate::Open);
                }
                Stage::Head(caller) => {
                    if let Some(caller) = &caller {
                        for (status, headers) in self.untold.drain(..) {
                            port.sink.inform(caller, status, b"", &headers);
                        }
                    }
                    let Some(head) = &self.response else {
                        *stage = Stage::Head(caller);
                        // A failure waits for someone to be told.
                        let told = matches!(stage, Stage::Head(Some(_)));
                        let failed = matches!(self.outcome, Some(Err(_)));
                        return Ok(if failed && told { Fate::Over } else { Fate::Open });
                    };
                    if let Some(caller) = caller {
                        let (status, headers) = (head.status, head.headers.clone());
                        port.sink.reply(caller, Answer::Response { status, headers });
                    }
                }
                Stage::Idle => match held.pop_front() {
                    Some((wish, caller)) => *stage = Stage::Reading(wish, caller),
                    None => return Ok(Fate::Open),
                },
                Stage::Reading(Wish::Piece, caller) => {
                    if let Some(piece) = self.inbox.take_piece()? {
                        let len = piece.as_slice().len();
                        port.sink.reply(caller, Answer::Data(piece));
                        side.release(&mut self.unreleased, &mut self.receive, len);
                    } else {
                        *stage = Stage::Reading(Wish::Piece, caller);
                        let over = self.outcome.is_some();
                        return Ok(if over { Fate::Over } else { Fate::Open });
                    }
                }
                Stage::Reading(Wish::Whole, caller) => {
                    *stage = Stage::Reading(Wish::Whole, caller);
                    if self.outcome.is_some() {
                        return Ok(Fate::Over);
                    }
                    let limit = port.config.limits.body_bytes;
                    if self.inbox.len() as u64 > limit {
                        return Err(Error::Limit(Limit::BodyBytes));
                    }
                    self.release(self.unreleased, side);
                    return Ok(Fate::Open);
                }
            }
        }
    }

    fn hand_handler(
        &mut self,
        side: &mut Side<'_, S>,
        port: &mut Port<'_, H>,
    ) -> Result<Fate, Error> {
        let id = self.id;
        let Role::Handled(handled) = &mut self.role else { return Ok(Fate::Open) };
        if self.outcome.as_ref().is_none_or(Result::is_ok)
            && let Some(caller) = handled.accept.take()
        {
            port.sink.reply(caller, Answer::Stream { id });
        }
        for (status, headers) in self.untold.drain(..) {
            let event = StreamEvent::Informational { status, headers };
            if port.sink.send(&handled.handler, Message::Stream { id, event }).is_err() {
                return Ok(Fate::Unwanted);
            }
        }
        if let Some(head) = &mut self.response
            && !std::mem::replace(&mut head.told, true)
        {
            let event =
                StreamEvent::Response { status: head.status, headers: head.headers.clone() };
            if port.sink.send(&handled.handler, Message::Stream { id, event }).is_err() {
                return Ok(Fate::Unwanted);
            }
        }
        let complete = matches!(self.outcome, Some(Ok(())));
        let mut ended = false;
        while handled.manual || handled.pace.allows() {
            let Some(data) = self.inbox.take_piece()? else { break };
            let len = data.as_slice().len();
            ended = complete && self.trailers.is_none() && self.inbox.is_empty();
            let event = StreamEvent::Data { data, end: ended };
            let message = Message::Stream { id, event };
            if port.sink.send(&handled.handler, message).is_err() {
                return Ok(Fate::Unwanted);
            }
            if !handled.manual {
                if handled.pace.spend(len as u64, port.config) {
                    port.sink.notify(Notice::Flow(handled.handler.clone()));
                }
                side.release(&mut self.unreleased, &mut self.receive, len);
            }
        }
        if !self.inbox.is_empty() {
            return Ok(Fate::Open);
        }
        match &self.outcome {
            None => return Ok(Fate::Open),
            Some(Err(_)) => return Ok(Fate::Over),
            Some(Ok(())) => {}
        }
        if !ended && !std::mem::replace(&mut self.end_told, true) {
            let event = match self.trailers.take() {
                Some(trailers) => StreamEvent::Trailers(trailers),
                None => {
                    let data = H::Buffer::allocate(0).ok_or(Error::OutOfMemory)?;
                    StreamEvent::Data { data, end: true }
                }
            };
            if port.sink.send(&handled.handler, Message::Stream { id, event }).is_err() {
                return Ok(Fate::Unwanted);
            }
        }
        self.end_told = true;
        // The handler may have something to say still.
        Ok(if self.outbox.is_complete() { Fate::Gone } else { Fate::Open })
    }

    /// The last word about a stream that came to its end.
    pub(super) fn conclude(mut self, last: u64, port: &mut Port<'_, H>) {
        match self.outcome.take() {
            Some(Ok(())) => {}
            Some(Err(error)) => return self.fail(&error, last, port),
            None => return,
        }
        // The peer has answered and wants nothing more: senders learn that it took no notice.
        for caller in self.outbox.abandon() {
            port.sink.reply(caller, Answer::Error(Error::SendClosed));
        }
        match self.role {
            Role::Whole(caller) => {
                let answer = match (self.response, self.inbox.take_whole()) {
                    (Some(Head { status, headers, .. }), Ok(body)) => {
                        Answer::Full { status, headers, body }
                    }
                    (_, Err(error)) => Answer::Error(error),
                    (None, Ok(_)) => Answer::Error(S::malformed()),
                };
                port.sink.reply(caller, answer);
            }
            Role::Messages(messages) => {
                if self.wants.trailers
                    && let Some(trailers) = self.trailers
                {
                    let message = Message::Trailers(trailers);
                    let _ = port.sink.send(&messages.receiver, message);
                }
                let _ = port.sink.send(&messages.receiver, Message::Done);
            }
            Role::Steps(Steps { stage: Stage::Reading(wish, caller), held, .. }) => {
                let answer = match wish {
                    Wish::Piece => Answer::Done,
                    Wish::Whole => self.inbox.take_whole().map_or_else(Answer::Error, Answer::Data),
                };
                port.sink.reply(caller, answer);
                for (_, caller) in held {
                    port.sink.reply(caller, Answer::Error(Error::NoStream));
                }
            }
            Role::Steps(_) | Role::Handled(_) => {}
        }
    }
}

/// Whether a header section may have so many fields.
fn check_count(fields: usize, limits: &Limits) -> Result<(), Error> {
    if fields > limits.headers { Err(Error::Limit(Limit::Headers)) } else { Ok(()) }
}
