//! A QUIC server that echoes, and the dials that reach it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hansom_engine::connect::{self, Reached};
use hansom_engine::transport::{Quic, TlsClient, TlsOptions};
use hansom_engine::{Dial, Error, Http3Config, QuicDial, TransportKind};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};

use crate::certificates::{Authority, config_for, within};

pub(crate) const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// A server on 127.0.0.1 whose connections echo each stream.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
}

/// What a server is made with; the name is `a.test`.
pub(crate) fn config(authority: &Authority) -> ServerConfig {
    let mut tls = config_for(&authority.issue(&["a.test"]), TLS13);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.max_early_data_size = u32::MAX;
    quic_config(tls)
}

pub(crate) fn quic_config(tls: rustls::ServerConfig) -> ServerConfig {
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

impl Server {
    pub(crate) fn start(config: ServerConfig) -> Self {
        Self::start_on(UdpSocket::bind("127.0.0.1:0").unwrap(), config)
    }

    pub(crate) fn start_on(socket: UdpSocket, config: ServerConfig) -> Self {
        let address = socket.local_addr().unwrap();
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
                .unwrap();
        Self { endpoint, address }
    }

    /// Accepts one connection.
    pub(crate) async fn accept(&self) -> quinn::Connection {
        within(async { self.endpoint.accept().await.unwrap().await.unwrap() }).await
    }

    /// What to dial to reach this server as `name`.
    pub(crate) fn dial(&self, name: &str, options: TlsOptions) -> Dial {
        target(self.address, name, options)
    }
}

pub(crate) fn target(address: SocketAddr, name: &str, options: TlsOptions) -> Dial {
    Dial {
        server_name: name.to_owned(),
        tls: Some(TlsClient::lazy(options)),
        quic: QuicDial::First,
        ..Dial::new(TransportKind::Tls, address.ip().to_string(), address.port())
    }
}

pub(crate) async fn dial(target: &Dial) -> Result<Reached, Error> {
    within(connect::dial(target, &Http3Config::default())).await
}

pub(crate) async fn connected(target: &Dial) -> Quic {
    quic(dial(target).await)
}

pub(crate) fn quic(reached: Result<Reached, Error>) -> Quic {
    match reached {
        Ok(Reached::Quic(quic)) => quic,
        other => panic!("{other:?}"),
    }
}
