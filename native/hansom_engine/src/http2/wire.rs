//! The link under an HTTP/2 connection: counts what passes, reads along, decides when anything may
//! be read, and writes all frames of a turn at once.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::Parts;
use super::frames::{Frames, Peer};
use crate::config::Http2Config;
use crate::error::{Error, H2Code};
use crate::transport::{Link, classify};

/// Bytes collected before they are given to the link: one write, and full records of TLS, for many
/// small frames and for parts of large content alike.
const COLLECTED: usize = 64 << 10;
/// Memory kept beyond a turn in which nothing is written.
const KEPT: usize = 4 << 10;

/// The end the protocol library holds.
pub(super) struct Wire {
    line: Arc<Line>,
}

/// The end the connection keeps. Both are used under the connection's lock only, so that this one
/// is never waited for.
pub(super) struct Line {
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    link: Option<Link>,
    frames: Frames,
    /// The library was told to wait with what it has to write.
    blocked: bool,
    /// What is still to be written.
    out: BytesMut,
    /// [`Line::end_turn`] flushes, not the library.
    in_turns: bool,
    unflushed: bool,
    /// Woken when the socket is ready. The library's own wakers are not: they tell it apart from
    /// work it left for itself.
    waker: Waker,
    /// Bytes that may still be read in this turn.
    turn: usize,
    /// The socket is certain to wake the task when there is something to be read.
    read_registered: bool,
    received: usize,
    sent: usize,
    failure: Option<Error>,
}

impl Wire {
    pub(super) fn new(link: Link, config: &Http2Config) -> (Self, Arc<Line>) {
        let line = Arc::new(Line {
            inner: Mutex::new(Inner {
                link: Some(link),
                frames: Frames::new(config),
                blocked: false,
                out: BytesMut::new(),
                in_turns: false,
                unflushed: false,
                waker: Waker::noop().clone(),
                turn: 0,
                read_registered: false,
                received: 0,
                sent: 0,
                failure: None,
            }),
        });
        (Self { line: line.clone() }, line)
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a turn in which up to `turn` bytes may be read; 0 is for threads that must not be
    /// kept. The task of `cx` is woken when the socket is ready for more. In the turn before, these
    /// parts of messages were taken.
    pub(super) fn begin_turn(&self, turn: usize, taken: Parts, cx: &Context<'_>) {
        let mut inner = self.lock();
        inner.frames.taken(taken);
        if !inner.waker.will_wake(cx.waker()) {
            inner.waker = cx.waker().clone();
            inner.read_registered = false;
        }
        inner.turn = turn;
    }

    /// From here on everything happens in turns.
    pub(super) fn in_turns(&self) {
        self.lock().in_turns = true;
    }

    /// Writes what came together in this turn, as far as the link takes it.
    ///
    /// # Errors
    /// The link is of no use any more.
    pub(super) fn end_turn(&self) -> io::Result<()> {
        let inner = &mut *self.lock();
        if !inner.unflushed {
            if inner.out.capacity() > KEPT {
                inner.out = BytesMut::new();
            }
            return Ok(());
        }
        match inner.poll_flush() {
            Poll::Ready(result) => result,
            // The task will be woken.
            Poll::Pending => Ok(()),
        }
    }

    /// Whether everything was read that may be read in this turn.
    pub(super) fn turn_is_over(&self) -> bool {
        self.lock().turn == 0
    }

    pub(super) fn read_registered(&self) -> bool {
        self.lock().read_registered
    }

    /// Bytes received and sent since the last call.
    pub(super) fn take_counts(&self) -> (usize, usize) {
        let mut inner = self.lock();
        (std::mem::take(&mut inner.received), std::mem::take(&mut inner.sent))
    }

    pub(super) fn peer(&self) -> Peer {
        self.lock().frames.peer
    }

    /// The library is about to write what it has.
    pub(super) fn begin_writing(&self) {
        self.lock().blocked = false;
    }

    /// Bytes of content sent so far, if the library has written all it had.
    pub(super) fn all_content(&self) -> Option<u64> {
        let inner = self.lock();
        (!inner.blocked).then_some(inner.frames.content)
    }

    /// Why reading or writing failed, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    pub(super) fn with_link<R>(&self, look: impl FnOnce(Option<&Link>) -> R) -> R {
        look(self.lock().link.as_ref())
    }

    /// Says goodbye, if the socket takes it without waiting, and closes.
    pub(super) fn close(&self) {
        // GOAWAY: the last stream of the peer's that we acted on is none.
        const GOODBYE: [u8; 13] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let inner = &mut *self.lock();
        inner.waker = Waker::noop().clone();
        if inner.poll_drain(1).is_ready() {
            let code = match inner.frames.is_flood() {
                true => H2Code::ENHANCE_YOUR_CALM,
                false => H2Code::NO_ERROR,
            };
            inner.out.extend_from_slice(&GOODBYE);
            inner.out.extend_from_slice(&code.0.to_be_bytes());
            inner.unflushed = true;
            let _ = inner.poll_flush();
        }
        if let Some(link) = inner.link.take() {
            link.close();
        }
    }
}

impl Inner {
    fn io<R>(
        &mut self,
        call: impl FnOnce(Pin<&mut Link>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let Some(link) = &mut self.link else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let result = call(Pin::new(link), &mut Context::from_waker(&self.waker));
        if let Poll::Ready(Err(error)) = result {
            let kind = error.kind();
            self.failure.get_or_insert_with(|| classify(error));
            return Poll::Ready(Err(kind.into()));
        }
        result
    }

    /// Takes all of `parts`, unless as much is waiting as is meant to.
    fn poll_collect(&mut self, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let room = self.poll_drain(COLLECTED);
        self.blocked |= room.is_pending();
        ready!(room)?;
        self.unflushed = true;
        let before = self.out.len();
        for part in parts {
            self.frames.sent(part);
            self.out.extend_from_slice(part);
        }
        Poll::Ready(Ok(self.out.len() - before))
    }

    /// Writes until less than `least` bytes are waiting.
    fn poll_drain(&mut self, least: usize) -> Poll<io::Result<()>> {
        let mut out = std::mem::take(&mut self.out);
        let result = loop {
            if out.len() < least {
                break Poll::Ready(Ok(()));
            }
            match self.io(|link, cx| link.poll_write(cx, &out)) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => {
                    out.advance(sent);
                    self.sent += sent;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.out = out;
        result
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(self.poll_drain(1))?;
            ready!(self.io(|link, cx| link.poll_flush(cx)))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.line.lock();
        if inner.frames.is_flood() {
            inner.failure.get_or_insert(Error::ClosedBy("enhance_your_calm"));
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if inner.turn == 0 {
            // Whoever ended the turn sees to the next one.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let result = inner.io(|link, cx| link.poll_read(cx, buffer));
        inner.read_registered = result.is_pending();
        if let Poll::Ready(Ok(())) = &result {
            let read = buffer.filled().get(before..).unwrap_or_default();
            inner.received += read.len();
            inner.turn = inner.turn.saturating_sub(read.len());
            inner.frames.received(read);
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.lock().poll_collect(&[io::IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.lock().poll_collect(parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.line.lock();
        if inner.in_turns { Poll::Ready(Ok(())) } else { inner.poll_flush() }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.line.lock();
        ready!(inner.poll_flush())?;
        inner.io(|link, cx| link.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Wire, Arc<Line>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (wire, line) = Wire::new(Link::from(socket), &Http2Config::default());
        line.begin_turn(usize::MAX, Parts::default(), &Context::from_waker(Waker::noop()));
        (wire, line, listener.accept().await.unwrap().0)
    }

    /// Ends turns until the link has taken everything.
    async fn ended(line: &Line) {
        poll_fn(|cx| {
            line.begin_turn(usize::MAX, Parts::default(), cx);
            line.end_turn().unwrap();
            if line.lock().unflushed { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    // Clauses: H2-3
    #[tokio::test]
    async fn what_comes_together_in_a_turn_leaves_at_its_end() {
        let (mut wire, line, mut peer) = pair().await;
        wire.write_all(b"preface").await.unwrap();
        wire.flush().await.unwrap();
        line.in_turns();
        assert_eq!(line.take_counts(), (0, 7), "before there are turns a flush is one");
        for _ in 0..100 {
            wire.write_all(b"frame").await.unwrap();
            wire.flush().await.unwrap();
        }
        assert_eq!(line.take_counts(), (0, 0));
        ended(&line).await;
        assert_eq!(line.take_counts(), (0, 500));
        let mut read = vec![0; 507];
        peer.read_exact(&mut read).await.unwrap();
        assert!(read.ends_with(b"frameframe"));
        assert!(line.lock().out.is_empty());
    }

    // Clauses: H2-11
    #[tokio::test]
    async fn a_peer_that_does_not_read_leaves_no_more_than_a_write_waiting() {
        let (mut wire, line, mut peer) = pair().await;
        line.in_turns();
        let part = [7; 10_000];
        let mut taken = 0;
        while let Poll::Ready(sent) = poll_fn(|cx| {
            line.begin_turn(usize::MAX, Parts::default(), cx);
            Poll::Ready(Pin::new(&mut wire).poll_write(cx, &part))
        })
        .await
        {
            taken += sent.unwrap();
            assert!(line.lock().out.len() < COLLECTED + part.len());
        }
        assert!(line.lock().out.len() >= COLLECTED);
        line.end_turn().unwrap();
        let mut read = vec![0; taken];
        tokio::join!(ended(&line), async { peer.read_exact(&mut read).await.unwrap() });
        assert!(read.iter().all(|byte| *byte == 7));
        line.end_turn().unwrap();
        assert_eq!(line.lock().out.capacity(), 0, "memory is given back");
    }

    // Clauses: H2-9
    #[tokio::test]
    async fn what_waits_leaves_ahead_of_the_goodbye() {
        let (mut wire, line, mut peer) = pair().await;
        line.in_turns();
        wire.write_all(b"frame").await.unwrap();
        line.close();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert!(read.starts_with(b"frame\0\0\x08\x07"));
        assert!(line.end_turn().is_ok() && wire.write_all(b"more").await.is_ok());
        assert!(line.end_turn().is_err(), "there is no link any more");
    }
}
