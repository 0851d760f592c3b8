//! The sockets under a link, and their options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::Address;
use super::beam::Pipe;

/// `SO_RCVBUF` of UDP sockets, in bytes, unless options say otherwise; the system may give less. The
/// usual default does not hold what a fast server sends while the receiver waits for a processor.
const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// The longest time between two attempts to connect to a Unix domain socket with a full backlog.
const FULL_BACKLOG: Duration = Duration::from_millis(50);

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
    if let Some(local) = local_address(address, options) {
        socket.bind(&local.into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(address).await.map(Socket::Tcp)
}

/// The local address to bind to, if `options` ask for one.
fn local_address(peer: SocketAddr, options: &[SocketOption]) -> Option<SocketAddr> {
    let (local, port) = binding(options);
    if local.is_none() && port.is_none() {
        return None;
    }
    Some(SocketAddr::new(local.unwrap_or(unspecified(peer)), port.unwrap_or(0)))
}

fn unspecified(peer: SocketAddr) -> IpAddr {
    match peer {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Whether UDP sockets are connected to their peer. The system then tells when the peer cannot be
/// reached, and which local address it chose; but only Linux allows to name the peer with each
/// packet as well, which quinn does.
pub(crate) const fn is_connected() -> bool {
    cfg!(target_os = "linux")
}

/// Opens a UDP socket for packets to and from `peer`, with `options` set; those that are about
/// streams of bytes have no effect.
pub(crate) fn open_udp(
    peer: SocketAddr,
    options: &[SocketOption],
) -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if peer.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Less room means more loss, nothing worse.
    let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER);
    let kind = Kind::Ip(Family::of(peer.ip()));
    for option in options {
        match option {
            SocketOption::NoDelay(_) | SocketOption::KeepAlive(_) | SocketOption::Linger(_) => {}
            SocketOption::BindAddress(_) | SocketOption::BindPort(_) | SocketOption::Family(_) => {}
            option => set(&socket, kind, option)?,
        }
    }
    let local = local_address(peer, options);
    let local = local.unwrap_or_else(|| SocketAddr::new(unspecified(peer), 0));
    socket.bind(&local.into())?;
    if is_connected() {
        socket.connect(&peer.into())?;
    }
    Ok(socket.into())
}

/// Opens a connection to a Unix domain socket. A path that begins with NUL is a name in Linux's
/// abstract namespace.
///
/// Where nobody accepts for the moment, Linux does not queue the call as that of a TCP socket, nor
/// does it tell when there is room again, so that it is repeated.
pub(crate) async fn connect_unix(path: &Path, options: &[SocketOption]) -> io::Result<Socket> {
    let mut pause = Duration::from_millis(1);
    let stream = loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(FULL_BACKLOG);
            }
            result => break result?,
        }
    };
    let socket = Socket::Unix(stream);
    options.iter().try_for_each(|option| socket.set_option(option))?;
    Ok(socket)
}

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// One that somebody else has read from.
    Unread(Box<Unread>),
    /// No socket of ours: the embedder moves the bytes.
    Pipe(Pipe),
}

/// A socket and what was read from it before.
#[derive(Debug)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    start: usize,
    socket: Socket,
}

impl Unread {
    pub(crate) fn new(bytes: Vec<u8>, socket: Socket) -> Self {
        Self { bytes, start: 0, socket }
    }
}

/// What only the embedder can say of a pipe.
fn carried() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl Socket {
    /// Whether the embedder moves the bytes.
    pub(crate) fn is_carried(&self) -> bool {
        self.pipe().is_some()
    }

    pub(crate) fn pipe(&self) -> Option<&Pipe> {
        match self {
            Self::Pipe(pipe) => Some(pipe),
            Self::Unread(unread) => unread.socket.pipe(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// The address family; `None` for a Unix domain socket.
    pub(crate) fn family(&self) -> Option<Family> {
        match self.local_address() {
            Ok(Address::Ip(address)) => Some(Family::of(address.ip())),
            _ => None,
        }
    }

    /// The descriptor, for somebody else to go on with. Fails if that is impossible.
    pub(crate) fn into_descriptor(self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(OwnedFd::from),
            Self::Unix(stream) => stream.into_std().map(OwnedFd::from),
            // What was read cannot be put back.
            Self::Unread(unread) if unread.start < unread.bytes.len() => Err(carried()),
            Self::Unread(unread) => unread.socket.into_descriptor(),
            Self::Pipe(_) => Err(carried()),
        }
    }

    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::Ip),
            Self::Unix(stream) => stream.peer_addr().map(|address| unix_address(&address)),
            Self::Unread(unread) => unread.socket.peer_address(),
            Self::Pipe(_) => Err(carried()),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Address::Ip),
            Self::Unix(stream) => stream.local_addr().map(|address| unix_address(&address)),
            Self::Unread(unread) => unread.socket.local_address(),
            Self::Pipe(_) => Err(carried()),
        }
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
            Self::Unread(unread) => unread.socket.take_error(),
            Self::Pipe(_) => Ok(None),
        }
    }

    pub(crate) fn set_option(&self, option: &SocketOption) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                let family = Family::of(stream.local_addr()?.ip());
                set(&SockRef::from(stream), Kind::Ip(family), option)
            }
            Self::Unix(stream) => set(&SockRef::from(stream), Kind::Unix, option),
            Self::Unread(unread) => unread.socket.set_option(option),
            Self::Pipe(_) => Err(carried()),
        }
    }

    /// A writer that fails with `WouldBlock` rather than wait, and needs no task around it.
    pub(crate) fn without_waiting(&self) -> WithoutWaiting<'_> {
        WithoutWaiting(self)
    }
}

fn unix_address(address: &tokio::net::unix::SocketAddr) -> Address {
    Address::Unix(address.as_pathname().map(Path::to_path_buf))
}

pub(crate) struct WithoutWaiting<'a>(&'a Socket);

impl io::Write for WithoutWaiting<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.0 {
            Socket::Tcp(stream) => stream.try_write(data),
            Socket::Unix(stream) => stream.try_write(data),
            Socket::Unread(unread) => unread.socket.without_waiting().write(data),
            Socket::Pipe(pipe) => pipe.try_write(data)?.ok_or(io::ErrorKind::WouldBlock.into()),
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
            Self::Unread(unread) => {
                let Unread { bytes, start, socket } = &mut **unread;
                match bytes.get(*start..) {
                    Some(rest) if !rest.is_empty() => {
                        let len = rest.len().min(buffer.remaining());
                        buffer.put_slice(rest.get(..len).unwrap_or_default());
                        *start += len;
                        Poll::Ready(Ok(()))
                    }
                    _ => Pin::new(socket).poll_read(cx, buffer),
                }
            }
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buffer),
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
            Self::Unread(unread) => Pin::new(&mut unread.socket).poll_write(cx, data),
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, data),
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
            Self::Unread(unread) => Pin::new(&mut unread.socket).poll_write_vectored(cx, parts),
            Self::Pipe(pipe) => Pin::new(pipe).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Unread(unread) => unread.socket.is_write_vectored(),
            Self::Pipe(_) => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unread(unread) => Pin::new(&mut unread.socket).poll_flush(cx),
            Self::Pipe(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unread(unread) => Pin::new(&mut unread.socket).poll_shutdown(cx),
            Self::Pipe(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    async fn connect(host: &str, options: &[SocketOption]) -> (Socket, TcpStream) {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = connect_tcp(address, options).await.unwrap();
        (socket, listener.accept().await.unwrap().0)
    }

    fn option_of<T>(socket: &Socket, get: fn(&socket2::Socket) -> io::Result<T>) -> T {
        match socket {
            Socket::Tcp(stream) => get(&SockRef::from(stream)).unwrap(),
            Socket::Unix(stream) => get(&SockRef::from(stream)).unwrap(),
            Socket::Unread(_) | Socket::Pipe(_) => unreachable!("not opened by a dial"),
        }
    }

    #[tokio::test]
    async fn small_writes_are_not_held_back_unless_asked() {
        let (socket, _peer) = connect("127.0.0.1", &[]).await;
        assert!(option_of(&socket, socket2::Socket::tcp_nodelay));
        let (socket, _peer) = connect("127.0.0.1", &[SocketOption::NoDelay(false)]).await;
        assert!(!option_of(&socket, socket2::Socket::tcp_nodelay));
    }

    #[tokio::test]
    async fn options_reach_the_socket() {
        let options = [
            SocketOption::KeepAlive(true),
            SocketOption::SendBuffer(70_000),
            SocketOption::ReceiveBuffer(80_000),
            SocketOption::ReuseAddress(true),
            SocketOption::Tos(0x10),
            SocketOption::TrafficClass(0x20),
        ];
        let (socket, _peer) = connect("127.0.0.1", &options).await;
        assert!(option_of(&socket, socket2::Socket::keepalive));
        assert!(option_of(&socket, socket2::Socket::reuse_address));
        assert!(option_of(&socket, socket2::Socket::send_buffer_size) >= 70_000);
        assert!(option_of(&socket, socket2::Socket::recv_buffer_size) >= 80_000);
        assert_eq!(option_of(&socket, socket2::Socket::tos_v4), 0x10);
        let (socket, _peer) = connect("::1", &options).await;
        assert_eq!(option_of(&socket, socket2::Socket::tclass_v6), 0x20);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn priority_reaches_the_socket() {
        let (socket, _peer) = connect("127.0.0.1", &[SocketOption::Priority(3)]).await;
        assert_eq!(option_of(&socket, socket2::Socket::priority), 3);
    }

    #[tokio::test]
    async fn only_zero_lingers() {
        let linger = |time| SocketOption::Linger(time);
        let (socket, _peer) = connect("127.0.0.1", &[linger(Some(Duration::ZERO))]).await;
        assert_eq!(option_of(&socket, socket2::Socket::linger), Some(Duration::ZERO));
        socket.set_option(&linger(Some(Duration::from_secs(5)))).unwrap();
        assert_eq!(option_of(&socket, socket2::Socket::linger), None);
        socket.set_option(&linger(Some(Duration::ZERO))).unwrap();
        socket.set_option(&linger(None)).unwrap();
        assert_eq!(option_of(&socket, socket2::Socket::linger), None);
    }

    #[tokio::test]
    async fn unix_sockets_know_the_general_options_only() {
        let path = std::env::temp_dir().join(format!("hansom-options-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _listener = UnixListener::bind(&path).unwrap();
        let options = [SocketOption::SendBuffer(70_000), SocketOption::NoDelay(true)];
        let socket = connect_unix(&path, &options).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(option_of(&socket, socket2::Socket::send_buffer_size) >= 70_000);
        let number = |option| socket.set_option(&option).unwrap_err().raw_os_error();
        assert_eq!(number(SocketOption::Tos(1)), Some(libc::EOPNOTSUPP));
        assert_eq!(number(SocketOption::TrafficClass(1)), Some(libc::EOPNOTSUPP));
        assert_eq!(number(SocketOption::BindDevice("lo".into())), Some(libc::EOPNOTSUPP));
        assert_eq!(number(SocketOption::BindPort(1)), Some(libc::EINVAL));
    }

    #[test]
    fn the_last_binding_counts() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let options = [
            SocketOption::BindAddress(address("127.0.0.1")),
            SocketOption::BindPort(1),
            SocketOption::BindAddress(address("127.0.0.2")),
        ];
        assert_eq!(binding(&options), (Some(address("127.0.0.2")), Some(1)));
        assert_eq!(binding(&[]), (None, None));
    }
}
