//! How a connection of many streams moves: what it is woken for, and how it ends.

use std::task::Context;

use tokio::time::Instant;

use super::receive::Share;
use super::session::{Goaway, Progress, Session};
use super::stream::{Receive, Role, Stream};
use super::{Side, Streams};
use crate::error::Error;
use crate::event::{Answer, Notice, State};
use crate::host::Host;
use crate::port::Port;

/// Bytes read before other connections of the same thread get their turn.
const TURN: usize = 1 << 20;
/// With more streams than this the task writes for all of them at once.
const FEW_STREAMS: usize = 2;
/// More waiting bytes than this are not for threads that must not be kept.
const INLINE: usize = 16 << 10;

impl<H: Host, S: Session> Streams<H, S> {
    /// Moves what can be moved without waiting; a waker is left for the rest.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) {
        let Some(session) = &mut self.session else { return };
        self.ready.wake_also(cx.waker());
        session.begin_turn(TURN, cx);
        self.ready.note_connection();
        self.turn(port);
        let received = self.count(port);
        if let Some(session) = &mut self.session {
            if received > 0 {
                session.heard(&mut Context::from_waker(self.ready.connection()));
            }
            // What was asked for last, PINGs too, is sent by polling the connection.
            if session.turn_is_over() || !self.ready.is_idle() {
                cx.waker().wake_by_ref();
            }
        }
        self.tidy();
    }

    /// Counts what passed since the last call; bytes received.
    fn count(&mut self, port: &Port<'_, H>) -> usize {
        let Some(session) = &mut self.session else { return 0 };
        let (received, sent) = session.take_counts();
        port.status.count_received(received);
        port.status.count_sent(sent);
        received
    }

    /// The part of [`Self::drive`] that reads nothing: for threads that must not be kept. `false`
    /// if the task has to look after the rest at once.
    pub(crate) fn drive_inline(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) -> bool {
        let Some(session) = &mut self.session else { return true };
        if self.ready.is_idle() {
            return true;
        }
        let heavy = || self.streams.iter().any(|(_, stream)| stream.to_be_copied() > INLINE);
        if !session.allows_inline() || self.streams.len() > FEW_STREAMS || heavy() {
            return false;
        }
        session.begin_turn(0, cx);
        self.turn(port);
        self.count(port);
        self.session.as_ref().is_none_or(S::allows_inline) && self.ready.is_idle()
    }

    fn turn(&mut self, port: &mut Port<'_, H>) {
        while self.ready.take_connection() {
            self.open_queued(port);
            let Some(session) = self.session.as_mut().filter(|_| !self.lost) else { continue };
            match session.poll(&mut Context::from_waker(self.ready.connection())) {
                Progress::Open => {}
                Progress::Rejected => self.open_again(),
                Progress::Over(error) => {
                    self.lose(&error, port);
                    continue;
                }
            }
            self.obey_goaway(port);
            self.work_on_ready(port);
            if let Some(session) = &mut self.session {
                session.set_window(self.held, self.stalled, self.ready.connection());
            }
            if self.turn_is_over() {
                break;
            }
        }
        self.work_on_ready(port);
        if let Some(session) = self.session.as_mut().filter(|_| !self.lost)
            && let Err(error) = session.end_turn()
        {
            self.lose(&error, port);
        }
        self.finish_draining(port);
    }

    /// Whether everything was done that may be done in this turn.
    fn turn_is_over(&self) -> bool {
        !S::TAKES_ALL && self.session.as_ref().is_some_and(S::turn_is_over)
    }

    fn work_on_ready(&mut self, port: &mut Port<'_, H>) {
        loop {
            let keys = self.ready.take_streams();
            if keys.is_empty() {
                return self.ready.put_back(keys);
            }
            let mut turn_left = !self.turn_is_over();
            let mut last_reader = None;
            for key in &keys {
                if self.newest == Some(*key) && !self.queued.is_empty() {
                    // It may be out of the way now.
                    self.ready.note_connection();
                }
                self.work(*key, port);
                if turn_left && self.turn_is_over() {
                    turn_left = false;
                    last_reader = Some(*key);
                }
            }
            self.ready.put_back(keys);
            if let Some(key) = last_reader {
                // The next turn begins with those for whom nothing was left of this one.
                self.ready.move_back(key);
            }
            if !turn_left {
                return;
            }
        }
    }

    /// Ends the connection after a GOAWAY: at once, or when what the peer still serves is over.
    fn obey_goaway(&mut self, port: &mut Port<'_, H>) {
        let Some(session) = self.session.as_ref().filter(|_| !self.lost) else { return };
        let Some(Goaway { refused_from, error, drain }) = session.goaway(port.config) else {
            return;
        };
        if !drain {
            return self.lose(&error, port);
        }
        if self.goaway.replace(refused_from) == Some(refused_from) {
            return;
        }
        self.draining = true;
        port.set_state(State::Closed);
        let refused: Vec<usize> = self
            .streams
            .iter()
            .filter(|(_, stream)| {
                matches!(stream.receive, Receive::Queued(_)) || stream.id >= refused_from
            })
            .map(|(key, _)| key)
            .collect();
        for key in refused {
            self.give_up(key, &error, port);
        }
    }

    /// Ends a connection that the peer has left, but for responses that are complete: their readers
    /// may go on at their own pace.
    fn lose(&mut self, error: &Error, port: &mut Port<'_, H>) {
        self.lost = true;
        self.draining = true;
        port.set_state(State::Closed);
        let last = self.last_stream();
        if let Some(session) = &mut self.session {
            session.close();
        }
        self.work_on_ready(port);
        self.take_in_all(port);
        let keys: Vec<usize> = self.streams.iter().map(|(key, _)| key).collect();
        for key in keys {
            let drop_pulled = port.config.drop_unpulled;
            let stays = |stream: &Stream<H, S>| {
                stream.is_complete() && !(drop_pulled && stream.is_pulled())
            };
            if self.streams.get(key).is_some_and(stays) {
                self.leave(key, port);
            } else if let Some(stream) = self.remove(key) {
                stream.lost(error, last, port);
            }
        }
    }

    /// Takes in what has come and nobody wanted so far, so that it is known which responses are complete.
    fn take_in_all(&mut self, port: &mut Port<'_, H>) {
        let Some(session) = &mut self.session else { return };
        for (_, stream) in &mut self.streams {
            self.stalled -= usize::from(stream.stalled);
            let side = &mut Side { session, held: &mut self.held };
            stream.take_in(Share::All, side, port);
        }
    }

    /// Lets the reader of a complete response go on without a connection.
    fn leave(&mut self, key: usize, port: &mut Port<'_, H>) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.send = None;
        for caller in stream.outbox.abandon() {
            port.sink.reply(caller, Answer::Error(Error::Closed));
        }
        self.ready.stream(key).wake();
    }

    /// Ends a connection on which no stream is opened any more when there is none left.
    fn finish_draining(&mut self, port: &mut Port<'_, H>) {
        if !self.draining || self.session.is_none() {
            return;
        }
        port.set_state(State::Closed);
        if self.streams.is_empty() {
            self.end(&S::closed_normally(), port);
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
        let own = self.session.as_ref().filter(|_| !self.lost).and_then(S::deadline);
        [self.deadlines.next(), own].into_iter().flatten().min()
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
        let session = self.session.as_mut().filter(|_| !self.lost);
        if let Some(error) = session.and_then(|session| session.expire(now)) {
            self.lose(&error, port);
            self.finish_draining(port);
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
            false => self.session.as_ref().map_or(Err(Error::Closed), S::check),
        };
        if sound.is_err() && !self.draining {
            let error = self.session.as_ref().map_or(Error::Closed, S::unsound);
            self.lose(&error, port);
            self.finish_draining(port);
        }
        port.sink.reply(caller, sound.map_or_else(Answer::Error, |()| Answer::Ok));
    }

    /// Closes on a command: what is under way ends with `{closed, normal}`, of which receivers
    /// that gave the command themselves need not be told, and neither has their process.
    pub(crate) fn close_by_user(&mut self, by: &H::Caller, port: &mut Port<'_, H>) {
        self.cancel_those(|stream| match &stream.role {
            Role::Messages(messages) => {
                messages.accept.is_none() && H::is_receiver(by, &messages.receiver)
            }
            Role::Whole(_) | Role::Steps(_) | Role::Handled(_) => false,
        });
        self.end(&S::closed_normally(), port);
        port.untold.forget(&H::process(by));
    }

    /// Ends what is left of a connection that counts as closed, so that another can take its place.
    /// Its process knows.
    pub(crate) fn make_way(&mut self, port: &mut Port<'_, H>) {
        self.dismantle(&S::closed_normally(), port);
    }

    /// Tells the connection's process, closes the link, and then tells everyone who waits.
    fn end(&mut self, error: &Error, port: &mut Port<'_, H>) {
        if self.session.is_some() {
            port.set_state(State::Closed);
            port.sink.notify(Notice::Closed);
            self.dismantle(error, port);
        }
    }

    fn dismantle(&mut self, error: &Error, port: &mut Port<'_, H>) {
        let last = self.last_stream();
        if let Some(session) = &mut self.session {
            session.close();
        }
        self.work_on_ready(port);
        let streams = std::mem::take(&mut self.streams);
        self.queued.clear();
        self.postponed.clear();
        self.pulled.clear();
        self.stepped.clear();
        self.handled.clear();
        self.open = 0;
        self.held = 0;
        self.stalled = 0;
        self.count(port);
        self.session = None;
        for (_, stream) in streams {
            stream.lost(error, last, port);
        }
    }
}
