//! One exchange on one HTTP/2 stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame};

use super::super::exchange::{Outgoing, Progress, outgoing, progress};
use super::outlet::{Command, Outlet};
use crate::service::{Abort, Aside, Body, Control, Ending, Outcome, Reply, respond};

/// Most bytes one data frame asks room for.
const PIECE: usize = 256 * 1024;

/// A request whose response has begun, or is still to come.
pub(super) struct Exchange {
    reply: Reply,
    sender: SendResponse<Bytes>,
    control: Arc<Control>,
    outlet: Arc<Outlet>,
    to_head: bool,
}

/// Why an exchange ends early.
enum Stop {
    /// An endpoint's wish.
    Wanted(Ending),
    /// The stream or its connection has failed.
    Gone,
}

impl From<h2::Error> for Stop {
    fn from(_: h2::Error) -> Self {
        Stop::Gone
    }
}

impl From<Abort> for Stop {
    fn from(abort: Abort) -> Self {
        match abort {
            Abort::Wanted(ending) => Stop::Wanted(ending),
            Abort::RequestBody(_) => Stop::Gone,
        }
    }
}

/// Answers a request at once where that is possible; otherwise gives what is left to do.
pub(super) fn begin(
    request: Request<RecvStream>,
    mut sender: SendResponse<Bytes>,
    connection: &Control,
    outlet: &Arc<Outlet>,
) -> Option<Exchange> {
    let control = connection.stream();
    let to_head = request.method() == Method::HEAD;
    let request = request.map(|stream| RequestBody { stream, data_ended: false });
    match respond(request, &control) {
        Reply::Now(Some(Ok(response))) if is_small(response.body()) => {
            let Outgoing { head, body, last } = outgoing(response, to_head);
            if last {
                outlet.command(Command::Finish);
            }
            let stream = sender.send_response(head, body.is_none());
            // An error means that the peer has given the stream up.
            if let (Ok(mut stream), Some(Body::Full(bytes))) = (stream, body) {
                let _ = stream.send_data(bytes, true);
            }
            None
        }
        reply => Some(Exchange { reply, sender, control, outlet: Arc::clone(outlet), to_head }),
    }
}

fn is_small(body: &Body) -> bool {
    const SMALL: usize = 16 * 1024;
    match body {
        Body::Empty => true,
        Body::Full(bytes) => bytes.len() <= SMALL,
        Body::Pattern { .. } | Body::Boxed(_) => false,
    }
}

impl Exchange {
    /// Brings the exchange to its end.
    pub(super) async fn run(mut self) {
        let mut stream = None;
        if let Err(Stop::Wanted(ending)) = self.answer(&mut stream).await {
            match ending {
                Ending::Stream(code) => {
                    let code = code.and_then(|code| u32::try_from(code).ok());
                    let reason = code.map_or(Reason::INTERNAL_ERROR, Reason::from);
                    match &mut stream {
                        Some(stream) => stream.send_reset(reason),
                        None => self.sender.send_reset(reason),
                    }
                }
                ending => self.outlet.command(Command::End(ending)),
            }
        }
    }

    async fn answer(&mut self, stream: &mut Option<SendStream<Bytes>>) -> Result<(), Stop> {
        let response = self.reply().await??;
        let Outgoing { head, body, last } = outgoing(response, self.to_head);
        if last {
            self.outlet.command(Command::Finish);
        }
        let begun = self.sender.send_response(head, body.is_none())?;
        let stream = stream.insert(begun);
        match body {
            None => Ok(()),
            Some(body) => self.send_body(stream, body).await,
        }
    }

    async fn reply(&mut self) -> Result<Outcome, Stop> {
        loop {
            let (reply, sender) = (&mut self.reply, &mut self.sender);
            let poll = |cx: &mut Context<'_>| match Pin::new(&mut *reply).poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                Poll::Pending => sender.poll_reset(cx).map(|_| Err(Stop::Gone)),
            };
            match progress(&self.control, poll).await {
                Progress::Done(outcome) => return outcome,
                Progress::Asides(asides) => self.send_asides(asides).await?,
            }
        }
    }

    async fn send_body(
        &mut self,
        stream: &mut SendStream<Bytes>,
        mut body: Body,
    ) -> Result<(), Stop> {
        loop {
            let poll = |cx: &mut Context<'_>| match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending => stream.poll_reset(cx).map(|_| Err(Stop::Gone)),
            };
            let frame = match progress(&self.control, poll).await {
                Progress::Asides(asides) => {
                    self.send_asides(asides).await?;
                    continue;
                }
                Progress::Done(frame) => frame?.transpose()?,
            };
            match frame.map(Frame::into_data) {
                None => return Ok(stream.send_data(Bytes::new(), true)?),
                Some(Ok(data)) => {
                    let end = body.is_end_stream();
                    send_data(stream, data, end).await?;
                    if end {
                        return Ok(());
                    }
                }
                Some(Err(frame)) => {
                    return Ok(stream.send_trailers(frame.into_trailers().unwrap_or_default())?);
                }
            }
        }
    }

    async fn send_asides(&mut self, asides: Vec<Aside>) -> Result<(), Stop> {
        for aside in asides {
            match aside {
                Aside::Interim(interim) => {
                    let mut head = Response::new(());
                    *head.status_mut() = interim.status;
                    *head.headers_mut() = interim.headers;
                    self.sender.send_informational(head)?;
                }
                Aside::Raw(bytes) => self.outlet.inject(&bytes),
                Aside::GoAway { code, last } => self.outlet.inject(&go_away(code, last)),
                Aside::Window(bytes) => self.outlet.command(Command::Window(bytes)),
            }
        }
        self.outlet.settled().await;
        self.control.flushed();
        Ok(())
    }
}

/// A GOAWAY frame (RFC 9113, 6.8).
fn go_away(code: u32, last: u32) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0]);
    frame.put_u32(last);
    frame.put_u32(code);
    frame.freeze()
}

/// Sends as the windows of the peer allow.
async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<(), Stop> {
    if data.is_empty() {
        return Ok(stream.send_data(data, end)?);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(PIECE));
        let room = std::future::poll_fn(|cx| {
            if stream.capacity() > 0 {
                return Poll::Ready(Ok(stream.capacity()));
            }
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(room)) => Poll::Ready(room.map_err(Stop::from)),
                Poll::Ready(None) => Poll::Ready(Err(Stop::Gone)),
                Poll::Pending => stream.poll_reset(cx).map(|_| Err(Stop::Gone)),
            }
        })
        .await?;
        let piece = data.split_to(room.min(data.len()));
        let last = data.is_empty();
        if !piece.is_empty() {
            stream.send_data(piece, end && last)?;
        }
    }
    Ok(())
}

/// The body of a request. What the endpoint reads opens the window again.
struct RequestBody {
    stream: RecvStream,
    data_ended: bool,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        while !this.data_ended {
            match std::task::ready!(this.stream.poll_data(cx)) {
                Some(data) => {
                    let data = data?;
                    this.stream.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                None => this.data_ended = true,
            }
        }
        this.stream.poll_trailers(cx).map(|end| end.transpose().map(|end| end.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
