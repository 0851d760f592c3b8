//! The way out of an HTTP/2 connection beside its frames, shared by its streams, its driver and its [`Wire`].

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::socket::Socket;
use crate::service::Ending;

/// What a stream asks of its connection.
pub(super) enum Command {
    /// Change the initial window of streams.
    Window(u32),
    /// GOAWAY, then the end once all streams are over.
    Finish,
    /// The end, now.
    End(Ending),
}

#[derive(Default)]
pub(super) struct Outlet {
    // Read at each flush, so kept apart from the lock.
    has_raw: AtomicBool,
    // Something was written to the socket and not flushed yet.
    unflushed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    raw: BytesMut,
    commands: Vec<Command>,
    settled: u64,
    waiting: Vec<Waker>,
}

impl Outlet {
    /// Puts bytes between two frames.
    pub(super) fn inject(&self, bytes: &Bytes) {
        self.state().raw.extend_from_slice(bytes);
        self.has_raw.store(true, Ordering::Relaxed);
    }

    pub(super) fn command(&self, command: Command) {
        self.state().commands.push(command);
    }

    pub(super) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.state().commands)
    }

    /// The driver has written all that can be written.
    pub(super) fn settle(&self) {
        if self.unflushed.load(Ordering::Relaxed) || self.has_raw.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        state.settled += 1;
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Ready when all that was sent and injected before is written to the socket.
    ///
    /// Streams are polled by the connection's driver, ahead of the connection itself: the next time that settles, what
    /// they have sent is out.
    pub(super) async fn settled(&self) {
        let target = self.state().settled + 1;
        poll_fn(|cx| {
            let mut state = self.state();
            if state.settled >= target {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn take_raw(&self) -> BytesMut {
        self.state().raw.split()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes collected before they are given to the socket: one write for many small frames, and few for large ones.
const COLLECTED: usize = 64 * 1024;

/// The socket of an HTTP/2 connection, with what is still to be written to it.
pub(super) struct Line<S> {
    socket: S,
    out: BytesMut,
    // The driver flushes once it has nothing more to write.
    driven: bool,
    outlet: Arc<Outlet>,
}

impl<S: Socket> Line<S> {
    /// Takes what fits, unless more is waiting than is meant to.
    fn poll_collect(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outlet.unflushed.store(true, Ordering::Relaxed);
        ready!(self.poll_drain(cx, COLLECTED))?;
        let before = self.out.len();
        for slice in slices {
            self.out.extend_from_slice(slice);
        }
        Poll::Ready(Ok(self.out.len() - before))
    }

    /// Writes until less than `least` bytes are waiting.
    fn poll_drain(&mut self, cx: &mut Context<'_>, least: usize) -> Poll<io::Result<()>> {
        while self.out.len() >= least {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outlet.unflushed.load(Ordering::Relaxed) {
            ready!(self.poll_drain(cx, 1))?;
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.outlet.unflushed.store(false, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

/// The [`Line`] as its connection, its driver and whoever closes it share it. They never use it at the same time.
pub(super) struct Shared<S>(Arc<Mutex<Line<S>>>);

impl<S: Socket> Shared<S> {
    pub(super) fn new(socket: S, outlet: Arc<Outlet>) -> Self {
        Shared(Arc::new(Mutex::new(Line { socket, out: BytesMut::new(), driven: false, outlet })))
    }

    fn lock(&self) -> MutexGuard<'_, Line<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end for the `h2` crate.
    pub(super) fn wire(&self) -> Wire<S> {
        Wire(Shared(Arc::clone(&self.0)))
    }

    /// From now on the driver calls [`Self::poll_flush`] after each of its turns.
    pub(super) fn drive(&self) {
        self.lock().driven = true;
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    /// The socket, once the connection is gone.
    pub(super) fn into_socket(self) -> Option<S> {
        let line = Arc::into_inner(self.0)?.into_inner();
        Some(line.unwrap_or_else(PoisonError::into_inner).socket)
    }
}

/// The frames of the `h2` crate on their way to the socket. What the outlet injects follows whenever they are flushed,
/// which is between two frames.
pub(super) struct Wire<S>(Shared<S>);

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().socket).poll_read(cx, buffer)
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_collect(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_collect(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.lock();
        if line.outlet.has_raw.load(Ordering::Relaxed) {
            line.out.extend_from_slice(&line.outlet.take_raw());
            line.outlet.unflushed.store(true, Ordering::Relaxed);
            line.outlet.has_raw.store(false, Ordering::Relaxed);
        }
        if line.driven { Poll::Ready(Ok(())) } else { line.poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.lock();
        ready!(line.poll_flush(cx))?;
        Pin::new(&mut line.socket).poll_shutdown(cx)
    }
}
