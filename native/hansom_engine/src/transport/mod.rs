//! What carries the bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;

/// An address of either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of a TCP socket.
    Ip(SocketAddr),
    /// Of a Unix domain socket, if it has one.
    Unix(Option<PathBuf>),
}

/// An option of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// `TCP_NODELAY`
    NoDelay(bool),
    /// `SO_KEEPALIVE`
    KeepAlive(bool),
    /// `SO_LINGER`
    Linger(Option<Duration>),
    /// `SO_SNDBUF`, bytes
    SendBuffer(usize),
    /// `SO_RCVBUF`, bytes
    ReceiveBuffer(usize),
    /// `SO_REUSEADDR`
    ReuseAddress(bool),
    /// `IP_TOS`
    Tos(u32),
    /// `IPV6_TCLASS`
    TrafficClass(u32),
    /// `SO_PRIORITY`
    Priority(u32),
    /// The local address.
    BindAddress(IpAddr),
    /// The local port.
    BindPort(u16),
    /// `SO_BINDTODEVICE`
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

/// TLS settings shared by connections.
#[derive(Debug)]
pub struct TlsClient;

pub(crate) fn classify(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Closed,
        _ => Error::Posix("eio"),
    }
}
