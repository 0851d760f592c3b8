//! An HTTP/1.1 connection over a [`Link`]: one exchange at a time.
//!
//! Bytes come in through `transfer.rs`, which also decides what is done with them; exchanges end
//! in `ending.rs`. This file holds the state and carries commands out.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::encode::{self, Defaults};
use super::exchange::{Active, Consumer, Delivery, Exchange, Sent, Wait};
use super::input::Input;
use super::output::Output;
use super::raw::RawRead;
use crate::command::{AsyncMode, Command, Content, Request, RequestOptions};
use crate::config::Config;
use crate::error::Error;
use crate::event::{Answer, Notice, State};
use crate::flow::Pace;
use crate::host::{Host, Payload};
use crate::port::Port;
use crate::transport::Link;

/// One connection. Without a link it is over.
pub(crate) struct Http1<H: Host> {
    pub(super) link: Option<Link>,
    pub(super) output: Output<H::Payload>,
    pub(super) input: Input,
    /// Taken from the link and given back: read before what the link still has.
    pub(super) unread: Input,
    /// The peer will send no more.
    pub(super) eof: bool,
    /// Reading failed; told to whoever wants more than what came before.
    pub(super) read_error: Option<Error>,
    /// Writing failed; the response, if there is one, still counts.
    pub(super) write_failed: bool,
    pub(super) exchange: Exchange<H>,
    /// Told when everything written is with the system.
    pub(super) acks: Vec<H::Caller>,
    pub(super) raw: Option<RawRead<H>>,
    /// Wishes for the body that came before it was their turn.
    pub(super) held: VecDeque<Command<H>>,
    pub(super) idle: Idle,
    pub(super) idle_timeout: Option<Duration>,
    /// What may still be moved in this turn, in bytes.
    pub(super) turn: usize,
    /// The next read is certain to wake the task.
    pub(super) read_registered: bool,
    /// Something was read since the read deadline was set.
    pub(super) progress: bool,
    pub(super) read_deadline: Option<Instant>,
    pub(super) write_deadline: Option<Instant>,
    pub(super) idle_deadline: Option<Instant>,
    /// The last exchange demands that the connection be closed.
    pub(super) should_close: bool,
    /// Closed for good: the connection's process was told to stop.
    pub(super) finished: bool,
}

/// What a connection between exchanges makes of bytes and of its peer's closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Fresh, or used for raw bytes: nothing is read.
    Unwatched,
    /// Both end the connection.
    Watched,
    /// As watched, and the next request is told of it.
    CheckedOut,
}

impl<H: Host> Http1<H> {
    pub(crate) fn new(link: Link, config: &Config) -> Self {
        let mut http1 = Self {
            link: Some(link),
            output: Output::new(),
            input: Input::default(),
            unread: Input::default(),
            eof: false,
            read_error: None,
            write_failed: false,
            exchange: Exchange::None,
            acks: Vec::new(),
            raw: None,
            held: VecDeque::new(),
            idle: Idle::Unwatched,
            idle_timeout: config.idle_timeout,
            turn: 0,
            read_registered: false,
            progress: false,
            read_deadline: None,
            write_deadline: None,
            idle_deadline: None,
            should_close: false,
            finished: false,
        };
        http1.restart_idle_timer();
        http1
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.link.is_none()
    }

    /// Whether the next request is to be told that the peer closed.
    pub(crate) fn is_checked_out(&self) -> bool {
        self.idle == Idle::CheckedOut
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The link, if nothing is under way and nothing was received that would be lost.
    pub(crate) fn take_idle_link(&mut self) -> Option<Link> {
        // What the link has taken need not be flushed: a carried one may learn that after the response.
        let settled = self.output.is_written() && !self.holds_bytes();
        if self.is_unused() && settled { self.link.take() } else { None }
    }

    /// Whether nobody waits for anything.
    fn is_unused(&self) -> bool {
        matches!(self.exchange, Exchange::None) && self.raw.is_none() && self.acks.is_empty()
    }

    fn holds_bytes(&self) -> bool {
        !self.input.is_empty() || !self.unread.is_empty()
    }

    /// Whether the link may be used again.
    fn check(&self) -> Result<(), Error> {
        match (&self.link, self.no_more()) {
            (Some(link), None) => link.check(),
            (_, error) => Err(error.unwrap_or(Error::Closed)),
        }
    }

    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Bytes received and not yet used, and not yet written.
    pub(crate) fn buffered(&self) -> (usize, usize) {
        (self.input.len() + self.unread.len(), self.output.len())
    }

    /// What was held back for a response that no longer comes.
    pub(crate) fn take_held(&mut self) -> VecDeque<Command<H>> {
        std::mem::take(&mut self.held)
    }

    /// Counts the time without use from now, if there is none.
    pub(super) fn restart_idle_timer(&mut self) {
        let timeout = self.idle_timeout.filter(|_| self.is_unused());
        self.idle_deadline = timeout.and_then(|t| Instant::now().checked_add(t));
    }

    /// Carries a command out, as far as that needs no reading.
    pub(crate) fn apply(&mut self, command: Command<H>, port: &mut Port<'_, H>) {
        match command {
            Command::Request { caller, request, options } => {
                let wait = Wait::Head { caller: Some(caller), inform: options.inform };
                self.start(request, options, Consumer::Sync(wait), port);
            }
            Command::RequestAsync {
                caller,
                request,
                options,
                receiver,
                receiver_owns,
                mode,
                follow_redirect,
            } => {
                let notice = receiver_owns.then(|| Notice::Owner(receiver.clone()));
                let delivery = Delivery {
                    receiver,
                    accept: Some(caller),
                    pace: Pace::new(mode, port.config),
                    follow_redirect,
                    redirect: None,
                    dropped: 0,
                };
                if self.start(request, options, Consumer::Async(delivery), port)
                    && let Some(notice) = notice
                {
                    port.sink.notify(notice);
                }
            }
            Command::SendHeaders { caller, request, options } => {
                self.start_upload(caller, &request, options, port);
            }
            Command::SendChunk { caller, data } => self.send_chunk(caller, data, port),
            Command::FinishBody { caller, trailers } => match &mut self.exchange {
                Exchange::Upload { finished, .. } => {
                    if !std::mem::replace(finished, true) {
                        self.output.append(|out| encode::last_chunk(out, &trailers));
                    }
                    self.acknowledge(caller, port);
                }
                _ => port.refuse(caller),
            },
            Command::StartResponse { caller } => match self.exchange {
                Exchange::Upload { sent, finished } => {
                    let wait = Wait::Head { caller: Some(caller), inform: sent.inform };
                    let active = Active { unfinished: !finished, ..Active::new(sent, wait) };
                    self.exchange = Exchange::Active(Box::new(active));
                    port.set_state(State::Receiving);
                }
                _ => port.refuse(caller),
            },
            command @ (Command::Body { .. } | Command::StreamBody { .. }) => {
                self.want_body(command, port);
            }
            Command::StreamNext { .. } => {
                if let Some(pace) = self.pace() {
                    pace.pull();
                }
            }
            Command::StopAsync { caller } => {
                // What is here was asked for before this: of several commands in a row only the
                // last is followed by a drive.
                self.advance(port);
                match self.active() {
                    Some(active) if matches!(active.consumer, Consumer::Async(_)) => {
                        active.stop_delivery(port);
                        port.set_state(State::Receiving);
                        port.sink.reply(caller, Answer::Ok);
                    }
                    _ => port.refuse(caller),
                }
            }
            Command::Pause { caller } => {
                if let Some(pace @ Pace::Push { .. }) = self.pace() {
                    *pace = Pace::new(AsyncMode::Once, port.config);
                    port.set_state(State::StreamingOnce);
                }
                port.sink.reply(caller, Answer::Ok);
            }
            Command::Resume { caller } => {
                if let Some(pace @ Pace::Pull { .. }) = self.pace() {
                    *pace = Pace::push(port.config);
                    port.set_state(State::Streaming);
                }
                port.sink.reply(caller, Answer::Ok);
            }
            Command::Grant { bytes, .. } => {
                if let Exchange::Active(active) = &mut self.exchange
                    && let Consumer::Async(delivery) = &mut active.consumer
                {
                    delivery.grant(bytes, port);
                }
            }
            Command::ReceiverGone { receiver } => {
                let gone = match &self.exchange {
                    Exchange::Active(active) => match &active.consumer {
                        Consumer::Async(delivery) => {
                            H::same_receiver(&delivery.receiver, &receiver)
                        }
                        Consumer::Sync(_) => false,
                    },
                    _ => false,
                };
                if gone {
                    self.abandon(port);
                }
            }
            Command::Send { caller, data } => self.send_raw(caller, data, port),
            Command::Recv { caller, length, timeout } => {
                self.receive(caller, length, timeout, port)
            }
            Command::WatchIdle => self.idle = Idle::Watched,
            Command::Reuse { caller } => {
                let ready = matches!(self.exchange, Exchange::None)
                    && !self.holds_bytes()
                    && self.check().is_ok();
                let should_close = self.should_close;
                port.sink.reply(caller, Answer::Reuse { should_close, ready });
            }
            other => port.ask_link(self.link.as_ref(), other),
        }
    }

    /// Answers whether the socket is sound; a peer that closed is noticed here at the latest.
    pub(crate) fn probe(
        &mut self,
        caller: H::Caller,
        checkout: bool,
        cx: &mut Context<'_>,
        port: &mut Port<'_, H>,
    ) {
        if !matches!(self.exchange, Exchange::None) {
            return port.refuse(caller);
        }
        self.drive(cx, port);
        match self.check() {
            Ok(()) => {
                if checkout {
                    if self.idle == Idle::Watched {
                        self.idle = Idle::CheckedOut;
                    }
                    self.restart_idle_timer();
                }
                port.sink.reply(caller, Answer::Ok);
            }
            Err(error) => {
                self.close(port, Notice::Closed);
                port.sink.reply(caller, Answer::Error(error));
            }
        }
    }

    /// Sends a request; `false` if the connection is not between exchanges.
    fn start(
        &mut self,
        request: Request<H::Payload>,
        options: RequestOptions,
        consumer: Consumer<H>,
        port: &mut Port<'_, H>,
    ) -> bool {
        if !matches!(self.exchange, Exchange::None) {
            if let Some(caller) = consumer.into_caller() {
                port.refuse(caller);
            }
            return false;
        }
        let length = match &request.content {
            Content::Empty => Some(0),
            Content::Bytes(bytes) => Some(bytes.len() as u64),
            Content::Payload(payload) => Some(payload.len() as u64),
            Content::Stream => None,
        };
        let defaults =
            Defaults { host: &port.config.host_header, user_agent: &port.config.user_agent };
        self.output.append(|out| {
            let Request { method, target, headers, .. } = &request;
            encode::request_head(out, method, target, headers, length, &defaults);
        });
        let sent = Sent::new(&request, options, port.config);
        self.output.push(request.content);
        port.set_state(match &consumer {
            Consumer::Sync(_) => State::Receiving,
            Consumer::Async(Delivery { pace: Pace::Push { .. }, .. }) => State::Streaming,
            Consumer::Async(Delivery { pace: Pace::Pull { .. }, .. }) => State::StreamingOnce,
        });
        self.exchange = Exchange::Active(Box::new(Active::with_consumer(sent, consumer)));
        self.begin(port);
        true
    }

    fn start_upload(
        &mut self,
        caller: H::Caller,
        request: &Request<H::Payload>,
        options: RequestOptions,
        port: &mut Port<'_, H>,
    ) {
        if !matches!(self.exchange, Exchange::None) {
            return port.refuse(caller);
        }
        let Request { method, target, headers, .. } = request;
        self.output.append(|out| encode::streaming_head(out, method, target, headers));
        let sent = Sent::new(request, options, port.config);
        self.exchange = Exchange::Upload { sent, finished: false };
        port.set_state(State::StreamingBody);
        self.begin(port);
        self.acknowledge(caller, port);
    }

    fn begin(&mut self, port: &mut Port<'_, H>) {
        self.idle = Idle::Watched;
        self.idle_deadline = None;
        port.status.count_request();
    }

    fn send_chunk(&mut self, caller: H::Caller, data: Content<H::Payload>, port: &mut Port<'_, H>) {
        if !matches!(self.exchange, Exchange::Upload { finished: false, .. }) {
            return port.refuse(caller);
        }
        let len = match &data {
            Content::Bytes(bytes) => bytes.len(),
            Content::Payload(payload) => payload.len(),
            Content::Empty | Content::Stream => 0,
        };
        // An empty chunk would end the body.
        if len > 0 {
            self.output.append(|out| encode::chunk_start(out, len));
            self.output.push(data);
            self.output.append(|out| out.extend_from_slice(encode::CHUNK_END));
        }
        self.acknowledge(caller, port);
    }

    pub(super) fn acknowledge(&mut self, caller: H::Caller, port: &mut Port<'_, H>) {
        if self.output.is_empty() {
            port.sink.reply(caller, Answer::Ok);
        } else {
            self.acks.push(caller);
        }
    }

    fn want_body(&mut self, command: Command<H>, port: &mut Port<'_, H>) {
        let Exchange::Active(active) = &mut self.exchange else {
            return port.refuse_command(command);
        };
        let (is_async, is_waited_for) = match &active.consumer {
            Consumer::Async(_) => (true, false),
            Consumer::Sync(wait) => (false, !matches!(wait, Wait::Nothing)),
        };
        match command {
            command if is_waited_for => self.held.push_back(command),
            Command::Body { caller } if !is_async => {
                active.consumer = Consumer::Sync(Wait::Body(caller));
            }
            // Pieces are as the peer sent them, and so is what follows them.
            Command::StreamBody { caller } if !is_async && active.leave_coded() => {
                active.consumer = Consumer::Sync(Wait::Piece(caller));
            }
            command => port.refuse_command(command),
        }
    }

    /// Lets the next held wish have its turn.
    pub(super) fn take_up_held(&mut self, port: &mut Port<'_, H>) {
        let free = match &self.exchange {
            Exchange::Active(active) => matches!(active.consumer, Consumer::Sync(Wait::Nothing)),
            _ => false,
        };
        if free && let Some(command) = self.held.pop_front() {
            self.want_body(command, port);
        }
    }

    /// Forgets a caller wherever it waits; what it asked for goes on.
    pub(crate) fn forget(&mut self, target: &H::Caller) {
        if let Some(at) = self.acks.iter().position(|caller| H::same_caller(caller, target)) {
            return H::forget(self.acks.swap_remove(at));
        }
        if self.raw.as_ref().is_some_and(|raw| H::same_caller(&raw.caller, target))
            && let Some(caller) = self.give_up_raw()
        {
            return H::forget(caller);
        }
        if let Some(at) = self.held.iter().position(|held| held.is_from(target)) {
            if let Some(caller) = self.held.remove(at).and_then(Command::into_caller) {
                H::forget(caller);
            }
            return;
        }
        if let Exchange::Active(active) = &mut self.exchange {
            active.forget(target);
        }
    }

    /// Whether carrying a command out may take too long for a thread that must not be kept.
    /// Encrypting and writing 64 KiB takes some 40 us.
    pub(crate) fn is_heavy(&self) -> bool {
        const INLINE: usize = 65 << 10;
        let decompresses = match &self.exchange {
            Exchange::Active(active) => active.sent.decompress,
            _ => false,
        };
        decompresses || self.output.len() > INLINE
    }

    fn active(&mut self) -> Option<&mut Active<H>> {
        match &mut self.exchange {
            Exchange::Active(active) => Some(active),
            _ => None,
        }
    }

    fn pace(&mut self) -> Option<&mut Pace> {
        match &mut self.active()?.consumer {
            Consumer::Async(delivery) => Some(&mut delivery.pace),
            Consumer::Sync(_) => None,
        }
    }
}
