//! How an HTTP/2 connection moves: what it is woken for, and how it ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::stream::{Receive, Role};
use super::{Http2, ending};
use crate::error::{Error, H2Code};
use crate::event::{Answer, Notice, State};
use crate::host::Host;
use crate::port::Port;

/// Bytes read before other connections of the same thread get their turn.
const TURN: usize = 1 << 20;
/// The connection's window grows and shrinks in steps of so many bytes.
const WINDOW_STEP: usize = 1 << 20;
/// With more streams than this the task writes for all of them at once.
const FEW_STREAMS: usize = 2;
/// More waiting bytes than this are not for threads that must not be kept.
const INLINE: usize = 16 << 10;

impl<H: Host> Http2<H> {
    /// Moves what can be moved without waiting; a waker is left with the link for the rest.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) {
        let Some(session) = &self.session else { return };
        let line = session.line.clone();
        line.begin_turn(TURN, cx);
        self.ready.connection().wake_by_ref();
        self.turn(port);
        if self.session.is_some() && line.turn_is_over() {
            cx.waker().wake_by_ref();
        }
        let (received, sent) = line.take_counts();
        port.status.count_received(received);
        port.status.count_sent(sent);
        if received > 0 {
            self.keepalive.heard(&mut Context::from_waker(self.ready.connection()));
        }
        // Of what was asked last, PINGs too are sent by polling the connection.
        if !self.ready.is_idle() {
            cx.waker().wake_by_ref();
        }
        self.tidy();
    }

    /// The part of [`Self::drive`] that reads nothing: for threads that must not be kept. `false`
    /// if the task has to look after the rest at once.
    pub(crate) fn drive_inline(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) -> bool {
        let Some(session) = &self.session else { return true };
        if self.ready.is_idle() {
            return true;
        }
        let heavy = || self.streams.iter().any(|(_, stream)| stream.outbox.len() > INLINE);
        if !session.line.read_registered() || self.streams.len() > FEW_STREAMS || heavy() {
            return false;
        }
        let line = session.line.clone();
        line.begin_turn(0, cx);
        self.turn(port);
        let (_, sent) = line.take_counts();
        port.status.count_sent(sent);
        line.read_registered() && self.ready.is_idle()
    }

    fn turn(&mut self, port: &mut Port<'_, H>) {
        while self.ready.take_connection() {
            self.open_queued(port);
            if let Some(error) = self.poll_connection() {
                return self.end(&error, port);
            }
            self.obey_goaway(port);
            self.work_on_ready(port);
            self.set_window();
        }
        self.work_on_ready(port);
        self.finish_draining(port);
    }

    /// Why the connection is over, if it is.
    fn poll_connection(&mut self) -> Option<Error> {
        let session = self.session.as_mut()?;
        let cx = &mut Context::from_waker(self.ready.connection());
        match Pin::new(&mut session.connection).poll(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => Some(ending::lost(&session.line, session.tls)),
            Poll::Ready(Err(error)) => {
                Some(ending::connection_error(&error, &session.line, session.tls))
            }
        }
    }

    fn work_on_ready(&mut self, port: &mut Port<'_, H>) {
        loop {
            let keys = self.ready.take_streams();
            if keys.is_empty() {
                return self.ready.put_back(keys);
            }
            for key in &keys {
                if self.newest == Some(*key) && !self.queued.is_empty() {
                    // It may be out of the way now.
                    self.ready.connection().wake_by_ref();
                }
                self.work(*key, port);
            }
            self.ready.put_back(keys);
        }
    }

    /// Ends the connection after a GOAWAY: at once, or when what the peer still serves is over.
    fn obey_goaway(&mut self, port: &mut Port<'_, H>) {
        let Some(session) = &self.session else { return };
        let Some((last, code)) = session.line.peer().goaway else { return };
        let error = Error::Goaway(H2Code(code));
        if !port.config.http2.drain_on_goaway || code != H2Code::NO_ERROR.0 {
            return self.end(&error, port);
        }
        if self.goaway.replace(last) == Some(last) {
            return;
        }
        self.draining = true;
        port.set_state(State::Closed);
        let refused: Vec<usize> = self
            .streams
            .iter()
            .filter(|(_, stream)| matches!(stream.receive, Receive::Queued(_)) || stream.id > last)
            .map(|(key, _)| key)
            .collect();
        for key in refused {
            self.give_up(key, &error, port);
        }
    }

    /// Ends a connection on which no stream is opened any more when there is none left.
    fn finish_draining(&mut self, port: &mut Port<'_, H>) {
        if !self.draining || self.session.is_none() {
            return;
        }
        port.set_state(State::Closed);
        if self.streams.is_empty() {
            self.end(&Error::ClosedBy("normal"), port);
        }
    }

    /// Gives the peer as much room as is meant to be free, whatever slow readers hold.
    fn set_window(&mut self) {
        const LARGEST: usize = (1 << 31) - 1;
        let Some(session) = &mut self.session else { return };
        let Some(base) = self.base_window.checked_add(self.held / WINDOW_STEP * WINDOW_STEP) else {
            return;
        };
        let window = base.min(LARGEST);
        if window != self.window
            && let Ok(size) = u32::try_from(window)
        {
            self.window = window;
            session.connection.set_target_window_size(size);
            self.ready.connection().wake_by_ref();
        }
    }

    fn tidy(&mut self) {
        let streams = &self.streams;
        self.deadlines.tidy(streams.len(), |at, key| {
            streams.get(key).is_some_and(|stream| stream.timers.entered == Some(at))
        });
    }

    /// When something is to be given up next, or a little earlier.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.deadlines.next(), self.keepalive.deadline()].into_iter().flatten().min()
    }

    /// Gives up what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, port: &mut Port<'_, H>) {
        while let Some((at, key)) = self.deadlines.pop_expired(now) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if stream.timers.entered != Some(at) {
                continue;
            }
            stream.timers.entered = None;
            match stream.timers.next() {
                Some(next) if next <= now => self.give_up(key, &Error::Timeout, port),
                Some(next) => {
                    stream.timers.entered = Some(next);
                    self.deadlines.enter(next, key);
                }
                None => {}
            }
        }
        if !self.keepalive.expire(now) {
            self.end(&Error::ClosedBy("ping_timeout"), port);
        }
    }

    /// Answers whether the connection is sound; a peer that closed is noticed here at the latest.
    pub(crate) fn probe(
        &mut self,
        caller: H::Caller,
        cx: &mut Context<'_>,
        port: &mut Port<'_, H>,
    ) {
        self.drive(cx, port);
        let sound = match self.draining {
            true => Err(Error::Closed),
            false => self.with_link(|link| link.map_or(Err(Error::Closed), |link| link.check())),
        };
        if sound.is_err() && !self.draining {
            self.end(&Error::ClosedBy("tcp_closed"), port);
        }
        port.sink.reply(caller, sound.map_or_else(Answer::Error, |()| Answer::Ok));
    }

    /// Closes on a command: what is under way ends with `{closed, normal}`, of which receivers
    /// that gave the command themselves need not be told.
    pub(crate) fn close_by_user(&mut self, by: &H::Caller, port: &mut Port<'_, H>) {
        self.cancel_those(|stream| match &stream.role {
            Role::Messages(messages) => {
                messages.accept.is_none() && H::is_receiver(by, &messages.receiver)
            }
            Role::Whole(_) | Role::Steps(_) | Role::Handled(_) => false,
        });
        self.end(&Error::ClosedBy("normal"), port);
    }

    /// Tells the connection's process, closes the link, and then tells everyone who waits: those
    /// whose response is complete get it still.
    fn end(&mut self, error: &Error, port: &mut Port<'_, H>) {
        let Some(session) = &self.session else { return };
        let line = session.line.clone();
        let last = self.last_stream();
        port.set_state(State::Closed);
        port.sink.notify(Notice::Closed);
        line.close();
        self.work_on_ready(port);
        let streams = std::mem::take(&mut self.streams);
        self.queued.clear();
        self.pulled.clear();
        self.stepped.clear();
        self.handled.clear();
        self.held = 0;
        self.session = None;
        let (received, sent) = line.take_counts();
        port.status.count_received(received);
        port.status.count_sent(sent);
        for (_, stream) in streams {
            let own = match &stream.outcome {
                Some(Err(own)) => own.clone(),
                _ => error.clone(),
            };
            stream.fail(&own, last, port);
        }
    }
}
