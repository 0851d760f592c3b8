//! What HTTP/2 and HTTP/3 have in common: one exchange on one stream.

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body as _;

use crate::service::{Aside, Body, Control};

/// How far an exchange has come.
pub(super) enum Progress<T> {
    /// This has to be sent first, then [`Control::flushed`] to be called.
    Asides(Vec<Aside>),
    /// The result.
    Done(T),
}

/// Polls for a result, and for what the endpoint wants to be done meanwhile.
pub(super) async fn progress<T>(
    control: &Control,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Progress<T> {
    poll_fn(|cx| match poll(cx) {
        Poll::Ready(result) => Poll::Ready(Progress::Done(result)),
        Poll::Pending if control.has_work() => Poll::Ready(Progress::Asides(control.take_asides())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// A response as a multiplexed protocol carries it.
pub(super) struct Outgoing {
    pub(super) head: Response<()>,
    /// `None` where there is nothing to send.
    pub(super) body: Option<Body>,
    /// The response asked for the end of the connection.
    pub(super) last: bool,
}

/// Takes out the fields that belong to a connection (RFC 9113, 8.2.2; RFC 9114, 4.2), and adds the length of the body.
pub(super) fn outgoing(response: Response<Body>, to_head: bool) -> Outgoing {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let (mut parts, body) = response.into_parts();
    let fields = &mut parts.headers;
    let last = fields.remove(CONNECTION).is_some_and(|value| value == "close");
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
    let without_length = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let (Some(length), false) = (body.size_hint().exact(), without_length) {
        fields.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let body = (!to_head && !body.is_end_stream()).then_some(body);
    Outgoing { head: Response::from_parts(parts, ()), body, last }
}
