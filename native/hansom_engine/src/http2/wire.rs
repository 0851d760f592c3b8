//! The link under an HTTP/2 connection: counts what passes, reads along, and decides when anything
//! may be read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frames, Peer};
use crate::error::Error;
use crate::transport::{Link, classify};

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
    pub(super) fn new(link: Link) -> (Self, Arc<Line>) {
        let line = Arc::new(Line {
            inner: Mutex::new(Inner {
                link: Some(link),
                frames: Frames::new(),
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
    /// kept. The task of `cx` is woken when the socket is ready for more.
    pub(super) fn begin_turn(&self, turn: usize, cx: &Context<'_>) {
        let mut inner = self.lock();
        if !inner.waker.will_wake(cx.waker()) {
            inner.waker = cx.waker().clone();
            inner.read_registered = false;
        }
        inner.turn = turn;
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

    /// Why reading or writing failed, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    pub(super) fn with_link<R>(&self, look: impl FnOnce(Option<&Link>) -> R) -> R {
        look(self.lock().link.as_ref())
    }

    /// Says goodbye, if the socket takes it without waiting, and closes.
    pub(super) fn close(&self) {
        // GOAWAY: the last stream of the peer's that we acted on is none, and there is no error.
        const GOODBYE: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let Some(mut link) = self.lock().link.take() else { return };
        let cx = &mut Context::from_waker(Waker::noop());
        if Pin::new(&mut link).poll_write(cx, &GOODBYE).is_ready() {
            let _ = Pin::new(&mut link).poll_flush(cx);
        }
        link.close();
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
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.line.lock();
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
            inner.frames.read(read);
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
        let inner = &mut *self.line.lock();
        let result = inner.io(|link, cx| link.poll_write(cx, data));
        if let Poll::Ready(Ok(sent)) = &result {
            inner.sent += sent;
        }
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.line.lock();
        let result = inner.io(|link, cx| link.poll_write_vectored(cx, parts));
        if let Poll::Ready(Ok(sent)) = &result {
            inner.sent += sent;
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.line.with_link(|link| link.is_some_and(AsyncWrite::is_write_vectored))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.lock().io(|link, cx| link.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.lock().io(|link, cx| link.poll_shutdown(cx))
    }
}
