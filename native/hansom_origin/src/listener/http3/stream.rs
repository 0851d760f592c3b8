//! One exchange on one HTTP/3 request stream.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::{Method, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

use super::super::exchange::{Outgoing, Progress, outgoing, progress};
use crate::service::{Abort, Aside, Body, Control, Ending, Outcome, Reply, respond};

/// What a stream asks of its connection.
pub(super) enum Command {
    /// GOAWAY, and the connection stays.
    GoAway,
    /// The end, now.
    End(Ending),
}

/// A stream's view of its connection.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) control: Arc<Control>,
    pub(super) quic: quinn::Connection,
    /// Where the peer came from, as `control` has it.
    pub(super) first_address: SocketAddr,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

impl Connection {
    /// The control of one stream. The peer may have moved since the last one (RFC 9000, section 9).
    fn stream(&self) -> Arc<Control> {
        let address = self.quic.remote_address();
        if address == self.first_address {
            self.control.stream()
        } else {
            self.control.stream_from(address.to_string())
        }
    }
}

type Sender = RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;
type Receiver = RequestStream<h3_quinn::RecvStream, Bytes>;

/// Why an exchange ends early.
enum Stop {
    /// An endpoint's wish.
    Wanted(Ending),
    /// The stream or its connection has failed.
    Gone,
}

impl From<StreamError> for Stop {
    fn from(_: StreamError) -> Self {
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

/// Reads a request and answers it.
pub(super) async fn serve(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    connection: Connection,
) {
    // The h3 crate has told the peer what is wrong with it.
    let Ok((request, stream)) = resolver.resolve_request().await else { return };
    let (mut sender, receiver) = stream.split();
    let control = connection.stream();
    let to_head = request.method() == Method::HEAD;
    let request = request.map(|()| RequestBody { stream: receiver, state: Reading::Data });
    let reply = respond(request, &control);
    let exchange = Exchange { sender: &mut sender, control, connection: &connection };
    let ending = match exchange.run(reply, to_head).await {
        Ok(()) => return,
        Err(Stop::Wanted(ending)) => ending,
        // Without it the drop of the sender would be an ordinary end.
        Err(Stop::Gone) => Ending::Stream(None),
    };
    if let Ending::Stream(code) = ending {
        sender.stop_stream(code.map_or(Code::H3_INTERNAL_ERROR, Code::from));
    } else if connection.commands.send(Command::End(ending)).is_ok() {
        // Until the connection is over, which ends this task too.
        std::future::pending().await
    }
}

struct Exchange<'a> {
    sender: &'a mut Sender,
    control: Arc<Control>,
    connection: &'a Connection,
}

impl Exchange<'_> {
    async fn run(mut self, mut reply: Reply, to_head: bool) -> Result<(), Stop> {
        let response = self.reply(&mut reply).await??;
        let Outgoing { head, body, last } = outgoing(response, to_head);
        if last {
            // A connection that is over has no use for it.
            let _ = self.connection.commands.send(Command::GoAway);
        }
        self.sender.send_response(head).await?;
        if let Some(body) = body {
            self.send_body(body).await?;
        }
        Ok(self.sender.finish().await?)
    }

    async fn reply(&mut self, reply: &mut Reply) -> Result<Outcome, Stop> {
        loop {
            match progress(&self.control, |cx| Pin::new(&mut *reply).poll(cx)).await {
                Progress::Done(outcome) => return Ok(outcome),
                Progress::Asides(asides) => self.send_asides(asides).await?,
            }
        }
    }

    async fn send_body(&mut self, mut body: Body) -> Result<(), Stop> {
        loop {
            match progress(&self.control, |cx| Pin::new(&mut body).poll_frame(cx)).await {
                Progress::Asides(asides) => self.send_asides(asides).await?,
                Progress::Done(None) => return Ok(()),
                Progress::Done(Some(frame)) => match frame?.into_data() {
                    Ok(data) => self.sender.send_data(data).await?,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.sender.send_trailers(trailers).await?;
                    }
                },
            }
        }
    }

    async fn send_asides(&mut self, asides: Vec<Aside>) -> Result<(), Stop> {
        let only_flush = asides.is_empty();
        for aside in asides {
            match aside {
                Aside::Interim(interim) => {
                    let mut head = Response::new(());
                    *head.status_mut() = interim.status;
                    *head.headers_mut() = interim.headers;
                    self.sender.send_response(head).await?;
                }
                // A connection that is over has no use for it.
                Aside::GoAway { .. } => drop(self.connection.commands.send(Command::GoAway)),
                Aside::Raw(_) | Aside::Window(_) => {}
            }
        }
        if only_flush {
            // A break follows, and QUIC would drop what is not acknowledged by then. There is no telling when it is, so
            // the break comes late enough for an ordinary path.
            tokio::time::sleep(2 * self.connection.quic.rtt() + Duration::from_millis(20)).await;
        }
        self.control.flushed();
        Ok(())
    }
}

/// The body of a request. Dropped before its end, it asks the peer to stop (RFC 9114, 4.1.1).
struct RequestBody {
    stream: Receiver,
    state: Reading,
}

#[derive(PartialEq, Eq)]
enum Reading {
    Data,
    Trailers,
    Ended,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = &mut *self;
        if this.state == Reading::Data {
            match ready!(this.stream.poll_recv_data(cx)) {
                Ok(Some(mut data)) => {
                    let data = data.copy_to_bytes(data.remaining());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(None) => this.state = Reading::Trailers,
                Err(reason) => {
                    this.state = Reading::Ended;
                    return Poll::Ready(Some(Err(reason)));
                }
            }
        }
        if this.state == Reading::Trailers {
            let trailers = ready!(this.stream.poll_recv_trailers(cx));
            this.state = Reading::Ended;
            return Poll::Ready(trailers.transpose().map(|end| end.map(Frame::trailers)));
        }
        Poll::Ready(None)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.state == Reading::Data {
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
    }
}
