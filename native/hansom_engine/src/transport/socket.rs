//! The sockets under a link, and their options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::Address;

/// An option of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// `TCP_NODELAY`. On unless switched off: a request is written in one piece, so that waiting
    /// for more gains nothing. Unix domain sockets never wait and ignore it.
    NoDelay(bool),
    /// `SO_KEEPALIVE`
    KeepAlive(bool),
    /// `SO_LINGER`. Zero makes closing reset the connection. Any other time would only make
    /// close(2) block, so it stands for the background delivery that is the system's default.
    Linger(Option<Duration>),
    /// `SO_SNDBUF`, bytes
    SendBuffer(usize),
    /// `SO_RCVBUF`, bytes
    ReceiveBuffer(usize),
    /// `SO_REUSEADDR`
    ReuseAddress(bool),
    /// `IP_TOS`, on IPv4 connections; IPv6 ones have [`SocketOption::TrafficClass`] instead.
    Tos(u32),
    /// `IPV6_TCLASS`, on IPv6 connections; IPv4 ones have [`SocketOption::Tos`] instead.
    TrafficClass(u32),
    /// `SO_PRIORITY` (Linux)
    Priority(u32),
    /// The local address. Only addresses of its family are dialled.
    BindAddress(IpAddr),
    /// The local port.
    BindPort(u16),
    /// `SO_BINDTODEVICE` (Linux)
    BindDevice(String),
    /// Only addresses of this family are dialled.
    Family(Family),
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The local address and port asked for, the last of each counting.
pub(crate) fn binding(options: &[SocketOption]) -> (Option<IpAddr>, Option<u16>) {
    options.iter().fold((None, None), |(address, port), option| match option {
        SocketOption::BindAddress(new) => (Some(*new), port),
        SocketOption::BindPort(new) => (address, Some(*new)),
        _ => (address, port),
    })
}

/// Opens a TCP connection with `options` set before anything is sent.
pub(crate) async fn connect_tcp(
    address: SocketAddr,
    options: &[SocketOption],
) -> io::Result<Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let kind = Kind::Ip(Family::of(address.ip()));
    socket.set_tcp_nodelay(true)?;
    for option in options {
        match option {
            // Done below, or by the choice of addresses.
            SocketOption::BindAddress(_) | SocketOption::BindPort(_) | SocketOption::Family(_) => {}
            option => set(&socket, kind, option)?,
        }
    }
    let (local, port) = binding(options);
    if local.is_some() || port.is_some() {
        let any = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let local = SocketAddr::new(local.unwrap_or(any), port.unwrap_or(0));
        socket.bind(&local.into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(address).await.map(Socket::Tcp)
}

/// Opens a connection to a Unix domain socket. A path that begins with NUL is a name in Linux's
/// abstract namespace.
pub(crate) async fn connect_unix(path: &Path, options: &[SocketOption]) -> io::Result<Socket> {
    let socket = Socket::Unix(UnixStream::connect(path).await?);
    options.iter().try_for_each(|option| socket.set_option(option))?;
    Ok(socket)
}

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::Ip),
            Self::Unix(stream) => stream.peer_addr().map(|address| unix_address(&address)),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Address::Ip),
            Self::Unix(stream) => stream.local_addr().map(|address| unix_address(&address)),
        }
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    pub(crate) fn set_option(&self, option: &SocketOption) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                let family = Family::of(stream.local_addr()?.ip());
                set(&SockRef::from(stream), Kind::Ip(family), option)
            }
            Self::Unix(stream) => set(&SockRef::from(stream), Kind::Unix, option),
        }
    }

    /// A writer that fails with `WouldBlock` rather than wait, and needs no task around it.
    pub(crate) fn without_waiting(&self) -> impl io::Write + '_ {
        WithoutWaiting(self)
    }
}

fn unix_address(address: &tokio::net::unix::SocketAddr) -> Address {
    Address::Unix(address.as_pathname().map(Path::to_path_buf))
}

struct WithoutWaiting<'a>(&'a Socket);

impl io::Write for WithoutWaiting<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.0 {
            Socket::Tcp(stream) => stream.try_write(data),
            Socket::Unix(stream) => stream.try_write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Ip(Family),
    Unix,
}

fn set(socket: &socket2::Socket, kind: Kind, option: &SocketOption) -> io::Result<()> {
    match option {
        SocketOption::NoDelay(on) => match kind {
            Kind::Ip(_) => socket.set_tcp_nodelay(*on),
            Kind::Unix => Ok(()),
        },
        SocketOption::KeepAlive(on) => socket.set_keepalive(*on),
        SocketOption::Linger(Some(Duration::ZERO)) => socket.set_linger(Some(Duration::ZERO)),
        SocketOption::Linger(_) => socket.set_linger(None),
        SocketOption::SendBuffer(bytes) => socket.set_send_buffer_size(*bytes),
        SocketOption::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(*bytes),
        SocketOption::ReuseAddress(on) => socket.set_reuse_address(*on),
        SocketOption::Tos(value) => match kind {
            Kind::Ip(Family::V4) => socket.set_tos_v4(*value),
            Kind::Ip(Family::V6) => Ok(()),
            Kind::Unix => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        },
        SocketOption::TrafficClass(value) => match kind {
            Kind::Ip(Family::V4) => Ok(()),
            Kind::Ip(Family::V6) => socket.set_tclass_v6(*value),
            Kind::Unix => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        },
        SocketOption::Priority(value) => set_priority(socket, *value),
        SocketOption::BindDevice(name) => match kind {
            Kind::Ip(_) => bind_device(socket, name),
            Kind::Unix => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        },
        SocketOption::BindAddress(_) | SocketOption::BindPort(_) | SocketOption::Family(_) => {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }
}

#[cfg(target_os = "linux")]
fn set_priority(socket: &socket2::Socket, value: u32) -> io::Result<()> {
    socket.set_priority(value)
}

#[cfg(not(target_os = "linux"))]
fn set_priority(_socket: &socket2::Socket, _value: u32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOTSUP))
}

#[cfg(target_os = "linux")]
fn bind_device(socket: &socket2::Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn bind_device(_socket: &socket2::Socket, _name: &str) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOTSUP))
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
