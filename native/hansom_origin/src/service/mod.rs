//! The endpoints. Protocol-neutral: a listener for any version of HTTP hands a request to [`respond`] and sends what
//! comes back. What a plain response cannot say (an interim response, a reset, raw bytes) goes through [`Control`].

mod body;
mod coding;
mod control;
mod fault;
mod head;
mod payload;
mod query;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};

pub use body::{Body, PATTERN_PERIOD};
pub use control::{Aside, Control, Ending, Flush, Interim, Peer};

/// Why an exchange ends without a complete response.
#[derive(Debug)]
pub enum Abort {
    /// The endpoint wants the exchange to break here, in this way.
    Wanted(Ending),
    /// The request body could not be read.
    RequestBody(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Abort::Wanted(_) => f.write_str("the endpoint breaks the exchange off"),
            Abort::RequestBody(reason) => write!(f, "the request body cannot be read: {reason}"),
        }
    }
}

impl Error for Abort {}

/// What an endpoint yields in the end.
pub type Outcome = Result<Response<Body>, Abort>;

/// The future of a response. Most endpoints answer at once, and then nothing is allocated for it.
pub enum Reply {
    /// The response is known already; `None` after it has been taken.
    Now(Option<Outcome>),
    /// The response takes time or the request body.
    Later(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl Reply {
    fn later(future: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Reply::Later(Box::pin(future))
    }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Reply::Now(Some(Ok(response)))
    }
}

impl Future for Reply {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self.get_mut() {
            Reply::Now(outcome) => outcome.take().map_or(Poll::Pending, Poll::Ready),
            Reply::Later(future) => future.as_mut().poll(cx),
        }
    }
}

/// Answers one request. Never fails on bad input: an unknown path is 404, a bad number 400.
pub fn respond<B>(request: Request<B>, control: &Arc<Control>) -> Reply
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    control.count_request();
    route(request, control).unwrap_or_else(|refusal| refusal.into())
}

/// A request the endpoint cannot serve: the status and the text that say so.
struct Refusal(StatusCode, &'static str);

impl From<Refusal> for Reply {
    fn from(Refusal(status, reason): Refusal) -> Self {
        plain(status, reason).into()
    }
}

fn route<B>(request: Request<B>, control: &Arc<Control>) -> Result<Reply, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let path = request.uri().path();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let route = (segments.next().unwrap_or(""), segments.next(), segments.next());
    if segments.next().is_some() {
        return Err(not_found());
    }
    let reply = match route {
        ("bytes", Some(length), None) => payload::bytes(&request, number(length)?)?.into(),
        ("" | "hello", None, None) => payload::hello().into(),
        ("text", None, None) => payload::text(&request)?.into(),
        ("chunks", Some(count), Some(size)) => {
            payload::chunks(number(count)?, number(size)?)?.into()
        }
        ("stream", Some(count), None) => payload::stream(&request, number(count)?)?.into(),
        ("drip", None, None) => payload::drip(&request)?.into(),
        ("delay", Some(ms), None) => payload::delay(number(ms)?),
        ("echo", None, None) => payload::echo(request).into(),
        ("upload", None, None) => payload::upload(request)?,
        ("trailers", None, None) => payload::trailers(&request, control),
        ("close-delimited", Some(length), None) => payload::close_delimited(number(length)?).into(),

        ("gzip" | "deflate" | "br" | "zstd", None, None) => coding::compressed(&request, route.0)?,
        ("bomb", Some(coding), None) => coding::bomb(&request, coding)?.into(),

        ("status", Some(code), None) => head::status(number(code)?)?.into(),
        ("redirect", Some(left), None) => head::redirect(&request, number(left)?)?.into(),
        ("redirect-to", None, None) => head::redirect_to(&request)?.into(),
        ("headers", None, None) => head::echo(&request).into(),
        ("headers-size", Some(bytes), None) => head::sized(number(bytes)?)?.into(),
        ("headers-count", Some(count), None) => head::counted(number(count)?)?.into(),
        ("cookies", None, None) => head::cookies(&request).into(),
        ("cache", None, None) => head::cache(&request).into(),
        ("cache", Some("304"), None) => head::not_modified().into(),
        ("alt-svc", None, None) => head::alt_svc(&request, control)?.into(),
        ("connection", None, None) => head::connection(&request, control).into(),
        ("close", None, None) => head::close().into(),

        ("interim", Some(code), None) => fault::interim(&request, number(code)?, control)?,
        ("reset", phase, sent) => fault::broken_at(phase, sent, control, fault::stream(&request)?)?,
        ("disconnect", phase, sent) => fault::broken_at(phase, sent, control, Ending::Reset)?,
        ("goaway", None, None) => fault::go_away(&request, control)?,
        ("goaway", Some("close"), None) => {
            fault::broken_at(Some("before-head"), None, control, fault::connection(&request)?)?
        }
        ("goaway", phase, sent) => {
            fault::broken_at(phase, sent, control, fault::connection(&request)?)?
        }
        ("cut", phase @ Some("before-head"), None) => {
            fault::broken_at(phase, None, control, Ending::Cut)?
        }
        ("cut", Some(sent), Some(declared)) => {
            fault::cut(number(sent)?, number(declared)?, control)?.into()
        }
        ("mismatch", Some(sent), Some(declared)) => {
            fault::mismatch(number(sent)?, number(declared)?).into()
        }
        ("stall", None, None) => fault::stall(request),
        ("stall", Some("head"), None) => fault::stall_after_head(request).into(),
        ("window", Some(bytes), None) => fault::window(number(bytes)?, control)?,
        ("frames", None, None) => fault::frames(request, control),
        ("raw", None, None) => fault::raw(request, control),
        _ => return Err(not_found()),
    };
    Ok(reply)
}

fn number<T: std::str::FromStr>(segment: &str) -> Result<T, Refusal> {
    // `parse` alone would accept a leading plus sign.
    let digits = segment.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { segment.parse().ok() } else { None };
    number.ok_or_else(|| bad_request("not a number, or one out of range"))
}

fn bad_request(reason: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason)
}

fn not_found() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "no such endpoint")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
