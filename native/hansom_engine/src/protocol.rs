//! The protocol spoken on a connection: the one place that tells them apart.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use crate::command::Command;
use crate::config::{Config, Dial};
use crate::connect::{self, Reached};
use crate::error::Error;
use crate::event::{HttpProtocol, Message};
use crate::host::Host;
use crate::http1::Http1;
use crate::http2::{self, Http2};
use crate::http3::{self, Http3};
use crate::port::Port;
use crate::streams;
use crate::transport::Link;

/// What a dial or an upgrade ends with: something a protocol can be spoken on.
pub(crate) enum Established {
    /// A byte stream for HTTP/1.1.
    Http1(Link),
    /// An HTTP/2 connection whose peer has sent its settings.
    Http2(Box<http2::Session>),
    /// An HTTP/3 connection.
    Http3(Box<http3::Session>),
}

impl Established {
    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Http1(link) => link.is_tls(),
            Self::Http2(session) => streams::Session::is_tls(&**session),
            Self::Http3(_) => true,
        }
    }
}

/// What has to be known to get from a link to a protocol.
pub(crate) struct Terms {
    /// Speak HTTP/2 without TLS.
    pub(crate) h2c: bool,
    /// The port dialled.
    pub(crate) port: u16,
    /// For the exchange of HTTP/2 settings.
    pub(crate) timeout: Option<Duration>,
    /// The connection's own settings.
    pub(crate) config: Config,
}

/// Dials and agrees on a protocol.
pub(crate) async fn dial(target: &Dial, terms: Terms) -> Result<Established, Error> {
    let Terms { config, port, .. } = &terms;
    let greet = async |quic| http3::Session::open(quic, config, *port).await.map(Box::new);
    match connect::dial(target, &config.http3, greet).await? {
        Reached::Link(link) => establish(link, terms).await,
        Reached::Quic(session) => Ok(Established::Http3(session)),
    }
}

/// Chooses the protocol for an open link and makes it ready for use.
///
/// What the TLS handshake agreed on decides; no agreement means HTTP/1.1. Without TLS it is
/// HTTP/1.1 too, unless prior knowledge says otherwise.
pub(crate) async fn establish(link: Link, terms: Terms) -> Result<Established, Error> {
    let http2 = if link.is_tls() { link.alpn() == Some(b"h2") } else { terms.h2c };
    if !http2 {
        return Ok(Established::Http1(link));
    }
    let session = http2::Session::open(link, &terms.config, terms.port, terms.timeout).await?;
    Ok(Established::Http2(Box::new(session)))
}

/// A protocol at work.
pub(crate) enum Protocol<H: Host> {
    Http1(Box<Http1<H>>),
    Http2(Box<Http2<H>>),
    Http3(Box<Http3<H>>),
}

/// Calls a method that every protocol has.
macro_rules! delegate {
    ($self:expr, $protocol:ident => $call:expr) => {
        match $self {
            Protocol::Http1($protocol) => $call,
            Protocol::Http2($protocol) => $call,
            Protocol::Http3($protocol) => $call,
        }
    };
}

impl<H: Host> Protocol<H> {
    pub(crate) fn new(established: Established, config: &Config) -> Self {
        match established {
            Established::Http1(link) => Self::Http1(Box::new(Http1::new(link, config))),
            Established::Http2(session) => Self::Http2(Box::new(Http2::new(*session))),
            Established::Http3(session) => Self::Http3(Box::new(Http3::new(*session))),
        }
    }

    pub(crate) fn name(&self) -> HttpProtocol {
        match self {
            Self::Http1(_) => HttpProtocol::Http1,
            Self::Http2(_) => HttpProtocol::Http2,
            Self::Http3(_) => HttpProtocol::Http3,
        }
    }

    /// Carries a command out, as far as that needs no reading.
    pub(crate) fn apply(&mut self, command: Command<H>, port: &mut Port<'_, H>) {
        delegate!(self, protocol => protocol.apply(command, port));
    }

    /// Answers whether the connection is sound; a peer that closed is noticed here at the latest.
    pub(crate) fn probe(
        &mut self,
        caller: H::Caller,
        checkout: bool,
        cx: &mut Context<'_>,
        port: &mut Port<'_, H>,
    ) {
        match self {
            Self::Http1(http1) => http1.probe(caller, checkout, cx, port),
            Self::Http2(http2) => http2.probe(caller, cx, port),
            Self::Http3(http3) => http3.probe(caller, cx, port),
        }
    }

    /// Moves what can be moved without waiting; a waker is left for the rest.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) {
        delegate!(self, protocol => protocol.drive(cx, port));
    }

    /// The part of [`Self::drive`] for threads that must not be kept; `false` if the task has to
    /// look after the rest at once.
    pub(crate) fn drive_inline(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) -> bool {
        delegate!(self, protocol => protocol.drive_inline(cx, port))
    }

    /// When something is to be given up next, or a little earlier.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        delegate!(self, protocol => protocol.deadline())
    }

    /// Gives up what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, port: &mut Port<'_, H>) {
        delegate!(self, protocol => protocol.expire(now, port));
    }

    /// Closes on a command of `by`.
    pub(crate) fn close_by_user(&mut self, by: &H::Caller, port: &mut Port<'_, H>) {
        match self {
            Self::Http1(http1) => http1.close_by_user(by, port),
            Self::Http2(http2) => http2.close_by_user(by, port),
            Self::Http3(http3) => http3.close_by_user(by, port),
        }
    }

    /// Ends what is left of a connection that counts as closed already.
    pub(crate) fn make_way(&mut self, port: &mut Port<'_, H>) {
        match self {
            // It closes as a whole.
            Self::Http1(_) => {}
            Self::Http2(http2) => http2.make_way(port),
            Self::Http3(http3) => http3.make_way(port),
        }
    }

    /// What those are to be told who were to get more messages, should the connection be dropped.
    pub(crate) fn last_messages(&self) -> Vec<(H::Receiver, Message<H>)> {
        match self {
            Self::Http1(http1) => http1
                .receiver()
                .map(|receiver| (receiver.clone(), Message::Error(Error::Closed)))
                .into_iter()
                .collect(),
            Self::Http2(http2) => http2.last_messages(),
            Self::Http3(http3) => http3.last_messages(),
        }
    }

    /// Forgets a caller wherever it waits.
    pub(crate) fn forget(&mut self, target: &H::Caller) {
        delegate!(self, protocol => protocol.forget(target));
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        delegate!(self, protocol => protocol.is_closed())
    }

    /// Bytes received and not yet used, and not yet written.
    pub(crate) fn buffered(&self) -> (usize, usize) {
        delegate!(self, protocol => protocol.buffered())
    }

    /// Whether many share the connection.
    pub(crate) fn is_crowded(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(http2) => http2.is_crowded(),
            Self::Http3(http3) => http3.is_crowded(),
        }
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.link().is_some_and(Link::is_tls),
            Self::Http2(http2) => http2.is_tls(),
            Self::Http3(_) => true,
        }
    }

    /// Whether the embedder moves the bytes.
    pub(crate) fn is_carried(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.link().is_some_and(Link::is_carried),
            Self::Http2(http2) => http2.is_carried(),
            Self::Http3(_) => false,
        }
    }

    /// The link to be upgraded, if the protocol can do without it now.
    pub(crate) fn take_idle_link(&mut self) -> Option<Link> {
        match self {
            Self::Http1(http1) => http1.take_idle_link(),
            Self::Http2(_) | Self::Http3(_) => None,
        }
    }

    /// Commands that were held back for an answer that no longer comes.
    pub(crate) fn take_held(&mut self) -> VecDeque<Command<H>> {
        match self {
            Self::Http1(http1) => http1.take_held(),
            Self::Http2(_) | Self::Http3(_) => VecDeque::new(),
        }
    }

    /// Whether the next request is to be told that the peer closed.
    pub(crate) fn is_checked_out(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_checked_out(),
            Self::Http2(_) | Self::Http3(_) => false,
        }
    }

    /// Whether the connection's process was told to stop.
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_finished(),
            Self::Http2(_) | Self::Http3(_) => false,
        }
    }
}
