//! Lets endpoints write past hyper's HTTP/1.1 encoder: interim responses and raw bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;
use crate::service::{Aside, Control};

/// A socket that, each time hyper has written all it holds, sends what the connection's endpoints put aside.
pub(super) struct Wire<S> {
    socket: S,
    control: Arc<Control>,
    aside: BytesMut,
}

impl<S: Socket> Wire<S> {
    pub(super) fn new(socket: S, control: Arc<Control>) -> Self {
        Wire { socket, control, aside: BytesMut::new() }
    }

    pub(super) fn into_socket(self) -> S {
        self.socket
    }
}

fn encode(aside: &Aside, out: &mut BytesMut) {
    match aside {
        Aside::Raw(bytes) => out.put_slice(bytes),
        Aside::GoAway { .. } | Aside::Window(_) => {}
        Aside::Interim(interim) => {
            out.put_slice(b"HTTP/1.1 ");
            out.put_slice(interim.status.as_str().as_bytes());
            out.put_u8(b' ');
            out.put_slice(interim.status.canonical_reason().unwrap_or_default().as_bytes());
            out.put_slice(b"\r\n");
            for (name, value) in &interim.headers {
                out.put_slice(name.as_str().as_bytes());
                out.put_slice(b": ");
                out.put_slice(value.as_bytes());
                out.put_slice(b"\r\n");
            }
            out.put_slice(b"\r\n");
        }
    }
}

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.control.has_work() {
            return Pin::new(&mut self.socket).poll_flush(cx);
        }
        let wire = &mut *self;
        for aside in wire.control.take_asides() {
            encode(&aside, &mut wire.aside);
        }
        while wire.aside.has_remaining() {
            let written = ready!(Pin::new(&mut wire.socket).poll_write(cx, &wire.aside))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            wire.aside.advance(written);
        }
        ready!(Pin::new(&mut wire.socket).poll_flush(cx))?;
        wire.control.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
