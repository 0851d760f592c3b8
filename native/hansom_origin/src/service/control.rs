//! What an endpoint may ask of its connection beyond the response itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// Who is on the other side of a connection, as far as an endpoint may show it.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Number of the connection, counted from 1 over all listeners of an origin.
    pub connection: u64,
    /// Where the connection comes from: a socket address, or `unix`.
    pub address: String,
    /// TLS version, such as `TLSv1_3`; `None` without TLS, and then the rest is empty too.
    pub tls_version: Option<String>,
    /// Cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub tls_suite: Option<String>,
    /// Server name the client asked for (RFC 6066).
    pub server_name: Option<String>,
    /// Protocol agreed by ALPN (RFC 7301).
    pub alpn: Option<String>,
    /// How the session began: `Full`, `FullWithHelloRetryRequest` or `Resumed`.
    pub handshake: Option<String>,
    /// Number of certificates the client presented.
    pub client_certificates: usize,
    /// Port of the origin's first HTTP/3 listener.
    pub http3_port: Option<u16>,
}

/// An interim (1xx) response.
#[derive(Clone, Debug)]
pub struct Interim {
    /// A status from 100 to 199.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
}

/// Something to be sent ahead of the response.
#[derive(Clone, Debug)]
pub enum Aside {
    /// An interim response, in whatever form the protocol gives it.
    Interim(Interim),
    /// Bytes sent as they are; on HTTP/2 between two frames. HTTP/3 ignores them.
    Raw(Bytes),
    /// GOAWAY, while the connection stays as it is. HTTP/1.1 ignores it.
    GoAway {
        /// Error code of HTTP/2. HTTP/3 has none.
        code: u32,
        /// Last stream of HTTP/2. HTTP/3 always names the last request so far.
        last: u32,
    },
    /// A new initial window for the streams of HTTP/2, in bytes (RFC 9113, 6.9.2). Ignored elsewhere.
    Window(u32),
}

/// What ends, and how, after an [`Abort`](super::Abort).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// The connection, in order: TLS `close_notify`, then FIN; before them GOAWAY on HTTP/2. CONNECTION_CLOSE on HTTP/3.
    #[default]
    Clean,
    /// The connection, by FIN without TLS `close_notify`. Without TLS and HTTP/2 the same as `Clean`.
    /// On HTTP/3 the server falls silent.
    Cut,
    /// The connection, by TCP RST. A Unix socket is closed at once. On HTTP/3 a stateless reset (RFC 9000, 10.3).
    Reset,
    /// The stream, by a reset with this code, or the internal error of the protocol. HTTP/1.1: as `Reset`.
    Stream(Option<u64>),
    /// The connection, with this code: GOAWAY and FIN on HTTP/2, CONNECTION_CLOSE on HTTP/3. HTTP/1.1: as `Clean`.
    Connection(u64),
}

/// The link between the endpoints of one connection and its listener. Where streams share a connection, each has its
/// own, see [`Control::stream`].
///
/// The listener looks at [`Control::has_work`] whenever all it has buffered is written, sends what
/// [`Control::take_asides`] gives, and calls [`Control::flushed`].
#[derive(Debug)]
pub struct Control {
    peer: Arc<Peer>,
    requests: Arc<AtomicU64>,
    // Kept apart from the lock, so that an ordinary response costs one relaxed load.
    has_work: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asides: Vec<Aside>,
    flushes: u64,
    waker: Option<Waker>,
}

impl Control {
    /// The control of a new connection with this peer.
    pub fn new(peer: Peer) -> Arc<Self> {
        Self::link(Arc::new(peer), Arc::default())
    }

    /// The control of one stream of this connection.
    pub fn stream(&self) -> Arc<Self> {
        Self::link(Arc::clone(&self.peer), Arc::clone(&self.requests))
    }

    /// The same after the peer has moved to this address.
    pub fn stream_from(&self, address: String) -> Arc<Self> {
        let peer = Peer { address, ..Peer::clone(&self.peer) };
        Self::link(Arc::new(peer), Arc::clone(&self.requests))
    }

    fn link(peer: Arc<Peer>, requests: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Control {
            peer,
            requests,
            has_work: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// Who is on the other side.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// How many requests this connection has brought so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends `aside` ahead of the response; the future is ready when it has been written.
    pub fn send(self: &Arc<Self>, aside: Aside) -> Flush {
        self.state().asides.push(aside);
        self.flush()
    }

    /// Ready when all that was handed over before has been written to the socket.
    pub fn flush(self: &Arc<Self>) -> Flush {
        Flush { control: Arc::clone(self), target: None }
    }

    /// Whether something waits for the next flush.
    pub fn has_work(&self) -> bool {
        self.has_work.load(Ordering::Relaxed)
    }

    /// What has to be sent now, in order.
    pub fn take_asides(&self) -> Vec<Aside> {
        std::mem::take(&mut self.state().asides)
    }

    /// The listener reports that everything is written.
    pub fn flushed(&self) {
        let mut state = self.state();
        self.has_work.store(false, Ordering::Relaxed);
        state.flushes += 1;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Future of a flush; see [`Control::flush`].
#[derive(Debug)]
pub struct Flush {
    control: Arc<Control>,
    target: Option<u64>,
}

impl Future for Flush {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let control = Arc::clone(&self.control);
        let mut state = control.state();
        match self.target {
            Some(target) if state.flushes >= target => return Poll::Ready(()),
            Some(_) => {}
            None => {
                self.target = Some(state.flushes + 1);
                control.has_work.store(true, Ordering::Relaxed);
                // The listener may be past its flush in this poll of the connection: have it come round again.
                cx.waker().wake_by_ref();
            }
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
