//! An HTTP/3 connection as one of many exchanges at once.
//!
//! Data stays in the library until it is wanted, so that each stream's own window bounds what a
//! slow reader holds.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use quinn::ReadError;
use tokio::time::Instant;

use super::code::{Code, Fault, MALFORMED};
use super::session::Session;
use super::stream::{Chunks, Incoming, Outgoing};
use super::{frames, head};
use crate::command::{Command, Request, SendTimeout};
use crate::config::{Config, MaxStreams};
use crate::error::Error;
use crate::event::{Answer, StreamEvent};
use crate::host::Host;
use crate::port::Port;
use crate::streams::head::request;
use crate::streams::{Came, Flush, Goaway, Opened, Progress, Refused, Room};

/// Content handed over at a time, each time in a frame of its own.
const PIECE: usize = 64 << 10;

/// A request's head.
#[derive(Clone)]
pub(crate) struct Head {
    frame: Bytes,
    head_only: bool,
    /// The request may be sent twice without harm (RFC 9110, section 9.2.1).
    safe: bool,
}

impl crate::streams::Session for Session {
    type Head = Head;
    type Incoming = Incoming;
    type Outgoing = Outgoing;

    const HANDLERS: bool = false;
    const STREAMS_RESPONSES: bool = true;
    const TAKES_ALL: bool = false;
    const WOKEN_FROM_OUTSIDE: bool = true;
    const CANCEL: u64 = Code::REQUEST_CANCELLED.0 as u64;

    fn max_streams(config: &Config) -> MaxStreams {
        config.http3.max_streams
    }

    fn receive_timeout(_: &Config) -> Option<Duration> {
        // A silent peer is noticed by QUIC.
        None
    }

    fn send_timeout(config: &Config) -> SendTimeout {
        config.http3.send_timeout
    }

    fn head<P>(&self, request_: &Request<P>) -> Result<Head, Error> {
        let (head, size) = request(request_, &self.origin)?;
        if size as u64 > self.control.max_section {
            return Err(Error::HeaderListTooLarge);
        }
        let method = head.method();
        Ok(Head {
            head_only: method == Method::HEAD,
            safe: method.is_safe(),
            frame: head::request(&head).into(),
        })
    }

    fn expects_no_content(head: &Head) -> bool {
        head.head_only
    }

    fn keep(&self, head: &Head) -> Option<Head> {
        self.early.is_some().then(|| head.clone())
    }

    fn may_send(&self, head: &Head) -> bool {
        head.safe || self.early.is_none()
    }

    fn poll_room(&mut self, _: usize, cx: &mut Context<'_>) -> Room {
        if self.failure.is_some() {
            return Room::Over;
        }
        if self.spare.is_some() {
            return Room::Yes;
        }
        let connection = self.quic.connection();
        let opened = match &mut self.opening {
            Some(opening) => opening.as_mut().poll(cx),
            None => match pin!(connection.open_bi()).poll(cx) {
                Poll::Pending => {
                    // It has to be kept to be woken, and asked to be so.
                    let connection = connection.clone();
                    let mut opening = Box::pin(async move { connection.open_bi().await });
                    let opened = opening.as_mut().poll(cx);
                    self.opening = Some(opening);
                    opened
                }
                ready => ready,
            },
        };
        match opened {
            Poll::Pending => Room::Later,
            Poll::Ready(opened) => {
                self.opening = None;
                self.spare = opened.ok();
                if self.spare.is_some() { Room::Yes } else { Room::Over }
            }
        }
    }

    fn content_room(&self) -> u64 {
        PIECE as u64
    }

    fn open(&mut self, head: Head, bodyless: bool) -> Result<Opened<Self>, Error> {
        let (send, recv) = self.spare.take().ok_or(Error::Closed)?;
        self.control.forgive();
        let outgoing = Outgoing::new(send, head.frame, bodyless);
        Ok(Opened {
            id: outgoing.id(),
            incoming: Incoming::new(recv, head.head_only),
            outgoing,
            is_last: false,
        })
    }

    fn begin_turn(&mut self, turn: usize, _: &Context<'_>) {
        self.turn = turn;
    }

    fn turn_is_over(&self) -> bool {
        self.turn == 0
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Progress {
        self.poll_all(cx)
    }

    fn allows_inline(&self) -> bool {
        // The library's own lock may be held for long.
        false
    }

    fn heard(&mut self, _: &mut Context<'_>) {}

    fn last_stream(&self) -> u64 {
        self.control.goaway.unwrap_or(u64::MAX)
    }

    fn goaway(&self, _: &Config) -> Option<Goaway> {
        let refused_from = self.control.goaway?;
        Some(Goaway { refused_from, error: Error::ConnectionClosed("goaway"), drain: true })
    }

    fn set_window(&mut self, _: usize, _: usize, _: &Waker) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn expire(&mut self, _: Instant) -> Option<Error> {
        None
    }

    fn poll_receive(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Came, Error>> {
        loop {
            match incoming.next(self.limits) {
                Ok(Some(came)) => return Poll::Ready(Ok(came)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(self.fault(fault))),
            }
            if self.turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match incoming.poll_chunks(&mut self.scratch, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Chunks::Some(bytes)) => {
                    self.received += bytes;
                    self.turn = self.turn.saturating_sub(bytes);
                }
                Poll::Ready(Chunks::End) => {
                    return Poll::Ready(incoming.end().map_err(|fault| self.fault(fault)));
                }
                Poll::Ready(Chunks::Failed(ReadError::ZeroRttRejected)) if self.early.is_some() => {
                    return Poll::Pending;
                }
                Poll::Ready(Chunks::Failed(error)) => {
                    return Poll::Ready(Err(match error {
                        ReadError::Reset(code) => Error::StreamReset(code.into_inner()),
                        ReadError::ConnectionLost(reason) => self.loss(&reason),
                        ReadError::ZeroRttRejected => Error::EarlyDataRejected,
                        ReadError::ClosedStream | ReadError::IllegalOrderedRead => MALFORMED,
                    }));
                }
            }
        }
    }

    fn release(_: &mut Incoming, _: usize) {
        // The library reopens the window as data is taken from it.
    }

    fn stop(incoming: &mut Incoming, code: u64) {
        incoming.stop(code);
    }

    fn is_flushed(outgoing: &Outgoing) -> bool {
        outgoing.is_flushed()
    }

    fn flush(&mut self, outgoing: &mut Outgoing, cx: &mut Context<'_>) -> Flush {
        outgoing.flush(&mut self.sent, cx)
    }

    fn poll_capacity(
        &mut self,
        _: &mut Outgoing,
        wanted: usize,
        _: &mut Context<'_>,
    ) -> Poll<Result<usize, Refused>> {
        Poll::Ready(Ok(wanted.min(PIECE)))
    }

    fn send(&mut self, outgoing: &mut Outgoing, data: Bytes, end: bool) -> Result<(), Refused> {
        if data.is_empty() {
            outgoing.push([], end);
        } else {
            let mut head = Vec::with_capacity(8);
            frames::head(frames::DATA, data.len(), &mut head);
            outgoing.push([head.into(), data], end);
        }
        Ok(())
    }

    fn send_trailers(outgoing: &mut Outgoing, trailers: HeaderMap) -> Result<(), Refused> {
        outgoing.push([head::trailers(&trailers).into()], true);
        Ok(())
    }

    fn reset(outgoing: &mut Outgoing, code: u64) {
        outgoing.reset(code);
    }

    fn malformed() -> Error {
        MALFORMED
    }

    fn closed_normally() -> Error {
        Error::ConnectionClosed("normal")
    }

    fn code_of(error: &Error) -> u64 {
        match error {
            Error::NoStatus => Code::MESSAGE_ERROR.value(),
            error if *error == MALFORMED => Code::MESSAGE_ERROR.value(),
            _ => Self::CANCEL,
        }
    }

    fn send_error(error: &Error) -> Error {
        match error {
            Error::StreamReset(_) | Error::NoStatus => Error::SendReset,
            other => other.clone(),
        }
    }

    fn handled_end<H: Host>(error: &Error, _: u64) -> StreamEvent<H> {
        match error {
            Error::StreamReset(code) => StreamEvent::Reset(*code),
            Error::ConnectionClosed(reason) => StreamEvent::Closed(reason),
            _ => StreamEvent::Reset(Self::CANCEL),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match &self.failure {
            Some(_) => Err(Error::Closed),
            None => self.quic.check().map_err(|_| Error::Closed),
        }
    }

    fn unsound(&self) -> Error {
        match (&self.failure, self.quic.connection().close_reason()) {
            (None, Some(reason)) => self.loss(&reason),
            (failure, _) => failure.clone().unwrap_or_else(Self::closed_normally),
        }
    }

    fn ask<H: Host>(&self, command: Command<H>, port: &mut Port<'_, H>) {
        let (caller, answer) = match command {
            Command::PeerName { caller } => (caller, Ok(Answer::Address(self.quic.peer_address()))),
            Command::SockName { caller } => {
                (caller, self.quic.local_address().map(Answer::Address))
            }
            Command::PeerCertificate { caller } => {
                (caller, self.quic.peer_certificate().map(Answer::Certificate))
            }
            Command::SetOptions { caller, .. } => (caller, Err(Error::NotSupported)),
            Command::Migrate { caller } => (caller, self.quic.migrate().map(|()| Answer::Ok)),
            other => return port.ask_link(None, other),
        };
        port.sink.reply(caller, answer.unwrap_or_else(Answer::Error));
    }

    fn is_tls(&self) -> bool {
        true
    }

    fn take_counts(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.received), std::mem::take(&mut self.sent))
    }

    fn close(&mut self) {
        self.finish();
        // What has come already is not lost, however much it is.
        self.turn = usize::MAX;
    }
}

impl Session {
    fn fault(&mut self, fault: Fault) -> Error {
        match fault {
            Fault::Stream(error) => error,
            Fault::Connection(violation) => {
                self.give_up(violation);
                violation.into()
            }
        }
    }
}
