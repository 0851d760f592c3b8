//! The byte streams a listener accepts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::service::Ending;

/// How long the peer may take to close its side after ours is closed.
const LINGER: Duration = Duration::from_secs(2);

/// A byte stream that can also end badly on purpose.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the drop of this socket a TCP RST, where there is TCP below.
    fn reset_on_drop(&self);

    /// Sends FIN and nothing more: no TLS `close_notify`.
    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Socket for TcpStream {
    fn reset_on_drop(&self) {
        // A peer that has already gone needs no RST.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }
}

impl Socket for UnixStream {
    fn reset_on_drop(&self) {}

    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }
}

impl<S: Socket> Socket for TlsStream<S> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }

    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().get_mut().0).poll_cut(cx)
    }
}

/// Closes our side in this way, and gives the socket back where the peer's side is still open.
pub async fn close<S: Socket>(mut socket: S, ending: Ending) -> Option<S> {
    let closed = match ending {
        // A stream of its own, HTTP/1.1 does not have.
        Ending::Reset | Ending::Stream(_) => {
            socket.reset_on_drop();
            return None;
        }
        Ending::Clean | Ending::Connection(_) => socket.shutdown().await,
        Ending::Cut => std::future::poll_fn(|cx| Pin::new(&mut socket).poll_cut(cx)).await,
    };
    // A failure is the peer's doing, and there is nobody left to tell.
    closed.is_ok().then_some(socket)
}

/// Waits a little for the peer to close its side after [`close`].
///
/// A socket dropped with unread bytes sends RST, which can destroy what the peer has not read yet.
pub async fn linger<S: Socket>(mut socket: S) {
    let mut sink = [0; 4096];
    let drain = async { while matches!(socket.read(&mut sink).await, Ok(1..)) {} };
    // Past the limit the peer has only itself to blame.
    let _ = timeout(LINGER, drain).await;
}
