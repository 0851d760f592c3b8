//! HTTP/1.1 on a byte stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::socket::{self, Socket};
use super::wire::Wire;
use crate::service::{Control, respond};

/// Serves one connection until it ends.
pub(super) async fn serve<S: Socket>(socket: S, control: Arc<Control>) {
    let wire = TokioIo::new(Wire::new(socket, Arc::clone(&control)));
    let service = service_fn(|request: hyper::Request<Incoming>| respond(request, &control));
    let mut connection = http1::Builder::new().half_close(true).serve_connection(wire, service);
    if run(&mut connection).await.is_err() {
        let socket = connection.into_parts().io.into_inner().into_socket();
        if let Some(socket) = socket::close(socket, control.ending()).await {
            socket::linger(socket).await;
        }
    }
}

/// Awaits a connection and leaves it in place, for its socket to be taken out after a failure.
async fn run<C: Future + Unpin>(connection: &mut C) -> C::Output {
    Pin::new(connection).await
}
