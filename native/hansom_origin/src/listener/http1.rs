//! HTTP/1.1 on a byte stream.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::socket::{self, Socket};
use super::wire::Wire;
use crate::service::{Abort, Control, Ending, respond};

/// Serves one connection until it ends.
pub(super) async fn serve<S: Socket>(socket: S, control: Arc<Control>) {
    let wire = TokioIo::new(Wire::new(socket, Arc::clone(&control)));
    let service = service_fn(|request: hyper::Request<Incoming>| respond(request, &control));
    let mut connection = http1::Builder::new().half_close(true).serve_connection(wire, service);
    if let Err(reason) = run(&mut connection).await {
        let socket = connection.into_parts().io.into_inner().into_socket();
        if let Some(socket) = socket::close(socket, wanted(&reason)).await {
            socket::linger(socket).await;
        }
    }
}

/// The ending an endpoint asked for; in order, if the failure is none of its doing.
fn wanted(reason: &hyper::Error) -> Ending {
    match reason.source().and_then(|cause| cause.downcast_ref()) {
        Some(Abort::Wanted(ending)) => *ending,
        _ => Ending::Clean,
    }
}

/// Awaits a connection and leaves it in place, for its socket to be taken out after a failure.
async fn run<C: Future + Unpin>(connection: &mut C) -> C::Output {
    Pin::new(connection).await
}
