//! A server made of another implementation of HTTP/3.

use std::future::Future;

use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use hansom_engine::{Answer, Config};
use http::{HeaderMap, Request, Response};
use quinn::{Endpoint, TransportConfig};

use crate::host::{Client, answer, describe};
use crate::peer::{connect, endpoint, server_config};

/// One request at the server.
pub(crate) struct Exchange {
    pub(crate) request: Request<()>,
    pub(crate) stream: RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>,
}

impl Exchange {
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The number the path is.
    pub(crate) fn size(&self) -> usize {
        self.path()[1..].parse().unwrap_or(0)
    }

    pub(crate) async fn content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        while let Some(mut data) = self.stream.recv_data().await.unwrap() {
            content.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        content
    }

    pub(crate) async fn trailers(&mut self) -> Option<HeaderMap> {
        self.stream.recv_trailers().await.unwrap()
    }

    pub(crate) async fn respond(&mut self, response: Response<()>) {
        self.stream.send_response(response).await.unwrap();
    }

    /// A whole response.
    pub(crate) async fn answer(mut self, body: impl Into<Bytes>) {
        self.respond(Response::new(())).await;
        // A client that has enough is not a fault of the server.
        let _ = self.stream.send_data(body.into()).await;
        let _ = self.stream.finish().await;
    }
}

/// A connection to a server that handles each request with `handle`.
pub(crate) async fn served<F, R>(config: Config, handle: F) -> Client
where
    F: Fn(Exchange) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    served_by(config, TransportConfig::default(), handle).await
}

/// The same with limits of the server's own.
pub(crate) async fn served_by<F, R>(config: Config, transport: TransportConfig, handle: F) -> Client
where
    F: Fn(Exchange) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let endpoint = endpoint(server_config(transport));
    serve(&endpoint, handle);
    let client = Client::new(config);
    let answer = answer(connect(&client, &endpoint)).await;
    assert!(matches!(answer, Answer::Ok), "{}", describe(&answer));
    client
}

/// Serves every connection.
pub(crate) fn serve<F, R>(endpoint: &Endpoint, handle: F)
where
    F: Fn(Exchange) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let handle = handle.clone();
            tokio::spawn(async move {
                let connecting = incoming.accept().unwrap();
                let connection = match connecting.into_0rtt() {
                    Ok((connection, _)) => connection,
                    Err(connecting) => connecting.await.unwrap(),
                };
                let connection = h3_quinn::Connection::new(connection);
                let mut connection = h3::server::Connection::new(connection).await.unwrap();
                while let Ok(Some(resolver)) = connection.accept().await {
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        if let Ok((request, stream)) = resolver.resolve_request().await {
                            handle(Exchange { request, stream }).await;
                        }
                    });
                }
            });
        }
    });
}
