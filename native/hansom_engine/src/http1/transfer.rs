//! How bytes move: out of the queue, into the buffer, and on to whoever wants them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::body::{Framing, Part};
use super::connection::{Http1, Idle};
use super::exchange::{BodyEnd, Consumer, Demand, Exchange, HeadFacts, Pace, Wait};
use super::parse::Head;
use super::reuse;
use super::state::Event;
use crate::decode::Decompressor;
use crate::error::Error;
use crate::event::{Answer, Message, Notice};
use crate::host::{BodyBuffer, Host};
use crate::port::Port;
use crate::transport::Link;

/// What may be received before anybody asks for it.
const READ_AHEAD: usize = 64 << 10;
/// The largest piece of a body; larger ones gain nothing.
const PIECE: usize = 128 << 10;
/// The smallest part of a body that is delivered before a look at what else has arrived.
const WORTHWHILE: usize = 32 << 10;
/// Memory made ready for a read of a body of unknown length.
const STEP: usize = 64 << 10;
/// Bytes moved before other connections of the same thread get their turn.
const TURN: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AHEAD].into_boxed_slice());
}

/// What an attempt to read led to.
enum Filled {
    /// So many bytes, or the end, or an error.
    Some(usize),
    /// Nothing came, or nothing may be read now.
    Nothing,
}

impl<H: Host> Http1<H> {
    /// Moves what can be moved without waiting; a waker is left with the link for the rest.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) {
        let mut turn = TURN;
        loop {
            self.flush(cx, port);
            self.advance(port);
            match self.fill(cx, port) {
                Filled::Some(read) => {
                    turn = turn.saturating_sub(read);
                    if turn == 0 {
                        cx.waker().wake_by_ref();
                        self.advance(port);
                        break;
                    }
                }
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
        match result {
            Poll::Pending => {
                if sent > 0 || self.write_deadline.is_none() {
                    let timeout = port.config.send_timeout;
                    self.write_deadline = timeout.and_then(|t| Instant::now().checked_add(t));
                }
            }
            Poll::Ready(Ok(())) => {
                self.write_deadline = None;
                for caller in self.acks.drain(..) {
                    port.sink.reply(caller, Answer::Ok);
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
        let decompressor = if active.sent.decompress && framing != Framing::None {
            let coding = headers.values(b"content-encoding").next_back();
            let coding = coding.and_then(Decompressor::coding);
            coding.map(|coding| Decompressor::new(coding, &port.config.limits))
        } else {
            None
        };
        let keeps_alive = reuse::keeps_alive(active.sent.close, version, &headers);
        self.should_close = !keeps_alive;
        active.head = Some(HeadFacts { status, framing, keeps_alive, decompressor });
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
                if let (Framing::None, Pace::Pull { credits }) = (framing, &mut delivery.pace) {
                    *credits = credits.saturating_add(1);
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
    fn emit(&mut self, port: &mut Port<'_, H>) -> Result<(), Error> {
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

    /// Whether bytes may be taken from the link now.
    fn may_read(&self) -> bool {
        if self.eof || self.read_error.is_some() {
            return false;
        }
        if self.raw.is_some() || self.waits_for_input() {
            return true;
        }
        let watched = !matches!(self.exchange, Exchange::None) || self.idle != Idle::Unwatched;
        watched && self.input.len() < READ_AHEAD
    }

    /// Whether somebody waits for bytes from the peer.
    fn waits_for_input(&self) -> bool {
        match &self.exchange {
            Exchange::Active(active) => {
                active.head.is_none()
                    || (active.ended.is_none() && active.demand() != Demand::Nothing)
            }
            _ => false,
        }
    }

    /// Why nothing more will come, if so.
    fn no_more(&self) -> Option<Error> {
        self.read_error.clone().or(self.eof.then_some(Error::Closed))
    }

    fn set_read_deadline(&mut self) {
        let progress = std::mem::take(&mut self.progress);
        let waits = self.link.is_some() && self.output.is_empty() && self.waits_for_input();
        let timeout = match &self.exchange {
            Exchange::Active(active) if waits => active.sent.recv_timeout,
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

    /// Reads once, if anything may be read.
    fn fill(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) -> Filled {
        self.read_registered = false;
        if !self.may_read() {
            return Filled::Nothing;
        }
        let result = match self.fill_directly(cx, port) {
            Some(result) => result,
            None => self.fill_input(cx),
        };
        match result {
            Poll::Pending => {
                self.read_registered = self.link.is_some();
                Filled::Nothing
            }
            Poll::Ready(result) => {
                self.progress = true;
                match result {
                    Ok(0) => self.eof = true,
                    Ok(read) => {
                        port.status.count_received(read);
                        return Filled::Some(read);
                    }
                    Err(Error::Closed) => self.eof = true,
                    Err(error) => self.read_error = Some(error),
                }
                self.end_raw(port);
                Filled::Some(1)
            }
        }
    }

    fn fill_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let Some(link) = &mut self.link else { return Poll::Pending };
        SCRATCH.with_borrow_mut(|scratch| {
            let result = read(link, scratch, cx);
            if let Poll::Ready(Ok(read)) = &result {
                self.input.extend(scratch.get(..*read).unwrap_or_default());
            }
            result
        })
    }

    /// Reads into the memory of whoever wants the bytes, if they need not be looked at first.
    fn fill_directly(
        &mut self,
        cx: &mut Context<'_>,
        port: &mut Port<'_, H>,
    ) -> Option<Poll<Result<usize, Error>>> {
        let link = self.link.as_mut()?;
        if let Some(raw) = &mut self.raw {
            let wanted = match raw.length {
                0 => STEP,
                length => length.saturating_sub(raw.gather.len()).min(STEP),
            };
            if let Err(error) = raw.gather.reserve(wanted, None, u64::MAX) {
                return Some(Poll::Ready(Err(error)));
            }
            let result = read(link, raw.gather.room().get_mut(..wanted)?, cx);
            if let Poll::Ready(Ok(read)) = &result
                && *read > 0
            {
                raw.gather.filled(*read);
                let enough = raw.gather.len() >= raw.length;
                if enough {
                    self.end_raw(port);
                }
            }
            return Some(result);
        }
        let Exchange::Active(active) = &mut self.exchange else { return None };
        let demand = active.demand();
        let facts = active.head.as_ref()?;
        if !self.input.is_empty() || facts.decompressor.is_some() || active.ended.is_some() {
            return None;
        }
        let framing = facts.framing;
        let body = active.response.body()?;
        let contiguous = usize::try_from(body.contiguous()).unwrap_or(usize::MAX);
        if contiguous == 0 {
            return None;
        }
        let (step, expected, limit) = match (demand, framing) {
            (Demand::Whole, Framing::Length(length)) => {
                (STEP, Some(length), port.config.limits.body_bytes)
            }
            (Demand::Whole, _) => (STEP, None, port.config.limits.body_bytes),
            (Demand::Piece, _) => {
                let room = PIECE.saturating_sub(active.gather.len()).max(1);
                (room, None, u64::MAX)
            }
            (Demand::Nothing | Demand::Drop, _) => return None,
        };
        if let Err(error) = active.gather.reserve(step.min(contiguous), expected, limit) {
            return Some(Poll::Ready(Err(error)));
        }
        let room = active.gather.room();
        let len = room.len().min(contiguous).min(TURN);
        let result = read(link, room.get_mut(..len)?, cx);
        if let Poll::Ready(Ok(read)) = &result {
            active.gather.filled(*read);
            body.advance(*read as u64);
            let chunk_ends = framing == Framing::Chunked && body.contiguous() == 0;
            let full = active.gather.len() >= PIECE || chunk_ends;
            if demand == Demand::Piece
                && full
                && *read > 0
                && let Err(error) = self.emit(port)
            {
                return Some(Poll::Ready(Err(error)));
            }
        }
        Some(result)
    }

    /// Answers a raw read with what it has, or with why it has nothing.
    fn end_raw(&mut self, port: &mut Port<'_, H>) {
        let Some(mut raw) = self.raw.take() else { return };
        let enough = !raw.gather.is_empty() && raw.gather.len() >= raw.length;
        let answer = match self.no_more() {
            Some(error) if !enough => Answer::Error(error),
            _ => raw.gather.take().map_or_else(Answer::Error, Answer::Data),
        };
        port.sink.reply(raw.caller, answer);
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
            && let Some(raw) = self.raw.take()
        {
            port.sink.reply(raw.caller, Answer::Error(Error::Timeout));
        }
        if passed(self.read_deadline) || passed(self.write_deadline) {
            self.fail(Error::Timeout, port);
        } else if passed(self.idle_deadline) {
            self.close(port, Notice::Closed);
        }
    }
}

fn read(link: &mut Link, memory: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
    let mut buffer = ReadBuf::new(memory);
    Pin::new(link)
        .poll_read(cx, &mut buffer)
        .map(|result| result.map(|()| buffer.filled().len()).map_err(Error::from))
}
