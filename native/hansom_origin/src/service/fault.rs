//! Endpoints that step outside an ordinary response: interim responses, raw bytes, broken connections.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::body::{End, Frames};
use super::payload::{collect, octets, send_raw};
use super::{
    Abort, Aside, Body, Control, Ending, Interim, Refusal, Reply, bad_request, plain, query,
};

/// Largest response a client may dictate to `/raw`, in bytes.
const MAX_RAW: usize = 16 * 1024 * 1024;

pub(super) fn interim<B>(
    request: &Request<B>,
    code: u16,
    control: &Arc<Control>,
) -> Result<Reply, Refusal> {
    let status = StatusCode::from_u16(code)
        .ok()
        // 101 would change the protocol, and no final response could follow.
        .filter(|status| status.is_informational() && *status != StatusCode::SWITCHING_PROTOCOLS)
        .ok_or_else(|| bad_request("an interim status is 100 or 102 to 199"))?;
    let count = query::number(request, "count", 1)?.min(1000);
    let mut headers = HeaderMap::new();
    headers.insert(LINK, HeaderValue::from_static("</style.css>; rel=preload; as=style"));
    let control = Arc::clone(control);
    Ok(Reply::later(async move {
        for index in 1..=count {
            headers.insert(HeaderName::from_static("x-interim"), HeaderValue::from(index));
            control.send(Aside::Interim(Interim { status, headers: headers.clone() })).await;
        }
        Ok(plain(StatusCode::OK, format!("after {count} interim responses\n")))
    }))
}

pub(super) fn reset(control: &Arc<Control>) -> Response<Body> {
    const DECLARED: u64 = 1024;
    broken(Frames::of_pattern(0), DECLARED, control, Ending::Reset)
}

pub(super) fn cut(
    sent: u64,
    declared: u64,
    control: &Arc<Control>,
) -> Result<Response<Body>, Refusal> {
    if sent >= declared {
        return Err(bad_request("the first number has to be below the second"));
    }
    Ok(broken(Frames::of_pattern(sent), declared, control, Ending::Cut))
}

fn broken(frames: Frames, declared: u64, control: &Arc<Control>, ending: Ending) -> Response<Body> {
    let mut response = octets(Body::boxed(frames.end(End::Abort(Arc::clone(control), ending))));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(declared));
    response
}

pub(super) fn end_before_head(control: &Arc<Control>, ending: Ending) -> Reply {
    control.end(ending);
    Reply::Now(Some(Err(Abort::Wanted)))
}

pub(super) fn raw<B>(request: Request<B>, control: &Arc<Control>) -> Reply
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let control = Arc::clone(control);
    Reply::later(async move {
        match collect(request.into_body(), MAX_RAW).await? {
            Some(bytes) => send_raw(&control, bytes).await,
            None => Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "at most 16777216 raw bytes")),
        }
    })
}
