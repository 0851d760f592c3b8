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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a [`Wire`] leaves its socket when it is dropped.
pub(super) type Slot<S> = Arc<Mutex<Option<S>>>;

/// The socket of an HTTP/2 connection. The frames of the `h2` crate go through it, and what its outlet injects follows
/// whenever they are flushed, which is between two frames.
pub(super) struct Wire<S> {
    // `None` only while it is being dropped.
    socket: Option<S>,
    outlet: Arc<Outlet>,
    slot: Slot<S>,
    raw: BytesMut,
}

impl<S: Socket> Wire<S> {
    pub(super) fn new(socket: S, outlet: Arc<Outlet>, slot: Slot<S>) -> Self {
        Wire { socket: Some(socket), outlet, slot, raw: BytesMut::new() }
    }

    fn socket(&mut self) -> io::Result<Pin<&mut S>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = self.socket.take();
    }
}

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outlet.unflushed.store(true, Ordering::Relaxed);
        self.socket()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outlet.unflushed.store(true, Ordering::Relaxed);
        self.socket()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if wire.outlet.has_raw.load(Ordering::Relaxed) {
            wire.raw.unsplit(wire.outlet.state().raw.split());
            wire.outlet.unflushed.store(true, Ordering::Relaxed);
            wire.outlet.has_raw.store(false, Ordering::Relaxed);
        }
        while wire.raw.has_remaining() {
            let socket = wire.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let written = ready!(Pin::new(socket).poll_write(cx, &wire.raw))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            wire.raw.advance(written);
        }
        ready!(wire.socket()?.poll_flush(cx))?;
        wire.outlet.unflushed.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}
