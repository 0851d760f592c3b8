//! Endpoints that step outside an ordinary response: interim responses, raw bytes, broken connections.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;

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

/// A reset of the stream, with the code of the query.
pub(super) fn stream<B>(request: &Request<B>) -> Result<Ending, Refusal> {
    Ok(Ending::Stream(match query::text(request, "code") {
        None => None,
        Some(_) => Some(code(request)?),
    }))
}

/// The end of the connection, with the code of the query.
pub(super) fn connection<B>(request: &Request<B>) -> Result<Ending, Refusal> {
    code(request).map(Ending::Connection)
}

fn code<B>(request: &Request<B>) -> Result<u64, Refusal> {
    let code = query::number(request, "code", 0)?;
    if code >= 1 << 62 {
        return Err(bad_request("a code is below 2^62"));
    }
    Ok(code)
}

/// Breaks the exchange before the head, after a head alone, or after some bytes of the body.
pub(super) fn broken_at(
    phase: Option<&str>,
    sent: Option<&str>,
    control: &Arc<Control>,
    ending: Ending,
) -> Result<Reply, Refusal> {
    const MISSING: u64 = 1024;
    let sent = match (phase, sent) {
        (Some("before-head"), None) => return Ok(Reply::Now(Some(Err(Abort::Wanted(ending))))),
        (None, None) => 0,
        (Some("after"), Some(sent)) => super::number::<u64>(sent)?,
        _ => return Err(super::not_found()),
    };
    let declared = sent.saturating_add(MISSING);
    Ok(broken(Frames::of_pattern(sent), declared, control, ending).into())
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
    let body = Body::boxed(frames.end(End::Abort(Arc::clone(control), ending)));
    declaring(declared, body)
}

fn declaring(length: u64, body: Body) -> Response<Body> {
    let mut response = octets(body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A body that ends in order after another length than the declared one.
pub(super) fn mismatch(sent: u64, declared: u64) -> Response<Body> {
    declaring(declared, Body::boxed(Frames::of_pattern(sent)))
}

/// Announces the end of the connection, and answers all the same.
pub(super) fn go_away<B>(request: &Request<B>, control: &Arc<Control>) -> Result<Reply, Refusal> {
    const ALL: u64 = (1 << 31) - 1;
    let mut response = plain(StatusCode::OK, "after GOAWAY\n");
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response.into());
    }
    let narrow = |number| u32::try_from(number).map_err(|_| bad_request("at most 32 bits"));
    let code = narrow(query::number(request, "code", 0)?)?;
    let last = narrow(query::number(request, "last", ALL)?)?;
    let control = Arc::clone(control);
    Ok(Reply::later(async move {
        control.send(Aside::GoAway { code, last }).await;
        Ok(response)
    }))
}

/// Never answers, and never reads the request body.
pub(super) fn stall<B: Send + 'static>(request: Request<B>) -> Reply {
    Reply::later(async move {
        std::future::pending::<()>().await;
        // Held up to here: to drop the body would be to refuse it.
        drop(request);
        Ok(plain(StatusCode::OK, ""))
    })
}

/// Answers with a head alone, and neither sends nor reads a body.
pub(super) fn stall_after_head<B: Send + 'static>(request: Request<B>) -> Response<Body> {
    octets(Body::boxed(Silent { _request: request }))
}

/// A body that never has anything, and holds the request meanwhile.
struct Silent<B> {
    _request: Request<B>,
}

impl<B> http_body::Body for Silent<B> {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        Poll::Pending
    }
}

pub(super) fn window(bytes: u32, control: &Arc<Control>) -> Result<Reply, Refusal> {
    if bytes >= 1 << 31 {
        return Err(bad_request("a window is below 2^31"));
    }
    let control = Arc::clone(control);
    Ok(Reply::later(async move {
        control.send(Aside::Window(bytes)).await;
        Ok(plain(StatusCode::OK, format!("streams begin with a window of {bytes}\n")))
    }))
}

/// Sends the request body between two frames of the connection, then answers.
pub(super) fn frames<B>(request: Request<B>, control: &Arc<Control>) -> Reply
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if request.version() != Version::HTTP_2 {
        return plain(StatusCode::NOT_IMPLEMENTED, "needs HTTP/2\n").into();
    }
    let control = Arc::clone(control);
    Reply::later(async move {
        match collect(request.into_body(), MAX_RAW).await? {
            Some(bytes) => {
                control.send(Aside::Raw(bytes)).await;
                Ok(plain(StatusCode::OK, "sent\n"))
            }
            None => Ok(too_large()),
        }
    })
}

fn too_large() -> Response<Body> {
    plain(StatusCode::PAYLOAD_TOO_LARGE, "at most 16777216 raw bytes")
}

pub(super) fn raw<B>(request: Request<B>, control: &Arc<Control>) -> Reply
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if request.version() > Version::HTTP_2 {
        return plain(StatusCode::NOT_IMPLEMENTED, "needs a byte stream\n").into();
    }
    let control = Arc::clone(control);
    Reply::later(async move {
        match collect(request.into_body(), MAX_RAW).await? {
            Some(bytes) => send_raw(&control, bytes).await,
            None => Ok(too_large()),
        }
    })
}
