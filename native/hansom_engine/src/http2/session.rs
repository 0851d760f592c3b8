//! From an open link to a connection that has heard its peer's settings.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};

use super::ending;
use super::flood::Parts;
use super::keepalive::KeepAlive;
use super::wire::{Line, Wire};
use crate::config::{Config, LEAST_STREAM_WINDOW, Limits};
use crate::error::Error;
use crate::streams::head::Origin;
use crate::transport::Link;

/// Bytes of one stream's content the protocol library holds: enough to keep the link busy, and little
/// enough to stay in the processor's cache.
const MOST_BUFFERED: usize = 128 << 10;

/// Streams we reset are remembered, so that what the peer sent before it knew is not taken for an
/// error of its own.
const RESET_STREAMS: usize = 1024;
const RESET_STREAM_DURATION: Duration = Duration::from_secs(10);

/// A connection over which requests can be sent.
pub(crate) struct Session {
    pub(super) connection: Connection<Wire, Bytes>,
    pub(super) requests: SendRequest<Bytes>,
    /// Sends nothing, and so waits for no stream: it learns at once when there can be no more.
    pub(super) observer: SendRequest<Bytes>,
    pub(super) line: Arc<Line>,
    pub(super) origin: Origin,
    pub(super) tls: bool,
    pub(super) keepalive: KeepAlive,
    /// The window meant to be free for all streams together, and what it is set to now.
    pub(super) base_window: usize,
    pub(super) window: usize,
    /// Bytes of content handed to the protocol library, but for those it will never send.
    pub(super) handed: u64,
    pub(super) limits: Limits,
    /// Parts of messages that were taken in this turn.
    pub(super) taken: Parts,
}

impl Session {
    /// Sends the preface and waits for the peer's settings, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Timeout`], or why the connection was lost.
    pub(crate) async fn open(
        link: Link,
        config: &Config,
        port: u16,
        limit: Option<Duration>,
    ) -> Result<Self, Error> {
        let opening = greet(link, config, port);
        match limit {
            Some(limit) => {
                tokio::time::timeout(limit, opening).await.unwrap_or(Err(Error::Timeout))
            }
            None => opening.await,
        }
    }
}

async fn greet(link: Link, config: &Config, port: u16) -> Result<Session, Error> {
    let tls = link.is_tls();
    let origin = Origin::new(&config.host_header, port, tls);
    let (wire, line) = Wire::new(link, &config.http2);
    let outer = line.clone();
    let mut exchange = pin!(async move {
        let lost = |error: &h2::Error| ending::connection_error(error, &line, tls);
        let handshake = builder(config).handshake(wire).await;
        let (requests, mut connection) = handshake.map_err(|error| lost(&error))?;
        poll_fn(|cx| match std::pin::Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(ending::lost(&line, tls))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(&error))),
            Poll::Pending if line.peer().settled => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        line.in_turns();
        let keepalive = KeepAlive::new(connection.ping_pong(), &config.http2);
        let window = config.http2.connection_window.max(65_535) as usize;
        Ok(Session {
            connection,
            observer: requests.clone(),
            requests,
            line,
            origin,
            tls,
            keepalive,
            base_window: window,
            window,
            handed: 0,
            limits: config.limits.clone(),
            taken: Parts::default(),
        })
    });
    poll_fn(|cx| {
        outer.begin_turn(usize::MAX, Parts::default(), cx);
        exchange.as_mut().poll(cx)
    })
    .await
}

fn builder(config: &Config) -> Builder {
    const LARGEST_WINDOW: u32 = (1 << 31) - 1;
    let settings = &config.http2;
    let largest = config.limits.header_bytes.max(config.limits.trailer_bytes);
    // Beyond this one the library refuses a section without a word about its size.
    let header_list = u32::try_from(largest.saturating_mul(2)).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(settings.stream_window.clamp(LEAST_STREAM_WINDOW, LARGEST_WINDOW))
        .initial_connection_window_size(settings.connection_window.clamp(65_535, LARGEST_WINDOW))
        .max_header_list_size(header_list)
        .max_send_buffer_size(MOST_BUFFERED)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(RESET_STREAM_DURATION)
        // The library counts for the whole life of a connection, for which no number is right (see
        // `flood` for what is). Of what it holds it is relieved in each turn.
        .max_local_error_reset_streams(None)
        .data_frame_budget(usize::MAX);
    builder
}
