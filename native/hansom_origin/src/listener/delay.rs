//! A TCP connection over a longer path: bytes arrive and leave later than they would.
//!
//! Bandwidth stays as it is, and so does the kernel's own handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::PollSender;

use super::socket::Socket;

/// Most bytes of one piece, and most pieces on their way in one direction: 64 MiB together.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 1024;

/// A socket whose bytes take `half` in each direction.
pub(super) struct Delayed {
    half: Duration,
    arriving: mpsc::Receiver<Arriving>,
    // Come out of the channel, and not due or not read yet.
    next: Option<Arriving>,
    until: Pin<Box<Sleep>>,
    leaving: PollSender<Leaving>,
    reset: Arc<AtomicBool>,
}

struct Arriving {
    due: Instant,
    bytes: io::Result<Bytes>,
}

struct Leaving {
    due: Instant,
    // `None` is FIN.
    bytes: Option<Bytes>,
}

impl Delayed {
    /// Takes over `socket`, and adds `round_trip` to its round trips.
    pub(super) fn new(socket: TcpStream, round_trip: Duration) -> Self {
        let half = round_trip / 2;
        let (reader, writer) = socket.into_split();
        let (arrived, arriving) = mpsc::channel(PIECES);
        let (leave, leaving) = mpsc::channel(PIECES);
        let reset = Arc::new(AtomicBool::new(false));
        tokio::spawn(read(reader, arrived, half));
        tokio::spawn(write(writer, leaving, Arc::clone(&reset)));
        Delayed {
            half,
            arriving,
            next: None,
            until: Box::pin(sleep_until(Instant::now())),
            leaving: PollSender::new(leave),
            reset,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: Option<Bytes>) -> Poll<io::Result<()>> {
        ready!(self.leaving.poll_reserve(cx)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        let leaving = Leaving { due: Instant::now() + self.half, bytes };
        Poll::Ready(self.leaving.send_item(leaving).map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }
}

async fn read(mut socket: OwnedReadHalf, arrived: mpsc::Sender<Arriving>, half: Duration) {
    loop {
        let mut buffer = BytesMut::with_capacity(PIECE);
        let read = tokio::select! {
            read = socket.read_buf(&mut buffer) => read,
            // The connection is over for us, whatever the peer may still send.
            () = arrived.closed() => return,
        };
        let over = !matches!(read, Ok(1..));
        let arriving =
            Arriving { due: Instant::now() + half, bytes: read.map(|_| buffer.freeze()) };
        if arrived.send(arriving).await.is_err() || over {
            return;
        }
    }
}

async fn write(
    mut socket: OwnedWriteHalf,
    mut leaving: mpsc::Receiver<Leaving>,
    reset: Arc<AtomicBool>,
) {
    while let Some(Leaving { due, bytes }) = leaving.recv().await {
        sleep_until(due).await;
        let done = match bytes {
            Some(bytes) => socket.write_all(&bytes).await,
            None => socket.shutdown().await,
        };
        if done.is_err() {
            return;
        }
    }
    if reset.load(Ordering::Relaxed) {
        socket.as_ref().reset_on_drop();
        // Its ordinary drop would send FIN first.
        socket.forget();
    }
}

impl AsyncRead for Delayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let Some(next) = &mut this.next else {
                let Some(next) = ready!(this.arriving.poll_recv(cx)) else {
                    return Poll::Ready(Ok(()));
                };
                this.until.as_mut().reset(next.due);
                this.next = Some(next);
                continue;
            };
            if next.due > Instant::now() {
                ready!(this.until.as_mut().poll(cx));
            }
            let bytes = match &mut next.bytes {
                Ok(bytes) => bytes,
                Err(reason) => return Poll::Ready(Err(reason.kind().into())),
            };
            let end = bytes.is_empty();
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..count]);
            bytes.advance(count);
            if bytes.is_empty() && !end {
                this.next = None;
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Delayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(PIECE);
        // Before the bytes are copied.
        ready!(self.leaving.poll_reserve(cx)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.poll_send(cx, Some(Bytes::copy_from_slice(&bytes[..count]))).map_ok(|()| count)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, None)
    }
}

impl Socket for Delayed {
    fn reset_on_drop(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair(round_trip: Duration) -> (TcpStream, Delayed) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let client = TcpStream::connect(address).await.expect("a connection");
        let (server, _) = listener.accept().await.expect("the same connection");
        (client, Delayed::new(server, round_trip))
    }

    #[tokio::test]
    async fn bytes_take_half_of_the_round_trip_each_way_and_arrive_in_order() {
        let (mut client, mut server) = pair(Duration::from_millis(80)).await;
        let start = Instant::now();
        let sent: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            client.write_all(&sent).await.expect("sent bytes");
            client.shutdown().await.expect("FIN");
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.expect("the answer");
            back
        });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.expect("bytes");
        assert!(start.elapsed() >= Duration::from_millis(40));
        assert!(read == expected);
        server.write_all(&read).await.expect("an answer");
        server.shutdown().await.expect("FIN");
        assert!(writing.await.expect("a client") == expected);
        assert!(start.elapsed() >= Duration::from_millis(80));
    }

    #[tokio::test]
    async fn a_reset_is_a_reset() {
        let (mut client, server) = pair(Duration::from_millis(10)).await;
        server.reset_on_drop();
        drop(server);
        let end = client.read(&mut [0; 1]).await;
        assert_eq!(end.map_err(|reason| reason.kind()), Err(io::ErrorKind::ConnectionReset));
    }
}
