//! What can be asked of a connection of many streams.

use super::head;
use super::outbox::MOST_WAITING;
use super::session::Session;
use super::stream::{Handled, Messages, Role, Stage, Steps, Stream, Wish};
use super::{Side, Streams};
use crate::command::{AsyncMode, Command, Content, Request, RequestOptions, SendTimeout};
use crate::error::Error;
use crate::event::Answer;
use crate::flow::Pace;
use crate::headers::HeaderList;
use crate::host::Host;
use crate::port::Port;
use std::collections::VecDeque;

impl<H: Host, S: Session> Streams<H, S> {
    /// Carries a command out, as far as that needs no reading.
    pub(crate) fn apply(&mut self, command: Command<H>, port: &mut Port<'_, H>) {
        match command {
            Command::Request { caller, request, options } => {
                self.start(request, options, Role::Whole(caller), port);
            }
            Command::RequestAsync { caller, request, options, receiver, mode, .. } => {
                let pace = Pace::new(mode, port.config);
                let messages = Messages { receiver, accept: Some(caller), pace };
                // Responses delivered as messages may take their time, unless told otherwise.
                let patience = options.recv_timeout.flatten();
                let key = self.start(request, options, Role::Messages(messages), port);
                if let Some(stream) = key.and_then(|key| self.streams.get_mut(key)) {
                    stream.timers.receive = patience;
                }
                if mode == AsyncMode::Once {
                    self.pulled.extend(key);
                }
            }
            Command::RequestStreaming { caller, request, options } if S::STREAMS_RESPONSES => {
                self.start_streaming(caller, request, options, port);
            }
            Command::SendHeaders { caller, request, options } => {
                self.start_steps(caller, request, options, port);
            }
            Command::SendChunk { caller, data } => self.send_chunk(caller, data, port),
            Command::FinishBody { caller, trailers } => self.finish(caller, &trailers, port),
            Command::StartResponse { caller } => self.start_response(caller, port),
            Command::Body { caller } => self.want(Wish::Whole, caller, port),
            Command::StreamBody { caller } => self.want(Wish::Piece, caller, port),
            Command::StreamNext { receiver } => self.pull(receiver.as_ref()),
            Command::Grant { receiver, bytes } => self.grant(receiver.as_ref(), bytes, port),
            Command::ReceiverGone { receiver } => {
                self.cancel_those(|stream| match &stream.role {
                    Role::Messages(it) => H::same_receiver(&it.receiver, &receiver),
                    Role::Handled(it) => H::same_receiver(&it.handler, &receiver),
                    Role::Whole(_) | Role::Steps(_) => false,
                });
            }
            Command::ProcessGone { process } => {
                self.cancel_those(|stream| match &stream.role {
                    Role::Steps(steps) => steps.process == process,
                    Role::Whole(caller) => H::process(caller) == process,
                    Role::Messages(_) | Role::Handled(_) => false,
                });
            }
            Command::OpenStream { caller, request, handler, manual } => {
                self.open_stream(caller, request, handler, manual, port);
            }
            Command::StreamSend { caller, stream, data, end, send_timeout } => {
                if let Some(timeout) = send_timeout
                    && let Some(key) = self.handled_key(stream)
                    && let Some(stream) = self.streams.get_mut(key)
                {
                    stream.timers.send = timeout;
                }
                self.send_on(stream, caller, data, end.then_some(None), port);
            }
            Command::StreamTrailers { caller, stream, trailers } => {
                match head::trailers(&trailers) {
                    Ok(trailers) => {
                        let end = Some(Some(trailers));
                        self.send_on(stream, caller, Content::Empty, end, port);
                    }
                    Err(error) => port.sink.reply(caller, Answer::Error(error)),
                }
            }
            Command::StreamConsume { stream, bytes } => self.consume(stream, bytes),
            Command::StreamCancel { caller, stream, code } => {
                if let Some(key) = self.handled_key(stream) {
                    self.cancel(key, code.into());
                }
                port.sink.reply(caller, Answer::Ok);
            }
            Command::WatchIdle => {}
            Command::Reuse { caller } => {
                let ready = !self.draining
                    && self.session.as_ref().is_some_and(|session| session.check().is_ok());
                // No pool can lend it to one user at a time any more.
                let should_close = port.last_headers.is_some();
                port.sink.reply(caller, Answer::Reuse { should_close, ready });
            }
            other => match &self.session {
                Some(session) => session.ask(other, port),
                None => port.ask_link(None, other),
            },
        }
    }

    fn start_steps(
        &mut self,
        caller: H::Caller,
        request: Request<H::Payload>,
        options: RequestOptions,
        port: &mut Port<'_, H>,
    ) {
        let process = H::process(&caller);
        if self.step_key(&process, |stage| matches!(stage, Stage::Sending)).is_some() {
            return port.refuse(caller);
        }
        let request = Request { content: Content::Stream, ..request };
        let accept = Some(caller);
        let steps = Steps { process, accept, stage: Stage::Sending, held: VecDeque::new() };
        self.start_stepped(request, options, steps, port);
    }

    fn start_streaming(
        &mut self,
        caller: H::Caller,
        request: Request<H::Payload>,
        options: RequestOptions,
        port: &mut Port<'_, H>,
    ) {
        let process = H::process(&caller);
        self.cancel_unread(&process);
        let stage = Stage::Head(Some(caller));
        let steps = Steps { process, accept: None, stage, held: VecDeque::new() };
        self.start_stepped(request, options, steps, port);
    }

    fn start_stepped(
        &mut self,
        request: Request<H::Payload>,
        options: RequestOptions,
        steps: Steps<H>,
        port: &mut Port<'_, H>,
    ) {
        // What became of earlier ones is of no interest any more.
        port.untold.forget(&steps.process);
        if let Some(key) = self.start(request, options, Role::Steps(steps), port) {
            self.was_stepped = true;
            self.stepped.push(key);
        }
    }

    /// A response of the same process that it never read to its end is of no use any more.
    fn cancel_unread(&mut self, process: &H::Process) {
        if let Some(old) = self.step_key(process, |stage| matches!(stage, Stage::Idle)) {
            self.cancel(old, S::CANCEL);
        }
    }

    /// The newest stream of `process` that has come to a stage that fits.
    fn step_key(&self, process: &H::Process, fits: impl Fn(&Stage<H>) -> bool) -> Option<usize> {
        self.stepped.iter().rev().copied().find(|key| {
            matches!(
                self.streams.get(*key).map(|stream| &stream.role),
                Some(Role::Steps(steps)) if steps.process == *process && fits(&steps.stage)
            )
        })
    }

    /// The same for a request that is being sent. One that has failed meanwhile is told of, once.
    fn sending_key(
        &mut self,
        caller: H::Caller,
        port: &mut Port<'_, H>,
    ) -> Option<(usize, H::Caller)> {
        let process = H::process(&caller);
        let Some(key) = self.step_key(&process, |stage| matches!(stage, Stage::Sending)) else {
            self.refuse_unsent(caller, port);
            return None;
        };
        match self.streams.get(key).and_then(|stream| stream.outcome.clone()) {
            Some(Err(error)) => {
                drop(self.remove(key));
                port.sink.reply(caller, Answer::Error(error));
                None
            }
            _ => Some((key, caller)),
        }
    }

    /// There is no request of this process that is being sent.
    fn refuse_unsent(&self, caller: H::Caller, port: &mut Port<'_, H>) {
        let error = if self.was_stepped { Error::NoStream } else { Error::InvalidState };
        port.refuse_step(caller, error);
    }

    fn send_chunk(&mut self, caller: H::Caller, data: Content<H::Payload>, port: &mut Port<'_, H>) {
        if let Some((key, caller)) = self.sending_key(caller, port) {
            self.send(key, caller, data, None, port);
        }
    }

    fn finish(&mut self, caller: H::Caller, trailers: &HeaderList, port: &mut Port<'_, H>) {
        let trailers = match head::trailers(trailers) {
            Ok(trailers) => Some(trailers).filter(|map| !map.is_empty()),
            Err(error) => return port.sink.reply(caller, Answer::Error(error)),
        };
        let Some((key, caller)) = self.sending_key(caller, port) else { return };
        if self.streams.get(key).is_some_and(|stream| !stream.outbox.is_open()) {
            return port.sink.reply(caller, Answer::Ok);
        }
        self.send(key, caller, Content::Empty, Some(trailers), port);
    }

    /// Adds to what a stream sends; `end` says that nothing but these trailers follows.
    fn send(
        &mut self,
        key: usize,
        caller: H::Caller,
        data: Content<H::Payload>,
        end: Option<Option<http::HeaderMap>>,
        port: &mut Port<'_, H>,
    ) {
        let Some(stream) = self.streams.get_mut(key) else { return port.refuse(caller) };
        let never = stream.timers.send == SendTimeout::Never;
        let error = if !stream.outbox.is_open() || matches!(stream.outcome, Some(Err(_))) {
            Some(Error::SendClosed)
        } else if never && stream.outbox.len() > MOST_WAITING {
            Some(Error::SendBufferFull)
        } else {
            None
        };
        if let Some(error) = error {
            return port.sink.reply(caller, Answer::Error(error));
        }
        let (waits, told) = if never { (None, Some(caller)) } else { (Some(caller), None) };
        let rest = match end {
            None => stream.outbox.push(data, waits),
            Some(trailers) => {
                stream.outbox.push(data, None);
                stream.outbox.finish(trailers, waits);
                None
            }
        };
        for caller in rest.into_iter().chain(told) {
            port.sink.reply(caller, Answer::Ok);
        }
        self.ready.note(key);
    }

    fn start_response(&mut self, caller: H::Caller, port: &mut Port<'_, H>) {
        let process = H::process(&caller);
        let Some(key) = self.step_key(&process, |stage| matches!(stage, Stage::Sending)) else {
            return self.refuse_unsent(caller, port);
        };
        self.cancel_unread(&process);
        if let Some(Role::Steps(steps)) = self.streams.get_mut(key).map(|stream| &mut stream.role) {
            steps.stage = Stage::Head(Some(caller));
        }
        self.ready.note(key);
    }

    fn want(&mut self, wish: Wish, caller: H::Caller, port: &mut Port<'_, H>) {
        let process = H::process(&caller);
        let key = self.step_key(&process, |stage| !matches!(stage, Stage::Sending));
        let steps = key.and_then(|key| self.streams.get_mut(key)).map(|stream| &mut stream.role);
        match (key, steps) {
            (Some(key), Some(Role::Steps(steps))) => {
                steps.held.push_back((wish, caller));
                self.ready.note(key);
            }
            _ => {
                // hackney tells them apart.
                let never = S::STREAMS_RESPONSES && !self.was_stepped;
                let error = match wish {
                    Wish::Whole if never => Error::InvalidState,
                    Wish::Whole | Wish::Piece => Error::NoStream,
                };
                port.refuse_step(caller, error);
            }
        }
    }

    fn pull(&mut self, receiver: Option<&H::Receiver>) {
        let streams = &mut self.streams;
        for key in &self.pulled {
            if let Some(Role::Messages(messages)) =
                streams.get_mut(*key).map(|stream| &mut stream.role)
                && receiver.is_none_or(|it| H::same_receiver(&messages.receiver, it))
            {
                messages.pace.pull();
                return self.ready.note(*key);
            }
        }
    }

    fn grant(&mut self, receiver: Option<&H::Receiver>, bytes: u64, port: &mut Port<'_, H>) {
        let mut woken = Vec::new();
        for (key, stream) in &mut self.streams {
            let (theirs, pace) = match &mut stream.role {
                Role::Messages(it) => (&it.receiver, &mut it.pace),
                Role::Handled(it) => (&it.handler, &mut it.pace),
                Role::Whole(_) | Role::Steps(_) => continue,
            };
            if matches!(pace, Pace::Push { asked: true, .. })
                && receiver.is_none_or(|it| H::same_receiver(theirs, it))
            {
                if pace.grant(bytes, port.config) {
                    port.sink.notify(crate::event::Notice::Flow(theirs.clone()));
                }
                woken.push(key);
            }
        }
        for key in woken {
            self.ready.note(key);
        }
    }

    pub(super) fn cancel_those(&mut self, which: impl Fn(&Stream<H, S>) -> bool) {
        let keys: Vec<usize> =
            self.streams.iter().filter(|(_, it)| which(it)).map(|(key, _)| key).collect();
        for key in keys {
            self.cancel(key, S::CANCEL);
        }
    }

    /// Forgets a caller wherever it waits. A response that only it would have got is reset.
    pub(crate) fn forget(&mut self, target: &H::Caller) {
        let found =
            self.streams.iter_mut().find_map(|(key, stream)| Some((key, stream.forget(target)?)));
        if let Some((key, false)) = found
            && let Some(mut stream) = self.remove(key)
        {
            stream.reset(S::CANCEL);
            if let Some(caller) = stream.role.into_caller() {
                H::forget(caller);
            }
        }
    }

    fn open_stream(
        &mut self,
        caller: H::Caller,
        request: Request<H::Payload>,
        handler: H::Receiver,
        manual: bool,
        port: &mut Port<'_, H>,
    ) {
        if !S::HANDLERS {
            return port.refuse(caller);
        }
        let handled =
            Handled { handler, pace: Pace::push(port.config), manual, accept: Some(caller) };
        let request = Request { content: Content::Stream, ..request };
        let options = RequestOptions::default();
        self.start(request, options, Role::Handled(handled), port);
    }

    fn handled_key(&self, id: u64) -> Option<usize> {
        self.handled.get(&id).copied()
    }

    fn send_on(
        &mut self,
        stream: u64,
        caller: H::Caller,
        data: Content<H::Payload>,
        end: Option<Option<http::HeaderMap>>,
        port: &mut Port<'_, H>,
    ) {
        match self.handled_key(stream) {
            Some(key) => self.send(key, caller, data, end, port),
            None => port.sink.reply(caller, Answer::Error(Error::NoStream)),
        }
    }

    fn consume(&mut self, stream: u64, bytes: u64) {
        let Some(key) = self.handled_key(stream) else { return };
        let (Some(session), Some(stream)) = (&mut self.session, self.streams.get_mut(key)) else {
            return;
        };
        if !matches!(&stream.role, Role::Handled(handled) if handled.manual) {
            return;
        }
        let mut side = Side { session, held: &mut self.held };
        // What was not delivered yet cannot have been consumed.
        let delivered = stream.unreleased - stream.inbox.len().min(stream.unreleased);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(delivered);
        stream.release(bytes, &mut side);
    }
}
