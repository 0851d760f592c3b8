//! The way of one connection: its endpoint, and the socket it has at present.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, VarInt};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::drivers::Drivers;
use super::socket::Socket;
use crate::error::Error;
use crate::transport::{SocketOption, posix};

/// What the peer is told when a connection is dropped: `H3_NO_ERROR` (RFC 9114, section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// How long a peer may say nothing at all before it counts as unreachable. The first packet goes out
/// again after one and after three seconds (RFC 9002, section 6.2), which leaves one for the answer.
const LONGEST_SILENCE: Duration = Duration::from_secs(4);

/// How long a connection stays with a new socket before it may get another.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Path {
    runtime: Handle,
    endpoint: Endpoint,
    socket: Mutex<Arc<Socket>>,
    peer: SocketAddr,
    options: Vec<SocketOption>,
    /// Why the connection was given up without a word from the peer.
    unreachable: OnceLock<Error>,
}

impl Path {
    /// Must be called on the runtime.
    pub(super) fn open(
        peer: SocketAddr,
        options: &[SocketOption],
        drivers: &Arc<Drivers>,
    ) -> io::Result<Arc<Self>> {
        let socket = Arc::new(Socket::open(peer, options)?);
        let endpoint = Endpoint::new_with_abstract_socket(
            EndpointConfig::default(),
            None,
            socket.clone(),
            drivers.clone(),
        )?;
        Ok(Arc::new(Self {
            runtime: Handle::current(),
            endpoint,
            socket: Mutex::new(socket),
            peer,
            options: options.to_vec(),
            unreachable: OnceLock::new(),
        }))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Waits until the system says that the peer cannot be reached.
    pub(super) async fn trouble(&self) -> io::Error {
        self.socket().trouble().await
    }

    /// Waits until the peer has not said anything for longer than is worth waiting for.
    pub(super) async fn silence(&self) {
        if timeout(LONGEST_SILENCE, self.socket().heard()).await.is_ok() {
            std::future::pending().await
        }
    }

    /// What [`Self::await_first`] ended the connection for.
    pub(super) fn unreachable(&self) -> Option<&Error> {
        self.unreachable.get()
    }

    /// Tells the peer of the end when the drivers are polled next; nothing waits for the socket
    /// any more.
    pub(super) fn close(&self) {
        self.endpoint.close(NO_ERROR, b"");
        self.socket().begin_close();
    }

    /// Changes to a new socket. For any thread.
    pub(super) fn renew(&self) -> io::Result<()> {
        let _entered = self.runtime.enter();
        self.change_to(Socket::open(self.peer, &self.options)?)
    }

    /// Waits for the first packet of a connection on which data was sent ahead of the handshake, and
    /// ends it if nobody is there. What `heard` does is done when the packet has come.
    pub(super) async fn await_first(self: Arc<Self>, heard: impl FnOnce()) {
        let socket = self.socket();
        tokio::select! {
            () = socket.heard() => {}
            error = socket.trouble() => {
                let _ = self.unreachable.set(posix(&error));
                return self.endpoint.close(NO_ERROR, b"");
            }
        }
        heard();
        self.follow().await;
    }

    /// Looks after a connection that is in use, for as long as that is.
    pub(super) async fn follow(self: Arc<Self>) {
        loop {
            self.socket().trouble().await;
            self.reconsider();
            tokio::time::sleep(RENEWAL_INTERVAL).await;
        }
    }

    /// The system refuses to send: the local address may be gone, and there may be another.
    fn reconsider(&self) {
        let before = self.socket().local_address().ok();
        if let Ok(new) = Socket::open(self.peer, &self.options)
            && new.local_address().ok() != before
        {
            // A failure leaves the old socket, whose next error leads here again.
            let _ = self.change_to(new);
        }
    }

    fn change_to(&self, new: Socket) -> io::Result<()> {
        let new = Arc::new(new);
        self.endpoint.rebind_abstract(new.clone())?;
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn socket(&self) -> Arc<Socket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use tokio::time::Instant;

    use super::*;

    /// A peer that says nothing by itself, and the way to it.
    fn path(options: &[SocketOption]) -> (UdpSocket, Arc<Path>, Arc<Drivers>) {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let drivers = Drivers::new();
        let path = Path::open(peer.local_addr().unwrap(), options, &drivers).unwrap();
        (peer, path, drivers)
    }

    /// A way that begins at an address the system would not choose now.
    fn path_from_elsewhere() -> (UdpSocket, Arc<Path>, Arc<Drivers>) {
        let elsewhere = SocketOption::BindAddress(Ipv4Addr::new(127, 0, 0, 2).into());
        let (peer, mut path, drivers) = path(&[elsewhere]);
        Arc::get_mut(&mut path).unwrap().options.clear();
        (peer, path, drivers)
    }

    fn fail_to_send(path: &Path) {
        path.socket().keep(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
    }

    /// Waits, in the clock of the test, until the connection has left `address`.
    async fn left(path: &Path, address: SocketAddr) -> SocketAddr {
        timeout(Duration::from_secs(100), async {
            loop {
                let now = path.local_address().unwrap();
                if now != address {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it stays")
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_leaves_an_address_that_is_gone() {
        let (_peer, path, drivers) = path_from_elsewhere();
        let before = path.local_address().unwrap();
        assert_eq!(before.ip(), Ipv4Addr::new(127, 0, 0, 2));
        drivers.attend(path.clone().follow());
        fail_to_send(&path);
        assert_eq!(left(&path, before).await.ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(path.socket().local_address().unwrap(), Ipv4Addr::LOCALHOST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_followed_the_first_packet_follows_the_address_too() {
        let (peer, path, drivers) = path_from_elsewhere();
        let before = path.local_address().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        drivers.attend(path.clone().await_first(|| tell.send(()).unwrap()));
        peer.send_to(b"anything", before).unwrap();
        told.await.unwrap();
        fail_to_send(&path);
        assert_eq!(left(&path, before).await.ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(path.unreachable(), None);
    }

    #[tokio::test]
    async fn a_connection_stays_where_there_is_nothing_better() {
        let (_peer, path, _drivers) = path(&[]);
        let before = path.local_address();
        path.reconsider();
        assert_eq!(path.local_address().unwrap(), before.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_given_up() {
        let (_peer, path, _drivers) = path(&[]);
        let begin = Instant::now();
        path.silence().await;
        assert_eq!(begin.elapsed(), LONGEST_SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_was_heard_is_waited_for() {
        let (peer, path, _drivers) = path(&[]);
        peer.send_to(b"anything", path.local_address().unwrap()).unwrap();
        path.socket().heard().await;
        assert!(timeout(10 * LONGEST_SILENCE, path.silence()).await.is_err());
    }
}
