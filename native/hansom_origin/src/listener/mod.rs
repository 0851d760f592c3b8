//! Listeners: what accepts connections and hands their requests to the [`service`](crate::service).

mod connection;
mod delay;
mod exchange;
mod http1;
mod http2;
mod http3;
pub(crate) mod sniff;
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
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::service::Peer;
use crate::tls::{EarlyData, Tls, TlsError};
use connection::Serving;

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
    /// HTTP/3 over QUIC; needs `tls`.
    pub http3: Vec<SocketAddr>,
    /// TLS of all `https` and `http3` listeners.
    pub tls: Option<Tls>,
    /// What HTTP/2 and HTTP/3 allow a peer.
    pub limits: Limits,
    /// The path to the TCP, TLS and HTTP/3 listeners.
    pub path: NetworkPath,
    /// How the HTTP/3 listeners begin connections.
    pub quic: Quic,
}

/// What a connection of HTTP/2 or HTTP/3 allows its peer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Window each stream begins with, in bytes. Default: 8 MiB. With 0 an HTTP/2 peer never gets to send a body; on
    /// HTTP/3 heads count too, so that nothing at all gets through.
    pub stream_window: u32,
    /// Window of the whole connection, in bytes. Default: 32 MiB. HTTP/2 has at least 65535.
    pub connection_window: u32,
    /// Concurrent requests. Default: 1024.
    pub max_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { stream_window: 8 << 20, connection_window: 32 << 20, max_streams: 1024 }
    }
}

/// What the path between a peer and a listener adds.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkPath {
    /// Added to each round trip, half in each direction. The handshake of TCP itself is not delayed.
    pub delay: Duration,
    /// Datagrams of QUIC that get lost in each direction, in percent. The same ones in each run.
    pub loss: u8,
}

/// How a listener for HTTP/3 begins connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quic {
    /// Have every client prove its address by a Retry packet first (RFC 9000, 8.1.2).
    pub retry: bool,
    /// What to do with early data.
    pub early_data: EarlyData,
    /// Send nothing of reserved types (RFC 9114, 7.2.8): there are clients that never see the end of a response behind
    /// such a frame.
    pub no_grease: bool,
}

/// A running origin. Dropping it stops all listeners and connections.
#[derive(Debug)]
pub struct Origin {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    unix: Vec<PathBuf>,
    http3: Vec<SocketAddr>,
    // Its drop aborts the tasks.
    listeners: JoinSet<()>,
}

impl Origin {
    /// Binds and starts all listeners on the runtime of the caller.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let connections = Arc::new(AtomicU64::new(0));
        let mut origin = Origin {
            http: vec![],
            https: vec![],
            unix: vec![],
            http3: vec![],
            listeners: JoinSet::new(),
        };
        for address in config.http3 {
            let tls = config.tls.as_ref().ok_or(StartError::NoCertificates)?;
            let tls = tls.quic(config.quic.early_data).map_err(StartError::Tls)?;
            let listener =
                http3::Listener::bind(address, tls, config.limits, config.path, config.quic)
                    .map_err(|reason| StartError::Bind(address.to_string(), reason))?;
            origin.http3.push(listener.address());
            origin.listeners.spawn(listener.run(Arc::clone(&connections)));
        }
        let serving = Serving {
            limits: config.limits,
            delay: config.path.delay,
            http3_port: origin.http3.first().map(SocketAddr::port),
        };
        for address in config.http {
            let (listener, bound) = bind(address).await?;
            origin.http.push(bound);
            origin.accept(Listener::Tcp(listener), serving, &connections);
        }
        if !config.https.is_empty() {
            let tls = config.tls.as_ref().ok_or(StartError::NoCertificates)?;
            let acceptor = tls.acceptor().map_err(StartError::Tls)?;
            for address in config.https {
                let (listener, bound) = bind(address).await?;
                origin.https.push(bound);
                origin.accept(Listener::Tls(listener, acceptor.clone()), serving, &connections);
            }
        }
        for path in config.unix {
            let listener = bind_unix(&path)
                .map_err(|reason| StartError::Bind(path.display().to_string(), reason))?;
            origin.unix.push(path);
            origin.accept(Listener::Unix(listener), serving, &connections);
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

    /// Bound addresses of the HTTP/3 listeners, in the order of the configuration.
    pub fn http3(&self) -> &[SocketAddr] {
        &self.http3
    }

    fn accept(&mut self, listener: Listener, serving: Serving, connections: &Arc<AtomicU64>) {
        self.listeners.spawn(listener.run(serving, Arc::clone(connections)));
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

/// The number of the next connection.
fn next(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed) + 1
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
    async fn run(self, serving: Serving, count: Arc<AtomicU64>) {
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
            let mut peer = Peer {
                connection: next(&count),
                http3_port: serving.http3_port,
                ..Peer::default()
            };
            match accepted {
                Ok(Accepted::Tcp(socket, from)) => {
                    peer.address = from.to_string();
                    // Without it a small response waits for the peer's delayed acknowledgement.
                    let _ = socket.set_nodelay(true);
                    match &self {
                        Listener::Tls(_, acceptor) => {
                            connections.spawn(serving.tls(socket, acceptor.clone(), peer))
                        }
                        _ => connections.spawn(serving.tcp(socket, peer)),
                    };
                }
                Ok(Accepted::Unix(socket)) => {
                    peer.address = "unix".into();
                    connections.spawn(serving.plain(socket, peer));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
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
