//! What carries the bytes: TCP, a Unix domain socket or the embedder, with or without TLS on top, or
//! QUIC.

mod adopt;
mod beam;
mod posix;
pub(crate) mod quic;
mod socket;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;

pub use adopt::Descriptor;
pub use beam::{Bell, Carrier, Opened, Ring, WINDOW};
pub(crate) use posix::posix;
pub use quic::Quic;
pub use socket::{Family, SocketOption};
pub(crate) use socket::{Socket, binding, connect_tcp, connect_unix};
pub use tls::{Identity, PrivateKey, Roots, Sni, TlsClient, TlsOptions, TlsVersion};

/// An address of either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of a TCP socket.
    Ip(SocketAddr),
    /// Of a Unix domain socket, if it has one.
    Unix(Option<PathBuf>),
}

/// An open connection to the peer.
///
/// Reading and writing need no tokio runtime around the caller, only the waker they are given: any
/// thread may poll. As with every tokio socket, each direction remembers the last waker only.
///
/// The end of the stream is the same whether the peer said so (TLS `close_notify`) or merely
/// closed its socket: zero bytes read. Callers tell a truncated response by its framing.
///
/// Dropping a link closes it, see [`Link::close`].
#[derive(Debug)]
pub struct Link {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Plain(Socket),
    Tls(Box<TlsLayer>),
}

/// A TLS session over a socket; says `close_notify` when dropped.
#[derive(Debug)]
struct TlsLayer(tokio_rustls::client::TlsStream<Socket>);

impl Link {
    pub(crate) fn plain(socket: Socket) -> Self {
        Self { inner: Inner::Plain(socket) }
    }

    pub(crate) fn carried(pipe: beam::Pipe) -> Self {
        Self::plain(Socket::Pipe(pipe))
    }

    pub(crate) fn encrypted(stream: tokio_rustls::client::TlsStream<Socket>) -> Self {
        Self { inner: Inner::Tls(Box::new(TlsLayer(stream))) }
    }

    /// The bare socket, or the link back if it is encrypted already.
    pub(crate) fn into_socket(self) -> Result<Socket, Self> {
        if self.is_tls() {
            return Err(self);
        }
        match self.inner {
            Inner::Plain(socket) => Ok(socket),
            inner @ Inner::Tls(_) => Err(Self { inner }),
        }
    }

    /// Whether the embedder moves the bytes, so that only it can say what concerns the socket.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        self.socket().is_carried()
    }

    /// Whether TLS is the embedder's, or is not spoken.
    pub(crate) fn is_without_session(&self) -> bool {
        self.session().is_none()
    }

    fn opened(&self) -> Option<&Opened> {
        self.socket().pipe().map(beam::Pipe::opened)
    }

    fn socket(&self) -> &Socket {
        match &self.inner {
            Inner::Plain(socket) => socket,
            Inner::Tls(tls) => tls.0.get_ref().0,
        }
    }

    fn session(&self) -> Option<&rustls::ClientConnection> {
        match &self.inner {
            Inner::Plain(_) => None,
            Inner::Tls(tls) => Some(tls.0.get_ref().1),
        }
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// [`Error::Posix`], e.g. `enotconn` once the peer has reset the connection.
    pub fn peer_address(&self) -> Result<Address, Error> {
        self.socket().peer_address().map_err(|error| posix(&error))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// [`Error::Posix`].
    pub fn local_address(&self) -> Result<Address, Error> {
        self.socket().local_address().map_err(|error| posix(&error))
    }

    /// The certificate of the peer, in DER.
    ///
    /// # Errors
    /// [`Error::NotTls`] without TLS, [`Error::NoPeerCertificate`] if the peer showed none.
    pub fn peer_certificate(&self) -> Result<Vec<u8>, Error> {
        self.session()
            .ok_or(Error::NotTls)?
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|certificate| certificate.to_vec())
            .ok_or(Error::NoPeerCertificate)
    }

    /// The application protocol agreed on (RFC 7301), if any.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match self.session() {
            Some(session) => session.alpn_protocol(),
            None => self.opened()?.alpn.as_deref(),
        }
    }

    /// Whether the link is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.session().is_some() || self.opened().is_some_and(|opened| opened.tls)
    }

    /// The TLS version agreed on, if encrypted.
    #[must_use]
    pub fn tls_version(&self) -> Option<TlsVersion> {
        match self.session()?.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            rustls::ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// Whether the handshake resumed an earlier session.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.session().and_then(|session| session.handshake_kind())
            == Some(rustls::HandshakeKind::Resumed)
    }

    /// Sets options of the socket, in order, up to the first that fails.
    ///
    /// # Errors
    /// [`Error::Posix`]: what the system said; `einval` for options that only count while dialling
    /// (local address and port, family).
    pub fn set_options(&self, options: &[SocketOption]) -> Result<(), Error> {
        options
            .iter()
            .try_for_each(|option| self.socket().set_option(option))
            .map_err(|error| posix(&error))
    }

    /// Whether the socket is still connected, as far as the system knows already. Never blocks and
    /// reads nothing, so that a mere end of stream goes unnoticed.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::Posix`]: the error pending on the socket, or `enotconn`.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(pipe) = self.socket().pipe() {
            return pipe.check();
        }
        if let Some(error) = self.socket().take_error().map_err(classify)? {
            return Err(classify(error));
        }
        self.peer_address().map(drop)
    }

    /// Closes at once. TLS says `close_notify` if the socket takes it without waiting. Data still in
    /// the system's send buffer is delivered in the background, unless the socket was set to
    /// linger for zero seconds.
    pub fn close(self) {
        drop(self);
    }
}

impl From<TcpStream> for Link {
    fn from(stream: TcpStream) -> Self {
        Self::plain(Socket::Tcp(stream))
    }
}

impl From<UnixStream> for Link {
    fn from(stream: UnixStream) -> Self {
        Self::plain(Socket::Unix(stream))
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Inner::Tls(tls) => match Pin::new(&mut tls.0).poll_read(cx, buffer) {
                // The peer closed without close_notify, as many do.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                other => other,
            },
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Inner::Tls(tls) => Pin::new(&mut tls.0).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Inner::Tls(tls) => Pin::new(&mut tls.0).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Inner::Plain(socket) => socket.is_write_vectored(),
            Inner::Tls(tls) => tls.0.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Inner::Tls(tls) => Pin::new(&mut tls.0).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Inner::Tls(tls) => Pin::new(&mut tls.0).poll_shutdown(cx),
        }
    }
}

impl Drop for TlsLayer {
    fn drop(&mut self) {
        let (socket, session) = self.0.get_mut();
        session.send_close_notify();
        let mut writer = socket.without_waiting();
        while session.wants_write() {
            match session.write_tls(&mut writer) {
                Ok(written) if written > 0 => {}
                _ => break,
            }
        }
    }
}

/// What an error of an open link, or of a TLS handshake, is called.
///
/// Errors of the embedder's stay as they are. TLS errors become [`Error::Tls`]. A connection the peer reset or closed under a write is
/// [`Error::Closed`], as OTP has it by default; other system errors keep their POSIX name.
#[must_use]
pub fn classify(error: io::Error) -> Error {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::alert::from_rustls(tls);
    }
    if let Some(carried) = error.get_ref().and_then(|inner| inner.downcast_ref::<beam::Carried>()) {
        return carried.0.clone();
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::WriteZero => Error::Closed,
        _ => posix(&error),
    }
}
