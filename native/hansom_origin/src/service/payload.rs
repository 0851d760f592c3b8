//! Endpoints about bodies: their size, framing and pace.

use std::error::Error;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Crc;
use http::header::{CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;

use super::body::{End, Frames, pattern_range};
use super::{Abort, Aside, Body, Control, Ending, Refusal, Reply, bad_request, plain, query};

/// Largest data frame an endpoint makes on demand, in bytes: it is held in memory as a whole.
const MAX_FRAME: u64 = 16 * 1024 * 1024;

/// Largest generated text that is held in memory as a whole, in bytes.
const MAX_TEXT: u64 = 64 * 1024 * 1024;

pub(super) fn hello() -> Response<Body> {
    plain(StatusCode::OK, Bytes::from_static(b"Hello, world!\n"))
}

pub(super) fn bytes<B>(request: &Request<B>, length: u64) -> Result<Response<Body>, Refusal> {
    let mut response = octets(Body::Pattern { position: 0, end: length });
    if request.uri().query().is_some() {
        const FILL: HeaderValue = HeaderValue::from_static("a header field of a usual length");
        let count = query::number(request, "headers", 0)?.min(super::head::MAX_FIELDS);
        for _ in 0..count {
            response.headers_mut().append(HeaderName::from_static("x-fill"), FILL);
        }
    }
    Ok(response)
}

pub(super) fn text<B>(request: &Request<B>) -> Result<Response<Body>, Refusal> {
    let length = query::number(request, "bytes", super::coding::DEFAULT_TEXT)?;
    if length > MAX_TEXT {
        return Err(bad_request("at most 67108864 bytes of text"));
    }
    Ok(plain(StatusCode::OK, super::coding::text(0, length as usize)))
}

pub(super) fn chunks(count: u64, size: u64) -> Result<Response<Body>, Refusal> {
    if size == 0 || size > MAX_FRAME {
        return Err(bad_request("a chunk has 1 to 16777216 bytes"));
    }
    let frames = Frames::new(count, move |index| pattern_range(index.wrapping_mul(size), size));
    Ok(octets(Body::boxed(frames)))
}

pub(super) fn stream<B>(request: &Request<B>, count: u64) -> Result<Response<Body>, Refusal> {
    let frames = Frames::new(count, |index| format!("line {index}\n").into())
        .interval(interval(request, 0)?);
    let mut response = octets(Body::boxed(frames));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

pub(super) fn drip<B>(request: &Request<B>) -> Result<Response<Body>, Refusal> {
    let count = query::number(request, "bytes", 10)?;
    let frames = Frames::new(count, |index| pattern_range(index, 1))
        .interval(interval(request, 100)?)
        .exact(count);
    Ok(octets(Body::boxed(frames)))
}

fn interval<B>(request: &Request<B>, default: u64) -> Result<Duration, Refusal> {
    query::number(request, "interval_ms", default).map(Duration::from_millis)
}

pub(super) fn delay(ms: u32) -> Reply {
    Reply::later(async move {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        Ok(plain(StatusCode::OK, format!("waited {ms} ms\n")))
    })
}

pub(super) fn close_delimited(length: u64) -> Response<Body> {
    let mut response = octets(Body::boxed(Frames::of_pattern(length)));
    // Without a length, a response of this version ends where the connection ends (RFC 9112, 6.3).
    *response.version_mut() = Version::HTTP_10;
    response
}

pub(super) fn echo<B>(request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let mut response =
        octets(Body::boxed(body.map_err(|reason| Abort::RequestBody(reason.into()))));
    if let Some(kind) = head.headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}

pub(super) fn upload<B>(request: Request<B>) -> Result<Reply, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let pause = interval(&request, 0)?;
    Ok(Reply::later(async move {
        let mut body = request.into_body();
        let mut count = 0_u64;
        let mut crc = Crc::new();
        let mut trailers = HeaderMap::new();
        loop {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let Some(frame) = body.frame().await else { break };
            match frame.map_err(|reason| Abort::RequestBody(reason.into()))?.into_data() {
                Ok(data) => {
                    count += data.len() as u64;
                    crc.update(&data);
                }
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        let mut text = format!("bytes: {count}\ncrc32: {:08x}\n", crc.sum());
        for (name, value) in &trailers {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "trailer {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        Ok(plain(StatusCode::OK, text))
    }))
}

pub(super) fn trailers<B>(request: &Request<B>, control: &Arc<Control>) -> Reply {
    const BODY: &str = "a body with trailers\n";
    let asked = request.headers().get_all(TE).iter().any(|value| {
        value.to_str().is_ok_and(|te| te.split(',').any(|part| part.trim() == "trailers"))
    });
    if request.version() < Version::HTTP_2 && !asked && query::text(request, "force").is_some() {
        // hyper keeps trailers back from a client that did not ask for them (RFC 9110, 6.5.1).
        let raw = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum, x-last\r\n\
             connection: close\r\n\r\n{:x}\r\n{BODY}\r\n0\r\nx-checksum: {}\r\nx-last: yes\r\n\r\n",
            BODY.len(),
            checksum(BODY),
        );
        return send_raw(control, raw.into());
    }
    let mut section = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(checksum(BODY)) {
        section.insert("x-checksum", value);
    }
    section.insert("x-last", HeaderValue::from_static("yes"));
    let frames =
        Frames::new(1, |_| Bytes::from_static(BODY.as_bytes())).end(End::Trailers(section));
    let mut response = octets(Body::boxed(frames));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(TRAILER, HeaderValue::from_static("x-checksum, x-last"));
    response.into()
}

fn checksum(text: &str) -> String {
    let mut crc = Crc::new();
    crc.update(text.as_bytes());
    format!("{:08x}", crc.sum())
}

/// Sends `bytes` in place of a response and closes the connection in order.
pub(super) fn send_raw(control: &Arc<Control>, bytes: Bytes) -> Reply {
    let control = Arc::clone(control);
    Reply::later(async move {
        control.send(Aside::Raw(bytes)).await;
        Err(Abort::Wanted(Ending::Clean))
    })
}

pub(super) fn octets(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// Reads a whole request body of at most `limit` bytes.
pub(super) async fn collect<B>(mut body: B, limit: usize) -> Result<Option<Bytes>, Abort>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut bytes = Vec::new();
    while let Some(frame) = Pin::new(&mut body).frame().await {
        let frame = frame.map_err(|reason| Abort::RequestBody(reason.into()))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Some(bytes.into()))
}
