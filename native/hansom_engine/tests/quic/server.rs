//! A QUIC server that echoes, and the dials that reach it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hansom_engine::connect::{self, Reached};
use hansom_engine::transport::{Link, Quic, TlsClient, TlsOptions};
use hansom_engine::{Dial, Error, Http3Config, QuicDial, TransportKind};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};

use crate::certificates::{Authority, config_for, within};

pub(crate) const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// A server on 127.0.0.1.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
}

/// What a server called `a.test` is made with.
pub(crate) fn config(authority: &Authority) -> ServerConfig {
    quic_config(config_for(&authority.issue(&["a.test"]), TLS13))
}

pub(crate) fn quic_config(mut tls: rustls::ServerConfig) -> ServerConfig {
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.max_early_data_size = u32::MAX;
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

impl Server {
    pub(crate) fn start(config: ServerConfig) -> Self {
        Self::start_on(UdpSocket::bind("127.0.0.1:0").unwrap(), config, EndpointConfig::default())
    }

    pub(crate) fn start_on(
        socket: UdpSocket,
        config: ServerConfig,
        endpoint: EndpointConfig,
    ) -> Self {
        let address = socket.local_addr().unwrap();
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint, Some(config), socket, runtime).unwrap();
        Self { endpoint, address }
    }

    /// Accepts one connection.
    pub(crate) async fn accept(&self) -> Connection {
        within(async { self.endpoint.accept().await.unwrap().await.unwrap() }).await
    }

    /// Accepts whatever comes, also what fails.
    pub(crate) fn serve(&self) {
        let endpoint = self.endpoint.clone();
        tokio::spawn(async move {
            let mut connections = Vec::new();
            while let Some(incoming) = endpoint.accept().await {
                connections.extend(incoming.await);
            }
        });
    }

    /// What to dial to reach this server as `name`.
    pub(crate) fn dial(&self, name: &str, options: TlsOptions) -> Dial {
        target(self.address, name, options)
    }

    /// Dials and accepts.
    pub(crate) async fn meet(&self, target: &Dial) -> (Quic, Connection) {
        tokio::join!(connected(target), self.accept())
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

/// No protocol is begun on it.
pub(crate) async fn as_it_is(quic: Quic) -> Result<Quic, Error> {
    Ok(quic)
}

pub(crate) async fn dial(target: &Dial) -> Result<Reached<Quic>, Error> {
    within(connect::dial(target, &Http3Config::default(), as_it_is)).await
}

pub(crate) async fn connected(target: &Dial) -> Quic {
    quic(dial(target).await)
}

pub(crate) fn quic(reached: Result<Reached<Quic>, Error>) -> Quic {
    match reached {
        Ok(Reached::Quic(quic)) => quic,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn link(reached: Result<Reached<Quic>, Error>) -> Link {
    match reached {
        Ok(Reached::Link(link)) => link,
        other => panic!("{other:?}"),
    }
}

/// Sends a word on a stream of its own and back.
pub(crate) async fn echo(client: &Connection, server: &Connection) {
    within(async {
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(b"ping").await.unwrap();
        let (mut answer, mut asked) = server.accept_bi().await.unwrap();
        let mut data = [0; 4];
        asked.read_exact(&mut data).await.unwrap();
        answer.write_all(&data).await.unwrap();
        answer.finish().unwrap();
        assert_eq!(recv.read_to_end(4).await.unwrap(), b"ping");
    })
    .await;
}
