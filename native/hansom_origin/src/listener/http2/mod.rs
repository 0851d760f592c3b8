//! HTTP/2 on a byte stream.

mod outlet;
mod stream;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use h2::server::{Builder, Connection};

use super::Limits;
use super::socket::{self, Socket};
use crate::service::{Control, Ending};
use outlet::{Command, Outlet, Shared, Wire};

/// Largest request head, in bytes as HPACK counts them (RFC 9113, 6.5.2).
const MAX_HEAD: u32 = 1024 * 1024;

/// How many streams a peer may reset while they wait to be served: a client that cancels a lot is a test's wish.
const MAX_RESETS: usize = 100_000;

/// Most bytes of one stream held for sending.
const MAX_BUFFERED: usize = 1024 * 1024;

/// Serves one connection until it ends.
pub(super) async fn serve<S: Socket>(socket: S, control: Arc<Control>, limits: Limits) {
    let outlet = Arc::new(Outlet::default());
    let line = Shared::new(socket, Arc::clone(&outlet));
    let ending = run(&line, &control, &outlet, limits).await;
    if let Some(socket) = line.into_socket()
        && let Some(socket) = socket::close(socket, ending).await
    {
        socket::linger(socket).await;
    }
}

/// Serves until the connection is over or an endpoint ends it; says what is left to be done with the socket.
async fn run<S: Socket>(
    line: &Shared<S>,
    control: &Arc<Control>,
    outlet: &Arc<Outlet>,
    limits: Limits,
) -> Ending {
    let handshake = Builder::new()
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(MAX_HEAD)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_concurrent_reset_streams(64)
        .max_send_buffer_size(MAX_BUFFERED)
        .handshake(line.wire())
        .await;
    let Ok(connection) = handshake else { return Ending::Clean };
    line.drive();
    let mut driver = Driver { connection, exchanges: FuturesUnordered::new(), window: None };
    poll_fn(|cx| {
        let ending = driver.poll(cx, control, outlet);
        if ending.is_pending() {
            // One write for whatever this turn has led to.
            match line.poll_flush(cx) {
                Poll::Ready(Ok(())) => outlet.settle(),
                Poll::Ready(Err(_)) => return Poll::Ready(Ending::Clean),
                Poll::Pending => {}
            }
        }
        ending
    })
    .await
}

struct Driver<S, E> {
    connection: Connection<Wire<S>, Bytes>,
    exchanges: FuturesUnordered<E>,
    // An initial window that has to wait for the acknowledgement of the one before.
    window: Option<u32>,
}

impl<S: Socket> Driver<S, Exchanging> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        control: &Arc<Control>,
        outlet: &Arc<Outlet>,
    ) -> Poll<Ending> {
        loop {
            // Ahead of the connection: what they send goes out when that is polled.
            while let Poll::Ready(Some(())) = self.exchanges.poll_next_unpin(cx) {}
            for command in outlet.take_commands() {
                match command {
                    Command::Window(bytes) => self.window = Some(bytes),
                    Command::Finish => self.connection.graceful_shutdown(),
                    Command::End(ending @ (Ending::Cut | Ending::Reset)) => {
                        return Poll::Ready(ending);
                    }
                    Command::End(Ending::Connection(code)) => {
                        let code = u32::try_from(code).unwrap_or(u32::MAX);
                        self.connection.abrupt_shutdown(Reason::from(code));
                    }
                    Command::End(Ending::Clean | Ending::Stream(_)) => {
                        self.connection.abrupt_shutdown(Reason::NO_ERROR);
                    }
                }
            }
            if let Some(bytes) = self.window
                && self.connection.set_initial_window_size(bytes).is_ok()
            {
                self.window = None;
            }
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, sender)))) => {
                    if let Some(exchange) = stream::begin(request, sender, control, outlet) {
                        self.exchanges.push(Box::pin(exchange.run()));
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Ending::Clean),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

type Exchanging = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
