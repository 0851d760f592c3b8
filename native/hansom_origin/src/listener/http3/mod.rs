//! HTTP/3 over QUIC.

mod link;
mod stream;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use h3::error::Code;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::rustls::pki_types::CertificateDer;
use quinn::{
    Connecting, Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, Runtime,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::SockRef;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::HANDSHAKE_LIMIT;
use super::{Limits, NetworkPath, Quic, next};
use crate::service::{Control, Ending, Peer};
use crate::tls::EarlyData;
use link::Link;
use stream::Command;

/// Largest request head, in bytes as QPACK counts them (RFC 9114, 4.2.2).
const MAX_HEAD: u64 = 1024 * 1024;

/// Most unacknowledged bytes of one connection.
const SEND_WINDOW: u64 = 32 << 20;

/// Wanted size of the socket's buffers; the system may give less.
const SOCKET_BUFFER: usize = 8 << 20;

/// How long the server waits for a packet to answer by a stateless reset.
const FORGET_LIMIT: Duration = Duration::from_secs(10);

/// A bound QUIC socket.
pub(super) struct Listener {
    endpoint: Endpoint,
    address: SocketAddr,
    link: Arc<Link>,
    quic: Quic,
}

impl Listener {
    pub(super) fn bind(
        address: SocketAddr,
        tls: QuicServerConfig,
        limits: Limits,
        path: NetworkPath,
        quic: Quic,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        // Less room means more loss, nothing worse.
        let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
        let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
        let address = socket.local_addr()?;
        let reset_key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(io::Error::other)?;
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let link = Arc::new(Link::new(socket, path, reset_key.clone()));

        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(limits.stream_window.into())
            .receive_window(limits.connection_window.into())
            .max_concurrent_bidi_streams(limits.max_streams.into())
            .send_window(SEND_WINDOW);
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::new_with_abstract_socket(
            EndpointConfig::new(Arc::new(reset_key)),
            Some(config),
            Arc::clone(&link) as _,
            Arc::new(TokioRuntime),
        )?;
        Ok(Listener { endpoint, address, link, quic })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and serves until it is dropped.
    pub(super) async fn run(self, count: Arc<AtomicU64>) {
        // Owned by this task, so that its end ends the connections too.
        let mut connections = JoinSet::new();
        while let Some(incoming) = self.endpoint.accept().await {
            while connections.try_join_next().is_some() {}
            if self.quic.retry && !incoming.remote_address_validated() {
                // Fails for a validated address only.
                let _ = incoming.retry();
                continue;
            }
            let number = next(&count);
            let (port, link) = (self.address.port(), Arc::clone(&self.link));
            connections.spawn(serve(incoming, number, port, self.quic, link));
        }
    }
}

async fn serve(incoming: Incoming, number: u64, port: u16, quic: Quic, link: Arc<Link>) {
    let Ok(connecting) = incoming.accept() else { return };
    // A handshake that fails has told the peer why.
    let Ok(Ok(connection)) = timeout(HANDSHAKE_LIMIT, establish(connecting, quic)).await else {
        return;
    };
    let address = connection.remote_address();
    let control = Control::new(describe(&connection, address, number, port));
    run(&connection, address, control, &link, quic).await;
}

/// With early data requests have to be served before the handshake is over.
async fn establish(mut connecting: Connecting, quic: Quic) -> Result<Connection, ConnectionError> {
    if quic.early_data != EarlyData::Accept {
        return connecting.await;
    }
    // Until all of a hello that takes several packets is there, streams cannot be opened; and quinn
    // does not tell when they can.
    connecting.handshake_data().await?;
    match connecting.into_0rtt() {
        Ok((connection, _)) => Ok(connection),
        Err(connecting) => connecting.await,
    }
}

fn describe(connection: &Connection, address: SocketAddr, number: u64, port: u16) -> Peer {
    let handshake = connection.handshake_data().and_then(|data| data.downcast().ok());
    let handshake = handshake.map(|data: Box<HandshakeData>| *data);
    let certificates = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    Peer {
        connection: number,
        address: address.to_string(),
        tls_version: Some("TLSv1_3".into()),
        alpn: handshake
            .as_ref()
            .and_then(|data| data.protocol.as_ref())
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        server_name: handshake.and_then(|data| data.server_name),
        http3_port: Some(port),
        client_certificates: certificates.map_or(0, |chain| chain.len()),
        ..Peer::default()
    }
}

/// Serves until the connection is over or an endpoint ends it.
async fn run(
    connection: &Connection,
    first_address: SocketAddr,
    control: Arc<Control>,
    link: &Link,
    quic: Quic,
) {
    let http = h3::server::builder()
        .max_field_section_size(MAX_HEAD)
        .send_grease(!quic.no_grease)
        .build(h3_quinn::Connection::new(connection.clone()))
        .await;
    let Ok(mut http) = http else { return };
    let (commands, mut asked) = mpsc::unbounded_channel();
    let shared = stream::Connection { control, quic: connection.clone(), first_address, commands };
    // Their end is the end of the connection.
    let mut exchanges = JoinSet::new();
    loop {
        tokio::select! {
            accepted = http.accept() => match accepted {
                Ok(Some(resolver)) => {
                    exchanges.spawn(stream::serve(resolver, shared.clone()));
                }
                Ok(None) | Err(_) => return,
            },
            Some(_) = exchanges.join_next() => {}
            Some(command) = asked.recv() => match command {
                Command::GoAway => {
                    // The last request served is one more than h3 makes of it (RFC 9114, section 5.2).
                    if http.shutdown(1).await.is_err() {
                        return;
                    }
                }
                // Before the drop of `http`, which closes the connection in its own way.
                Command::End(ending) => return end(connection, ending, link).await,
            },
        }
    }
}

async fn end(connection: &Connection, ending: Ending, link: &Link) {
    let peer = connection.remote_address();
    let code = match ending {
        Ending::Clean | Ending::Stream(_) => Code::H3_NO_ERROR.value(),
        Ending::Connection(code) => code,
        Ending::Cut => {
            link.silence(peer);
            Code::H3_NO_ERROR.value()
        }
        Ending::Reset => {
            // MAX_STREAMS: the peer has to acknowledge it, so a packet is sure to come.
            connection.set_max_concurrent_uni_streams(VarInt::from_u32(1000));
            let _ = timeout(FORGET_LIMIT, link.forget(peer)).await;
            Code::H3_NO_ERROR.value()
        }
    };
    connection.close(VarInt::from_u64(code).unwrap_or(VarInt::MAX), b"as requested");
}
