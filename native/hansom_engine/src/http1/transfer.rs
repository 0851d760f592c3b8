//! How bytes move: out of the queue, and from the buffer to whoever wants them.

use std::io;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::body::{Framing, Part};
use super::connection::{Http1, Idle};
use super::exchange::{BodyEnd, Coded, Consumer, Demand, Exchange, HeadFacts, Wait};
use super::parse::Head;
use super::reading::Filled;
use super::reuse;
use super::state::Event;
use crate::decode::Decompressor;
use crate::error::Error;
use crate::event::{Answer, Message, Notice};
use crate::host::{BodyBuffer, Host};
use crate::port::Port;

/// The largest piece of a body; larger ones gain nothing.
pub(super) const PIECE: usize = 128 << 10;
/// The smallest part of a body that is delivered before a look at what else has arrived.
const WORTHWHILE: usize = 32 << 10;
/// Bytes moved, or made by decompression, before other connections of the same thread get their
/// turn.
pub(super) const TURN: usize = 1 << 20;

impl<H: Host> Http1<H> {
    /// Moves what can be moved without waiting; a waker is left with the link for the rest.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) {
        self.turn = TURN;
        loop {
            self.flush(cx, port);
            self.advance(port);
            if self.turn == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            match self.fill(cx, port) {
                Filled::Some(read) => self.turn = self.turn.saturating_sub(read),
                Filled::Nothing => {
                    if !self.emit_partial(port) {
                        break;
                    }
                }
            }
        }
        self.set_read_deadline();
    }

    /// The part of [`Self::drive`] that reads nothing: for threads that must not be kept. `false`
    /// if the task has to look after the rest at once.
    pub(crate) fn drive_inline(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) -> bool {
        if self.is_heavy() {
            return false;
        }
        self.flush(cx, port);
        self.advance(port);
        // A small piece is left to the task, which adds to it what has arrived meanwhile: that
        // costs less than a call for each little piece.
        if self.gathered() >= WORTHWHILE {
            self.emit_partial(port);
        }
        self.set_read_deadline();
        let unread = self.link.is_some() && self.may_read() && !self.read_registered;
        !unread && self.gathered() == 0
    }

    /// Bytes gathered for a piece.
    fn gathered(&self) -> usize {
        match &self.exchange {
            Exchange::Active(active) => active.gather.len(),
            _ => 0,
        }
    }

    /// Writes what waits to be written.
    fn flush(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) {
        let Some(link) = &mut self.link else { return };
        if self.output.is_empty() {
            return;
        }
        let mut sent = 0;
        let result = self.output.poll_write(link, cx, &mut sent);
        port.status.count_sent(sent);
        self.progress |= sent > 0;
        match result {
            Poll::Pending => {
                if sent > 0 || self.write_deadline.is_none() {
                    let timeout = port.config.send_timeout;
                    self.write_deadline = timeout.and_then(|t| Instant::now().checked_add(t));
                }
            }
            Poll::Ready(Ok(())) => {
                self.write_deadline = None;
                if !self.acks.is_empty() {
                    for caller in self.acks.drain(..) {
                        port.sink.reply(caller, Answer::Ok);
                    }
                    self.restart_idle_timer();
                }
                if let Exchange::Active(active) = &mut self.exchange {
                    active.accept(port);
                }
            }
            Poll::Ready(Err(error)) => self.write_error(error, port),
        }
    }

    /// The peer may have answered before it stopped reading, so a response is still awaited.
    fn write_error(&mut self, error: io::Error, port: &mut Port<'_, H>) {
        self.write_deadline = None;
        self.write_failed = true;
        self.output.clear();
        let error = Error::from(error);
        for caller in std::mem::take(&mut self.acks) {
            port.sink.reply(caller, Answer::Error(error.clone()));
        }
        self.restart_idle_timer();
        if matches!(self.exchange, Exchange::Upload { .. }) {
            self.close(port, Notice::Closed);
        }
    }

    /// Uses what was received as far as somebody wants it.
    pub(super) fn advance(&mut self, port: &mut Port<'_, H>) {
        loop {
            if self.link.is_none() {
                return;
            }
            match self.step(port) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.fail(error, port),
            }
        }
    }

    /// One step of [`Self::advance`]; `false` if there is nothing more to be done for now.
    fn step(&mut self, port: &mut Port<'_, H>) -> Result<bool, Error> {
        let Exchange::Active(active) = &mut self.exchange else {
            while let Some(command) = self.held.pop_front() {
                port.refuse_command(command);
            }
            if matches!(self.exchange, Exchange::None) {
                self.watch_idle(port);
            }
            return Ok(false);
        };
        if active.head.is_none() {
            return self.step_head(port);
        }
        let demand = active.demand();
        if demand == Demand::Nothing {
            self.take_up_held(port);
            return Ok(match &self.exchange {
                Exchange::Active(active) => active.demand() != Demand::Nothing,
                _ => false,
            });
        }
        if demand == Demand::Whole {
            active.check_size(&port.config.limits)?;
        }
        if let Some(end) = active.ended {
            if demand == Demand::Piece && !active.gather.is_empty() {
                self.emit(port)?;
            } else {
                self.finish(end, port)?;
            }
            return Ok(true);
        }
        self.step_body(demand, port)
    }

    /// Bytes that nobody asked for, and the peer's closing, end an idle connection.
    fn watch_idle(&mut self, port: &mut Port<'_, H>) {
        let over = self.eof || self.read_error.is_some() || !self.input.is_empty();
        if over && self.idle != Idle::Unwatched {
            self.close(port, Notice::Closed);
        }
    }

    fn step_head(&mut self, port: &mut Port<'_, H>) -> Result<bool, Error> {
        let Exchange::Active(active) = &mut self.exchange else { return Ok(false) };
        match active.response.next(self.input.bytes(), &port.config.limits)? {
            Event::More => match self.no_more() {
                Some(error) => Err(error),
                None => Ok(false),
            },
            Event::Interim(head) => {
                self.input.consume(head.length);
                active.accept(port);
                self.deliver_interim(head, port);
                Ok(true)
            }
            Event::Head { head, framing } => {
                self.input.consume(head.length);
                active.accept(port);
                self.deliver_head(head, framing, port);
                Ok(true)
            }
            Event::Part(_) => Err(Error::BadRequest),
        }
    }

    fn deliver_interim(&mut self, head: Head, port: &mut Port<'_, H>) {
        let Exchange::Active(active) = &mut self.exchange else { return };
        let Head { status, reason, headers, .. } = head;
        match &active.consumer {
            Consumer::Sync(Wait::Head { caller: Some(caller), inform: true }) => {
                port.sink.inform(caller, status, &reason, &headers);
            }
            Consumer::Sync(_) => {}
            Consumer::Async(delivery) => {
                let message = Message::Informational { status, reason, headers };
                if port.sink.send(&delivery.receiver, message).is_err() {
                    self.abandon(port);
                }
            }
        }
    }

    fn deliver_head(&mut self, head: Head, framing: Framing, port: &mut Port<'_, H>) {
        let Exchange::Active(active) = &mut self.exchange else { return };
        let Head { version, status, reason, headers, .. } = head;
        let whole = matches!(active.consumer, Consumer::Sync(_));
        let decompressor = if active.sent.decompress && whole && framing != Framing::None {
            let coding = headers.values(b"content-encoding").next_back();
            let coding = coding.and_then(Decompressor::coding);
            coding.map(|coding| Decompressor::new(coding, &port.config.limits))
        } else {
            None
        };
        let keeps_alive = reuse::keeps_alive(active.sent.close, version, &headers);
        self.should_close = !keeps_alive;
        let coded = decompressor.map(Coded::new);
        active.head = Some(HeadFacts { status, framing, keeps_alive, coded });
        let headers = port.remember_headers(headers);
        match &mut active.consumer {
            Consumer::Sync(wait) => {
                if let Wait::Head { caller: Some(caller), .. } =
                    std::mem::replace(wait, Wait::Nothing)
                {
                    port.sink.reply(caller, Answer::Response { status, headers });
                }
            }
            Consumer::Async(delivery) => {
                let location = headers.values(b"location").next();
                if let Some(location) = location.filter(|_| delivery.follow_redirect) {
                    let location = location.to_vec();
                    let headers = headers.clone();
                    delivery.redirect = match status {
                        301 | 302 | 307 | 308 => Some(Message::Redirect { location, headers }),
                        303 if active.sent.post => Some(Message::SeeOther { location, headers }),
                        _ => None,
                    };
                }
                if delivery.redirect.is_some() {
                    return;
                }
                if active.sent.trailers
                    && let Some(body) = active.response.body()
                {
                    body.keep_trailers();
                }
                // A response without a body ends without being asked.
                if framing == Framing::None {
                    delivery.pace.pull();
                }
                let receiver = &delivery.receiver;
                let told = port.sink.send(receiver, Message::Status { status, reason });
                let told = told.and_then(|()| port.sink.send(receiver, Message::Headers(headers)));
                if told.is_err() {
                    self.abandon(port);
                }
            }
        }
    }

    fn step_body(&mut self, demand: Demand, port: &mut Port<'_, H>) -> Result<bool, Error> {
        let Exchange::Active(active) = &mut self.exchange else { return Ok(false) };
        if let Some(coded) = active.coded()
            && coded.is_under_way()
        {
            return self.step_decompression();
        }
        let part = match active.response.next(self.input.bytes(), &port.config.limits)? {
            Event::Part(part) => part,
            Event::More => Part::More,
            Event::Interim(_) | Event::Head { .. } => return Err(Error::BadRequest),
        };
        match part {
            Part::More => {
                if let Some(error) = self.read_error.clone() {
                    return Err(error);
                }
                if self.eof {
                    let complete = active.response.finish()?;
                    active.ended = Some(if complete { BodyEnd::Closed } else { BodyEnd::Cut });
                }
                Ok(self.eof)
            }
            Part::Skip(len) => {
                self.input.consume(len);
                Ok(true)
            }
            Part::Data { len, ends_piece } => {
                if let Some(coded) = active.coded() {
                    coded.undecoded = len;
                    return Ok(true);
                }
                let data = self.input.bytes().get(..len).unwrap_or_default();
                active.take_in(data, demand, port)?;
                self.input.consume(len);
                if demand == Demand::Drop && active.dropped_enough() {
                    active.ended = Some(BodyEnd::Cut);
                }
                if demand == Demand::Piece && (ends_piece || active.gather.len() >= PIECE) {
                    self.emit(port)?;
                }
                Ok(true)
            }
            Part::End(len) => {
                self.input.consume(len);
                active.ended = Some(BodyEnd::Framed);
                Ok(true)
            }
        }
    }

    /// Undoes a little of the content coding; `false` if others are to have their turn.
    fn step_decompression(&mut self) -> Result<bool, Error> {
        let Exchange::Active(active) = &mut self.exchange else { return Ok(false) };
        if self.turn == 0 {
            return Ok(false);
        }
        let progress = active.decompress(self.input.bytes())?;
        self.input.consume(progress.read);
        self.turn = self.turn.saturating_sub(progress.written);
        self.progress = true;
        Ok(true)
    }

    /// Delivers a piece that is not a chunk of its own, now that nothing more of it is at hand.
    fn emit_partial(&mut self, port: &mut Port<'_, H>) -> bool {
        let Exchange::Active(active) = &self.exchange else { return false };
        let chunked = active.head.as_ref().is_some_and(|head| head.framing == Framing::Chunked);
        if chunked || active.gather.is_empty() || active.demand() != Demand::Piece {
            return false;
        }
        match self.emit(port) {
            Ok(()) => self.advance(port),
            Err(error) => self.fail(error, port),
        }
        self.link.is_some()
    }

    /// Delivers what is gathered as one piece.
    pub(super) fn emit(&mut self, port: &mut Port<'_, H>) -> Result<(), Error> {
        let Exchange::Active(active) = &mut self.exchange else { return Ok(()) };
        let piece = active.gather.take()?;
        let len = piece.as_slice().len() as u64;
        match &mut active.consumer {
            Consumer::Sync(wait) => {
                if let Wait::Piece(caller) = std::mem::replace(wait, Wait::Nothing) {
                    port.sink.reply(caller, Answer::Data(piece));
                }
            }
            Consumer::Async(delivery) => {
                let told = port.sink.send(&delivery.receiver, Message::Data(piece));
                delivery.spend(len, port);
                if told.is_err() {
                    self.abandon(port);
                }
            }
        }
        Ok(())
    }

    /// Whether somebody waits for bytes from the peer.
    pub(super) fn waits_for_input(&self) -> bool {
        match &self.exchange {
            Exchange::Active(active) => {
                active.head.is_none()
                    || (active.ended.is_none() && active.demand() != Demand::Nothing)
            }
            _ => false,
        }
    }

    fn set_read_deadline(&mut self) {
        let progress = std::mem::take(&mut self.progress);
        let waits = self.link.is_some() && self.waits_for_input();
        let timeout = match &self.exchange {
            // A peer that has answered may well leave the rest of the request unread.
            Exchange::Active(active)
                if waits && (self.output.is_empty() || active.head.is_some()) =>
            {
                active.sent.recv_timeout
            }
            _ => None,
        };
        match timeout {
            None => self.read_deadline = None,
            Some(timeout) => {
                if progress || self.read_deadline.is_none() {
                    self.read_deadline = Instant::now().checked_add(timeout);
                }
            }
        }
    }

    /// When something is to be given up next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let raw = self.raw.as_ref().and_then(|raw| raw.deadline);
        [self.read_deadline, self.write_deadline, self.idle_deadline, raw]
            .into_iter()
            .flatten()
            .min()
    }

    /// Gives up what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, port: &mut Port<'_, H>) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if passed(self.raw.as_ref().and_then(|raw| raw.deadline))
            && let Some(caller) = self.give_up_raw()
        {
            port.sink.reply(caller, Answer::Error(Error::Timeout));
        }
        if passed(self.read_deadline) || passed(self.write_deadline) {
            self.fail(Error::Timeout, port);
        } else if passed(self.idle_deadline) {
            self.close(port, Notice::Closed);
        }
    }
}
