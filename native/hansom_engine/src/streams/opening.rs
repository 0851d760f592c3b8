//! From a request to an open stream.

use std::task::Context;

use super::Streams;
use super::inbox::Inbox;
use super::outbox::{MOST_WAITING, Outbox};
use super::session::{Opened, Room, Session};
use super::stream::{Receive, Role, Stream, Timers, Wants};
use crate::command::{Content, Request, RequestOptions, SendTimeout};
use crate::config::MaxStreams;
use crate::error::Error;
use crate::event::Answer;
use crate::host::Host;
use crate::port::Port;

impl<H: Host, S: Session> Streams<H, S> {
    /// Begins an exchange; its key unless it failed at once.
    pub(super) fn start(
        &mut self,
        request: Request<H::Payload>,
        options: RequestOptions,
        role: Role<H>,
        port: &mut Port<'_, H>,
    ) -> Option<usize> {
        let refuse = |role: Role<H>, error, port: &mut Port<'_, H>| {
            if let Some(caller) = role.into_caller() {
                port.sink.reply(caller, Answer::Error(error));
            }
            None
        };
        let Some(session) = self.session.as_ref().filter(|_| !self.draining) else {
            return refuse(role, Error::InvalidState, port);
        };
        if matches!(request.content, Content::Stream) && !role.sends_in_pieces() {
            return refuse(role, Error::NotSupported, port);
        }
        let head = match session.head(&request) {
            Ok(head) => head,
            Err(error) => return refuse(role, error, port),
        };
        let send = options.send_timeout.unwrap_or(S::send_timeout(port.config));
        let outbox = Outbox::new(request.content);
        let at_once = session.content_room() + MOST_WAITING as u64;
        if send == SendTimeout::Never && outbox.len() as u64 > at_once {
            return refuse(role, Error::SendBufferFull, port);
        }
        let later = !session.may_send(&head);
        let entry = self.streams.vacant_entry();
        let key = entry.key();
        entry.insert(Stream {
            role,
            head_only: S::expects_no_content(&head),
            receive: Receive::Queued(Box::new(head)),
            send: None,
            again: None,
            outbox,
            inbox: Inbox::new(),
            waker: self.ready.stream(key),
            id: 0,
            response: None,
            interim: 0,
            untold: Vec::new(),
            trailers: None,
            outcome: None,
            counted: false,
            refused: false,
            stalled: false,
            end_told: false,
            unreleased: 0,
            wants: Wants {
                interim: options.interim,
                trailers: options.trailers || port.config.trailers,
            },
            timers: Timers {
                queued: options.recv_timeout.unwrap_or(port.config.recv_timeout),
                receive: options.recv_timeout.unwrap_or(S::receive_timeout(port.config)),
                receive_deadline: None,
                send,
                send_deadline: None,
                entered: None,
            },
        });
        if later {
            self.postponed.push_back(key);
        } else {
            self.queued.push_back(key);
            self.open_queued(port);
            if !self.streams.contains(key) {
                return None;
            }
        }
        port.status.count_request();
        // One that still waits has its deadline set by this.
        self.ready.note(key);
        Some(key)
    }

    /// Whether one more stream can be opened.
    fn poll_room(&mut self) -> Room {
        let Some(session) = &mut self.session else { return Room::Over };
        session.poll_room(self.open, &mut Context::from_waker(self.ready.connection()))
    }

    /// Whether requests that were not to be sent before the end of the handshake can be sent now.
    fn may_send_postponed(&self) -> bool {
        let oldest = self.postponed.front().and_then(|key| self.streams.get(*key));
        match (&self.session, oldest.map(|stream| &stream.receive)) {
            (Some(session), Some(Receive::Queued(head))) => session.may_send(head),
            _ => false,
        }
    }

    /// Opens streams that wait, as far as the peer has room for them.
    pub(super) fn open_queued(&mut self, port: &mut Port<'_, H>) {
        if self.may_send_postponed() {
            // Most of them have waited for longer than the others.
            self.postponed.append(&mut self.queued);
            std::mem::swap(&mut self.postponed, &mut self.queued);
        }
        while let Some(key) = self.queued.front().copied() {
            match self.poll_room() {
                Room::Yes => {}
                Room::Later if S::max_streams(port.config) == MaxStreams::Fail => {
                    self.give_up(key, &Error::MaxStreamsExceeded, port);
                    continue;
                }
                // If it is over, those who wait end with the connection.
                Room::Later | Room::Over => return,
                Room::AfterNewest => {
                    if let Some(newest) = self.newest {
                        self.work(newest, port);
                    }
                    return;
                }
            }
            self.queued.pop_front();
            if let Err(error) = self.open(key) {
                self.give_up(key, &error, port);
            }
        }
    }

    fn open(&mut self, key: usize) -> Result<(), Error> {
        let session = self.session.as_mut().ok_or(Error::Closed)?;
        let stream = self.streams.get_mut(key).ok_or(Error::NoStream)?;
        let Receive::Queued(head) = std::mem::replace(&mut stream.receive, Receive::Over) else {
            return Err(Error::InvalidState);
        };
        let bodyless = stream.outbox.is_bodyless();
        let again = if bodyless { session.keep(&head) } else { None };
        let Opened { id, incoming, mut outgoing, is_last } = session.open(*head, bodyless)?;
        if bodyless {
            stream.outbox.ended_with_head();
        } else if let Some(data) = stream.outbox.take_small(session.content_room()) {
            // What certainly fits needs no look at the windows, and leaves with the head.
            session.send(&mut outgoing, data, true).map_err(|_| Error::ProtocolError)?;
        }
        stream.opened(id, incoming, outgoing);
        self.open += 1;
        stream.again = again.map(Box::new);
        if matches!(stream.role, Role::Handled(_)) {
            self.handled.insert(id, key);
        }
        self.newest = Some(key);
        self.ready.note(key);
        self.draining |= is_last;
        Ok(())
    }

    /// Puts streams whose requests were lost back in front of those that wait, in order.
    pub(super) fn open_again(&mut self) {
        let mut lost: Vec<(u64, usize)> = Vec::new();
        for (key, stream) in &mut self.streams {
            if let Some(head) = stream.again.take() {
                lost.push((stream.id, key));
                stream.receive = Receive::Queued(head);
                stream.send = None;
                self.open -= usize::from(std::mem::take(&mut stream.counted));
                stream.outbox.begin_again();
            }
            // The others fail.
            self.ready.note(key);
        }
        lost.sort_unstable();
        for (_, key) in lost.into_iter().rev() {
            self.queued.push_front(key);
        }
        self.newest = None;
        self.ready.note_connection();
    }
}
