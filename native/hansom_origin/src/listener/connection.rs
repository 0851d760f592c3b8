//! From an accepted byte stream to the protocol spoken on it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::delay::Delayed;
use super::socket::Socket;
use super::{Limits, http1, http2, sniff};
use crate::service::{Control, Peer};

/// How long the handshake of TLS or QUIC may take.
pub(super) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// How a listener serves its connections.
#[derive(Clone, Copy)]
pub(super) struct Serving {
    pub(super) limits: Limits,
    pub(super) delay: Duration,
    pub(super) http3_port: Option<u16>,
}

impl Serving {
    /// Serves plain TCP.
    pub(super) async fn tcp(self, socket: TcpStream, peer: Peer) {
        if self.delay.is_zero() {
            self.plain(socket, peer).await;
        } else {
            self.plain(Delayed::new(socket, self.delay), peer).await;
        }
    }

    /// Serves TLS over TCP.
    pub(super) async fn tls(self, socket: TcpStream, acceptor: TlsAcceptor, peer: Peer) {
        if self.delay.is_zero() {
            self.secure(socket, acceptor, peer).await;
        } else {
            self.secure(Delayed::new(socket, self.delay), acceptor, peer).await;
        }
    }

    /// Serves HTTP/1.1, or HTTP/2 to a peer that begins with its preface.
    pub(super) async fn plain<S: Socket>(self, socket: S, peer: Peer) {
        let control = Control::new(peer);
        match sniff::speaks_http2(socket).await {
            Ok((true, socket)) => http2::serve(socket, control, self.limits).await,
            Ok((false, socket)) => http1::serve(socket, control).await,
            // A peer that has gone before it said a word.
            Err(_) => {}
        }
    }

    async fn secure<S: Socket>(self, socket: S, acceptor: TlsAcceptor, peer: Peer) {
        // A handshake that fails has told the peer by an alert.
        let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, acceptor.accept(socket)).await else {
            return;
        };
        let peer = describe(&stream, peer);
        let http2 = peer.alpn.as_deref() == Some("h2");
        let control = Control::new(peer);
        if http2 {
            http2::serve(stream, control, self.limits).await;
        } else {
            http1::serve(stream, control).await;
        }
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
