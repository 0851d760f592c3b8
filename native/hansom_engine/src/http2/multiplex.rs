//! An HTTP/2 connection as one of many exchanges at once.
//!
//! Data is taken in at once but the windows are reopened only as it is handed on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::time::Instant;

use super::ending;
use super::session::Session;
use crate::command::{Command, Request, SendTimeout};
use crate::config::{Config, MaxStreams};
use crate::error::{Error, H2Code, Limit};
use crate::event::{Answer, StreamEvent};
use crate::headers::HeaderList;
use crate::host::Host;
use crate::port::Port;
use crate::streams::{Came, Flush, Goaway, Opened, Progress, Refused, Room, head};
use crate::transport::Link;

/// Identifiers beyond this one are not used: a new connection takes over before they run out.
const LAST_STREAM: u32 = (1 << 31) - 1024;
/// What is asked of the windows at a time; the protocol library keeps no more than this.
const MOST_RESERVED: usize = 1 << 20;
/// The connection's window grows and shrinks in steps of so many bytes.
const WINDOW_STEP: usize = 1 << 20;

/// How far a response has come.
pub(crate) enum Incoming {
    Head(ResponseFuture),
    Body(RecvStream),
    Trailers(RecvStream),
    Over,
}

impl crate::streams::Session for Session {
    type Head = http::Request<()>;
    type Incoming = Incoming;
    type Outgoing = SendStream<Bytes>;

    const HANDLERS: bool = true;
    const STREAMS_RESPONSES: bool = false;
    const TAKES_ALL: bool = true;
    const WOKEN_FROM_OUTSIDE: bool = false;
    const CANCEL: u64 = H2Code::CANCEL.0 as u64;

    fn max_streams(config: &Config) -> MaxStreams {
        config.http2.max_streams
    }

    fn receive_timeout(config: &Config) -> Option<Duration> {
        config.recv_timeout
    }

    fn send_timeout(config: &Config) -> SendTimeout {
        config.http2.send_timeout
    }

    fn head<P>(&self, request: &Request<P>) -> Result<http::Request<()>, Error> {
        let (head, size) = head::request(request, &self.origin)?;
        if size > self.line.peer().max_header_list as usize {
            return Err(Error::HeaderListTooLarge);
        }
        Ok(head)
    }

    fn expects_no_content(head: &http::Request<()>) -> bool {
        head.method() == http::Method::HEAD
    }

    fn keep(&self, _: &http::Request<()>) -> Option<http::Request<()>> {
        None
    }

    fn poll_room(&mut self, open: usize, cx: &mut Context<'_>) -> Room {
        if open >= self.line.peer().max_streams as usize {
            // Raised by settings of the peer, which `poll` looks out for.
            return Room::Later;
        }
        match self.requests.poll_ready(cx) {
            Poll::Ready(Ok(())) => Room::Yes,
            Poll::Ready(Err(_)) => Room::Over,
            // This took the place of the waker of the stream that is in the way.
            Poll::Pending => Room::AfterNewest,
        }
    }

    fn content_room(&self) -> u64 {
        let peer = self.line.peer();
        peer.window.saturating_sub(self.handed).min(peer.initial_window.into())
    }

    fn open(&mut self, head: http::Request<()>, bodyless: bool) -> Result<Opened<Self>, Error> {
        let (response, outgoing) = self
            .requests
            .send_request(head, bodyless)
            .map_err(|error| ending::request_error(&error, &self.line, self.tls))?;
        let id = outgoing.stream_id().as_u32();
        Ok(Opened {
            id: id.into(),
            incoming: Incoming::Head(response),
            outgoing,
            is_last: id >= LAST_STREAM,
        })
    }

    fn begin_turn(&mut self, turn: usize, cx: &Context<'_>) {
        self.line.begin_turn(turn, std::mem::take(&mut self.taken), cx);
    }

    fn turn_is_over(&self) -> bool {
        self.line.turn_is_over()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Progress {
        let allowed = self.line.peer().max_streams;
        self.line.begin_writing();
        let polled = Pin::new(&mut self.connection).poll(cx);
        if self.line.peer().max_streams > allowed {
            // The protocol library tells nobody of settings.
            cx.waker().wake_by_ref();
        }
        if let Some(content) = self.line.all_content() {
            // The rest was handed over for streams that were reset. Where the peer has made its windows
            // smaller since, some of it may wait in the library still, which does no harm.
            self.handed = content;
        }
        match polled {
            Poll::Pending => self.violation(cx).map_or(Progress::Open, Progress::Over),
            Poll::Ready(Ok(())) => Progress::Over(ending::lost(&self.line, self.tls)),
            Poll::Ready(Err(error)) => {
                Progress::Over(ending::connection_error(&error, &self.line, self.tls))
            }
        }
    }

    fn end_turn(&mut self) -> Result<(), Error> {
        self.line.end_turn().map_err(|_| ending::lost(&self.line, self.tls))
    }

    fn allows_inline(&self) -> bool {
        self.line.read_registered()
    }

    fn heard(&mut self, cx: &mut Context<'_>) {
        self.keepalive.heard(cx);
    }

    fn last_stream(&self) -> u64 {
        self.line.peer().goaway.map_or(u64::from(u32::MAX >> 1), |(last, _)| last.into())
    }

    fn goaway(&self, config: &Config) -> Option<Goaway> {
        let (last, code) = self.line.peer().goaway?;
        Some(Goaway {
            refused_from: u64::from(last) + 1,
            error: Error::Goaway(H2Code(code)),
            drain: config.http2.drain_on_goaway && code == H2Code::NO_ERROR.0,
        })
    }

    fn set_window(&mut self, held: usize, _: usize, connection: &Waker) {
        const LARGEST: usize = (1 << 31) - 1;
        let held = held / WINDOW_STEP * WINDOW_STEP;
        let window = self.base_window.saturating_add(held).min(LARGEST);
        if window != self.window
            && let Ok(size) = u32::try_from(window)
        {
            self.window = window;
            self.connection.set_target_window_size(size);
            connection.wake_by_ref();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.keepalive.deadline()
    }

    fn expire(&mut self, now: Instant) -> Option<Error> {
        (!self.keepalive.expire(now)).then_some(Error::ClosedBy("ping_timeout"))
    }

    fn poll_receive(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Came, Error>> {
        let failed = |session: &Self, error: &h2::Error| {
            Poll::Ready(Err(ending::stream_error(error, &session.line, session.tls)))
        };
        match incoming {
            Incoming::Over => Poll::Pending,
            Incoming::Head(response) => {
                if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                    self.taken.add_head();
                    let status = interim.status().as_u16();
                    let headers = self.head_list(interim.headers());
                    return Poll::Ready(headers.map(|headers| Came::Interim { status, headers }));
                }
                match Pin::new(response).poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => failed(self, &error),
                    Poll::Ready(Ok(response)) => {
                        self.taken.add_head();
                        let (parts, body) = response.into_parts();
                        let ended = body.is_end_stream();
                        *incoming = if ended { Incoming::Over } else { Incoming::Body(body) };
                        let status = parts.status.as_u16();
                        Poll::Ready(self.head_list(&parts.headers).map(|headers| {
                            let length = length(&headers);
                            Came::Head { status, headers, length, ended }
                        }))
                    }
                }
            }
            Incoming::Body(body) => match body.poll_data(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Err(error))) => failed(self, &error),
                Poll::Ready(Some(Ok(data))) => {
                    if !data.is_empty() {
                        self.taken.add(data.len());
                    }
                    let ended = body.is_end_stream();
                    Poll::Ready(Ok(Came::Data { data, ended }))
                }
                Poll::Ready(None) => {
                    if let Incoming::Body(body) = std::mem::replace(incoming, Incoming::Over) {
                        *incoming = Incoming::Trailers(body);
                    }
                    Poll::Ready(Ok(Came::Nothing))
                }
            },
            Incoming::Trailers(body) => match body.poll_trailers(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => failed(self, &error),
                Poll::Ready(Ok(trailers)) => {
                    if trailers.is_some() {
                        self.taken.add_head();
                    }
                    let list = |trailers| {
                        head::list(trailers, self.limits.trailer_bytes, Limit::TrailerBytes)
                    };
                    Poll::Ready(trailers.as_ref().map(list).transpose().map(Came::End))
                }
            },
        }
    }

    fn release(incoming: &mut Incoming, bytes: usize) {
        if let Incoming::Body(stream) | Incoming::Trailers(stream) = incoming {
            // Refused only for more than was received.
            let _ = stream.flow_control().release_capacity(bytes);
        }
    }

    fn stop(_: &mut Incoming, _: u64) {
        // A reset of the sending half is one of the stream.
    }

    fn is_flushed(_: &SendStream<Bytes>) -> bool {
        true
    }

    fn flush(&mut self, _: &mut SendStream<Bytes>, _: &mut Context<'_>) -> Flush {
        Flush::Done
    }

    fn poll_capacity(
        &mut self,
        stream: &mut SendStream<Bytes>,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Refused>> {
        let mut room = stream.capacity();
        if room == 0 {
            stream.reserve_capacity(wanted.min(MOST_RESERVED));
            room = stream.capacity();
        }
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        stream.poll_capacity(cx).map(|granted| match granted {
            Some(Ok(room)) => Ok(room),
            Some(Err(_)) | None => Err(Refused),
        })
    }

    fn send(
        &mut self,
        stream: &mut SendStream<Bytes>,
        data: Bytes,
        end: bool,
    ) -> Result<(), Refused> {
        self.handed += data.len() as u64;
        stream.send_data(data, end).map_err(|_| Refused)
    }

    fn send_trailers(stream: &mut SendStream<Bytes>, trailers: HeaderMap) -> Result<(), Refused> {
        stream.send_trailers(trailers).map_err(|_| Refused)
    }

    fn reset(stream: &mut SendStream<Bytes>, code: u64) {
        stream.send_reset(Reason::from(u32::try_from(code).unwrap_or(H2Code::CANCEL.0)));
    }

    fn malformed() -> Error {
        Error::StreamError(H2Code::PROTOCOL_ERROR)
    }

    fn closed_normally() -> Error {
        Error::ClosedBy("normal")
    }

    fn code_of(error: &Error) -> u64 {
        match error {
            Error::StreamError(H2Code::PROTOCOL_ERROR) => H2Code::PROTOCOL_ERROR.0.into(),
            _ => Self::CANCEL,
        }
    }

    fn send_error(error: &Error) -> Error {
        match error {
            Error::StreamError(_) => Error::SendReset,
            other => other.clone(),
        }
    }

    fn handled_end<H: Host>(error: &Error, last: u64) -> StreamEvent<H> {
        match error {
            Error::StreamError(code) => StreamEvent::Reset(code.0.into()),
            Error::Goaway(code) => StreamEvent::Goaway { last, code: code.0.into() },
            Error::ClosedBy(reason) => StreamEvent::Closed(reason),
            _ => StreamEvent::Reset(Self::CANCEL),
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.line.with_link(|link| link.map_or(Err(Error::Closed), Link::check))
    }

    fn unsound(&self) -> Error {
        ending::lost(&self.line, self.tls)
    }

    fn ask<H: Host>(&self, command: Command<H>, port: &mut Port<'_, H>) {
        match command {
            Command::Send { caller, .. } | Command::Recv { caller, .. } => {
                // Raw bytes in between would break every stream.
                port.sink.reply(caller, Answer::Error(Error::NotSupported));
            }
            other => self.line.with_link(|link| port.ask_link(link, other)),
        }
    }

    fn is_tls(&self) -> bool {
        self.tls
    }

    fn is_carried(&self) -> bool {
        self.line.with_link(|link| link.is_some_and(Link::is_carried))
    }

    fn take_counts(&mut self) -> (usize, usize) {
        self.line.take_counts()
    }

    fn close(&mut self) {
        self.line.close();
    }
}

impl Session {
    /// The fields of a head, final or interim.
    fn head_list(&self, fields: &HeaderMap) -> Result<HeaderList, Error> {
        head::list(fields, self.limits.header_bytes, Limit::HeaderBytes)
    }

    /// Why the protocol library has given the connection up, if it has. It tells the peer before it
    /// comes to its end, and a peer that does not read keeps it from that.
    fn violation(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        match self.observer.poll_ready(cx) {
            Poll::Ready(Err(error)) if error.is_library() => {
                Some(ending::connection_error(&error, &self.line, self.tls))
            }
            _ => None,
        }
    }
}

fn length(headers: &HeaderList) -> Option<u64> {
    let value = headers.values(b"content-length").next()?;
    std::str::from_utf8(value).ok()?.parse().ok()
}
