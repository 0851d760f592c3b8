//! Listeners: what accepts connections and hands their requests to the [`service`](crate::service).

mod http1;
pub mod socket;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::service::{Control, Peer};
use crate::tls::{Tls, TlsError};
use socket::Socket;

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// How long to wait after a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What an origin listens on. Port 0 takes a free one.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Plain TCP.
    pub http: Vec<SocketAddr>,
    /// TLS over TCP; needs `tls`.
    pub https: Vec<SocketAddr>,
    /// Unix sockets. A socket file that is already there is replaced.
    pub unix: Vec<PathBuf>,
    /// TLS of all `https` listeners.
    pub tls: Option<Tls>,
}

/// A running origin. Dropping it stops all listeners and connections.
#[derive(Debug)]
pub struct Origin {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    unix: Vec<PathBuf>,
    // Its drop aborts the tasks.
    listeners: JoinSet<()>,
}

impl Origin {
    /// Binds and starts all listeners on the runtime of the caller.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let connections = Arc::new(AtomicU64::new(0));
        let mut origin =
            Origin { http: vec![], https: vec![], unix: vec![], listeners: JoinSet::new() };
        for address in config.http {
            let (listener, bound) = bind(address).await?;
            origin.http.push(bound);
            origin.accept(Listener::Tcp(listener), &connections);
        }
        if !config.https.is_empty() {
            let tls = config.tls.ok_or(StartError::NoCertificates)?;
            let acceptor = tls.acceptor().map_err(StartError::Tls)?;
            for address in config.https {
                let (listener, bound) = bind(address).await?;
                origin.https.push(bound);
                origin.accept(Listener::Tls(listener, acceptor.clone()), &connections);
            }
        }
        for path in config.unix {
            let listener = bind_unix(&path)
                .map_err(|reason| StartError::Bind(path.display().to_string(), reason))?;
            origin.unix.push(path);
            origin.accept(Listener::Unix(listener), &connections);
        }
        Ok(origin)
    }

    /// Bound addresses of the plain listeners, in the order of the configuration.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Bound addresses of the TLS listeners, in the order of the configuration.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Paths of the Unix listeners.
    pub fn unix(&self) -> &[PathBuf] {
        &self.unix
    }

    fn accept(&mut self, listener: Listener, connections: &Arc<AtomicU64>) {
        self.listeners.spawn(listener.run(Arc::clone(connections)));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        for path in &self.unix {
            // Somebody else may have removed it; then there is nothing to do.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds a TCP listener, and gives the address it got.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |reason| StartError::Bind(address.to_string(), reason);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn run(self, count: Arc<AtomicU64>) {
        // Owned by this task, so that its end ends the connections too.
        let mut connections = JoinSet::new();
        loop {
            let accepted = match &self {
                Listener::Tcp(listener) | Listener::Tls(listener, _) => {
                    listener.accept().await.map(|(socket, from)| Accepted::Tcp(socket, from))
                }
                Listener::Unix(listener) => {
                    listener.accept().await.map(|(socket, _)| Accepted::Unix(socket))
                }
            };
            while connections.try_join_next().is_some() {}
            let mut peer =
                Peer { connection: count.fetch_add(1, Ordering::Relaxed) + 1, ..Peer::default() };
            match accepted {
                Ok(Accepted::Tcp(socket, from)) => {
                    peer.address = from.to_string();
                    // Without it a small response waits for the peer's delayed acknowledgement.
                    let _ = socket.set_nodelay(true);
                    match &self {
                        Listener::Tls(_, acceptor) => {
                            connections.spawn(serve_tls(socket, acceptor.clone(), peer))
                        }
                        _ => connections.spawn(http1::serve(socket, Control::new(peer))),
                    };
                }
                Ok(Accepted::Unix(socket)) => {
                    peer.address = "unix".into();
                    connections.spawn(http1::serve(socket, Control::new(peer)));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

async fn serve_tls(socket: TcpStream, acceptor: TlsAcceptor, peer: Peer) {
    // A handshake that fails has told the peer by an alert.
    if let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, acceptor.accept(socket)).await {
        let control = Control::new(describe(&stream, peer));
        http1::serve(stream, control).await;
    }
}

fn describe<S: Socket>(stream: &TlsStream<S>, peer: Peer) -> Peer {
    let (_, session) = stream.get_ref();
    Peer {
        tls_version: session.protocol_version().map(|version| format!("{version:?}")),
        tls_suite: session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
        server_name: session.server_name().map(str::to_owned),
        alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        handshake: session.handshake_kind().map(|kind| format!("{kind:?}")),
        client_certificates: session.peer_certificates().map_or(0, <[_]>::len),
        ..peer
    }
}

/// Why an origin does not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener cannot be bound; the text is its address or path.
    Bind(String, io::Error),
    /// `https` without `tls`.
    NoCertificates,
    /// The TLS configuration is no good.
    Tls(TlsError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(address, reason) => write!(f, "cannot listen on {address}: {reason}"),
            StartError::NoCertificates => f.write_str("TLS needs a folder of certificates"),
            StartError::Tls(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
