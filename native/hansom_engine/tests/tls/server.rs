//! TLS servers that tell what they saw.

use std::sync::Arc;

use hansom_engine::transport::{TlsClient, TlsOptions};
use hansom_engine::{Dial, TransportKind};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub(crate) use crate::certificates::{
    Authority, builder, config_asking_for, config_for, key_of, plain_config, self_signed, within,
};

/// What the server learned from a handshake.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) sni: Option<String>,
    pub(crate) client_certificate: Option<Vec<u8>>,
    pub(crate) cipher_suite: u16,
    pub(crate) group: Option<u16>,
}

impl Seen {
    fn from(session: &ServerConnection) -> Self {
        Self {
            sni: session.server_name().map(ToOwned::to_owned),
            client_certificate: session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.to_vec()),
            cipher_suite: session.negotiated_cipher_suite().unwrap().suite().into(),
            group: session.negotiated_key_exchange_group().map(|group| group.name().into()),
        }
    }
}

/// Something that happened to one connection of a server.
#[derive(Debug)]
pub(crate) enum Happening {
    Shaken(Seen),
    HandshakeFailed(std::io::Error),
    /// The client said `close_notify`, or the connection broke or ended without.
    Ended(std::io::Result<()>),
}

/// A TLS server on 127.0.0.1 that echoes whatever comes.
pub(crate) struct Server {
    pub(crate) port: u16,
    happenings: mpsc::UnboundedReceiver<Happening>,
}

impl Server {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), config)
    }

    pub(crate) fn start_on(listener: TcpListener, config: ServerConfig) -> Self {
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (sender, happenings) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut stream = match acceptor.accept(socket).await {
                        Ok(stream) => stream,
                        Err(error) => return sender.send(Happening::HandshakeFailed(error)),
                    };
                    let _ = sender.send(Happening::Shaken(Seen::from(stream.get_ref().1)));
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        match stream.read(&mut buffer).await {
                            Ok(0) => return sender.send(Happening::Ended(Ok(()))),
                            Ok(count) => {
                                if let Err(error) = stream.write_all(&buffer[..count]).await {
                                    return sender.send(Happening::Ended(Err(error)));
                                }
                            }
                            Err(error) => return sender.send(Happening::Ended(Err(error))),
                        }
                    }
                });
            }
        });
        Self { port, happenings }
    }

    pub(crate) async fn next(&mut self) -> Happening {
        within(self.happenings.recv()).await.expect("the server is gone")
    }

    pub(crate) async fn seen(&mut self) -> Seen {
        match self.next().await {
            Happening::Shaken(seen) => seen,
            other => panic!("{other:?}"),
        }
    }

    /// The alert that ended a handshake from the server's point of view.
    pub(crate) async fn alert(&mut self) -> rustls::AlertDescription {
        match self.next().await {
            Happening::HandshakeFailed(error) => {
                match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(rustls::Error::AlertReceived(alert)) => *alert,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What to dial to reach this server as `name`.
    pub(crate) fn dial(&self, name: &str, options: TlsOptions) -> Dial {
        Dial {
            server_name: name.to_owned(),
            tls: Some(TlsClient::lazy(options)),
            ..Dial::new(TransportKind::Tls, "127.0.0.1", self.port)
        }
    }
}
