//! The UDP socket under a QUIC connection.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::transport::SocketOption;
use crate::transport::socket::{is_connected, open_udp};

/// A socket for one peer, which keeps what the system says of the way there.
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// The user's own type of service would be lost in what quinn sends, since that marks each
    /// packet for ECN (RFC 3168), which is in the same octet.
    own_tos: bool,
    /// Whatever is sent is sent now or not at all: the runtime may be gone.
    closing: AtomicBool,
    /// Packets came in.
    received: AtomicBool,
    first_received: Notify,
    trouble: Mutex<Option<io::Error>>,
    in_trouble: Notify,
}

impl Socket {
    /// A socket for `address` alone, with `options` set. Must be called on the runtime.
    pub(super) fn open(address: SocketAddr, options: &[SocketOption]) -> io::Result<Self> {
        let socket = open_udp(address, options)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            state,
            own_tos: options.iter().any(|option| {
                matches!(option, SocketOption::Tos(_) | SocketOption::TrafficClass(_))
            }),
            closing: AtomicBool::new(false),
            received: AtomicBool::new(false),
            first_received: Notify::new(),
            trouble: Mutex::new(None),
            in_trouble: Notify::new(),
        })
    }

    /// From now on nothing waits for the socket.
    pub(super) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Waits until the system says that the peer cannot be reached.
    pub(super) async fn trouble(&self) -> io::Error {
        loop {
            let kept = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(error) = kept {
                return error;
            }
            tokio::select! {
                () = self.in_trouble.notified() => {}
                // An error alone does not make the socket readable.
                _ = self.io.ready(Interest::ERROR) => self.look_for_error(),
            }
        }
    }

    fn look_for_error(&self) {
        // Cleared first, so that no later one is missed.
        let _ = self.io.try_io(Interest::ERROR, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        });
        if let Ok(Some(error)) = self.io.take_error() {
            self.keep(error);
        }
    }

    /// Waits until the peer has sent something.
    pub(super) async fn heard(&self) {
        if !self.has_received() {
            // The permit of a notification that came in between is not lost.
            self.first_received.notified().await;
        }
    }

    pub(super) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// The local address, without the port.
    pub(super) fn local_address(&self) -> io::Result<IpAddr> {
        self.io.local_addr().map(|address| address.ip())
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Keeps an error that says something about the way to the peer; others are of one packet.
    pub(super) fn keep(&self, error: io::Error) {
        if is_of_the_way(&error) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.in_trouble.notify_one();
        }
    }
}

fn is_of_the_way(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EADDRNOTAVAIL
                | libc::EACCES
                | libc::EPERM
                | libc::EINVAL
        )
    )
}

/// Sends packets as the socket's options have it.
fn send_plainly(socket: &socket2::Socket, transmit: &Transmit<'_>) -> io::Result<()> {
    let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
    let destination = transmit.destination.into();
    for packet in transmit.contents.chunks(size) {
        if is_connected() { socket.send(packet) } else { socket.send_to(packet, &destination) }?;
    }
    Ok(())
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("io", &self.io).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self))
    }

    /// Fails only for want of room. An error of one packet must not end the connection: packets
    /// get lost anyway.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = || {
            if self.own_tos {
                send_plainly(&SockRef::from(&self.io), transmit)
            } else {
                self.state.try_send((&self.io).into(), transmit)
            }
        };
        if self.is_closing() {
            let _ = send();
            return Ok(());
        }
        match self.io.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.keep(error);
                Ok(())
            }
            sent => sent,
        }
    }

    /// Never fails: what the system reports here are ICMP messages, which anybody may have sent
    /// (RFC 9000, section 14.2.1).
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        while !self.is_closing() {
            ready!(self.io.poll_recv_ready(cx))?;
            let receive = || self.state.recv((&self.io).into(), buffers, meta);
            match self.io.try_io(Interest::READABLE, receive) {
                Ok(count) => {
                    if !self.received.swap(true, Ordering::Relaxed) {
                        self.first_received.notify_one();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.keep(error),
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        if self.own_tos { 1 } else { self.state.max_gso_segments() }
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits for room to send. Only the task of the one connection ever does.
#[derive(Debug)]
struct Poller(Arc<Socket>);

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.is_closing() { Poll::Ready(Ok(())) } else { self.0.io.poll_send_ready(cx) }
    }
}
