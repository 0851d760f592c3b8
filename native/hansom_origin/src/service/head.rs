//! Endpoints about the head of a message: status, redirects and header fields.

use std::fmt::Write;
use std::sync::Arc;

use http::header::{
    ALT_SVC, CONNECTION, COOKIE, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION, SET_COOKIE,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::payload::octets;
use super::{Body, Control, Refusal, bad_request, plain, query};

/// Most fields an endpoint adds to one head; the map of the `http` crate ends at 32768.
pub(super) const MAX_FIELDS: u64 = 20_000;

/// Largest head on demand, in bytes.
const MAX_HEAD: usize = 16 * 1024 * 1024;

pub(super) fn status(code: u16) -> Result<Response<Body>, Refusal> {
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| bad_request("a final status is 200 to 999"))?;
    Ok(match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = status;
            response
        }
        _ => plain(status, format!("status {code}\n")),
    })
}

pub(super) fn redirect<B>(request: &Request<B>, left: u64) -> Result<Response<Body>, Refusal> {
    if left == 0 {
        return Ok(super::payload::hello());
    }
    let status = query::number(request, "status", 302)?;
    let next = match query::pairs(request).any(|(name, _)| name == "status") {
        true => format!("/redirect/{}?status={status}", left - 1),
        false => format!("/redirect/{}", left - 1),
    };
    redirection(status, next)
}

pub(super) fn redirect_to<B>(request: &Request<B>) -> Result<Response<Body>, Refusal> {
    let url = query::text(request, "url").ok_or_else(|| bad_request("url= is missing"))?;
    redirection(query::number(request, "status", 302)?, url)
}

fn redirection(status: u64, location: String) -> Result<Response<Body>, Refusal> {
    let status = u16::try_from(status)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(StatusCode::is_redirection)
        .ok_or_else(|| bad_request("a redirect status is 300 to 399"))?;
    let value = HeaderValue::try_from(location)
        .map_err(|_| bad_request("that URL does not fit into a header field"))?;
    let mut response = plain(status, "elsewhere\n");
    response.headers_mut().insert(LOCATION, value);
    Ok(response)
}

/// The request head as plain lines: the request line, then one line for each field.
pub(super) fn echo<B>(request: &Request<B>) -> Response<Body> {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    plain(StatusCode::OK, text)
}

/// A head whose fields `x-fill` have about this many bytes together, line ends included.
pub(super) fn sized(bytes: usize) -> Result<Response<Body>, Refusal> {
    const LINE: usize = 1024;
    const OVERHEAD: usize = "x-fill: \r\n".len();
    if bytes > MAX_HEAD {
        return Err(bad_request("at most 16777216 bytes of head"));
    }
    let mut response = plain(StatusCode::OK, "a large head\n");
    let mut left = bytes;
    while left > OVERHEAD {
        let line = left.min(LINE);
        append_fill(&mut response, line - OVERHEAD)?;
        left -= line;
    }
    Ok(response)
}

pub(super) fn counted(count: u64) -> Result<Response<Body>, Refusal> {
    if count > MAX_FIELDS {
        return Err(bad_request("at most 20000 fields"));
    }
    let mut response = plain(StatusCode::OK, "many fields\n");
    for _ in 0..count {
        append_fill(&mut response, 1)?;
    }
    Ok(response)
}

fn append_fill(response: &mut Response<Body>, length: usize) -> Result<(), Refusal> {
    let value = HeaderValue::try_from("a".repeat(length)).map_err(|_| bad_request("too long"))?;
    response
        .headers_mut()
        .try_append(HeaderName::from_static("x-fill"), value)
        .map(|_| ())
        .map_err(|_| bad_request("too many fields"))
}

/// The Cookie field back as the body; two fixed cookies and one for each pair of the query are set.
pub(super) fn cookies<B>(request: &Request<B>) -> Response<Body> {
    let mut text = String::new();
    for value in request.headers().get_all(COOKIE) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", String::from_utf8_lossy(value.as_bytes()));
    }
    let mut response = plain(StatusCode::OK, text);
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, HeaderValue::from_static("first=1; Path=/"));
    headers.append(SET_COOKIE, HeaderValue::from_static("second=2; Path=/; HttpOnly"));
    for (name, value) in query::pairs(request).take(100) {
        if let Ok(value) = HeaderValue::try_from(format!("{name}={value}; Path=/")) {
            headers.append(SET_COOKIE, value);
        }
    }
    response
}

const ENTITY_TAG: HeaderValue = HeaderValue::from_static("\"hansom\"");
const MODIFIED: HeaderValue = HeaderValue::from_static("Wed, 01 Jan 2020 00:00:00 GMT");

pub(super) fn cache<B>(request: &Request<B>) -> Response<Body> {
    let headers = request.headers();
    let current = match headers.get(IF_NONE_MATCH) {
        // If-None-Match takes precedence (RFC 9110, 13.2.2).
        Some(tags) => tags.to_str().is_ok_and(|tags| {
            tags.split(',').any(|tag| matches!(tag.trim(), "*" | "\"hansom\"" | "W/\"hansom\""))
        }),
        None => headers.contains_key(IF_MODIFIED_SINCE),
    };
    if current {
        return not_modified();
    }
    let mut response = plain(StatusCode::OK, "fresh\n");
    response.headers_mut().insert(ETAG, ENTITY_TAG);
    response.headers_mut().insert(LAST_MODIFIED, MODIFIED);
    response
}

pub(super) fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(ETAG, ENTITY_TAG);
    response
}

/// Announces HTTP/3 on the port it is served on, else on the port the request was sent to, or whatever `value=` says.
pub(super) fn alt_svc<B>(
    request: &Request<B>,
    control: &Control,
) -> Result<Response<Body>, Refusal> {
    let value = query::text(request, "value").unwrap_or_else(|| {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(|authority| authority.as_str()).or(host);
        let asked = authority
            .and_then(|authority| authority.rsplit_once(':'))
            .and_then(|(_, port)| port.parse::<u16>().ok());
        let port = control.peer().http3_port.or(asked).unwrap_or(443);
        format!("h3=\":{port}\"; ma=60")
    });
    let value = HeaderValue::try_from(value)
        .map_err(|_| bad_request("that value does not fit into a header field"))?;
    let mut response = plain(StatusCode::OK, "see alt-svc\n");
    response.headers_mut().insert(ALT_SVC, value);
    Ok(response)
}

/// What the server knows of the connection, one `name: value` line each.
pub(super) fn connection<B>(request: &Request<B>, control: &Arc<Control>) -> Response<Body> {
    let peer = control.peer();
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    plain(
        StatusCode::OK,
        format!(
            "connection: {}\nrequest: {}\nversion: {:?}\npeer: {}\ntls: {}\nsuite: {}\n\
             server-name: {}\nalpn: {}\nhandshake: {}\nclient-certificates: {}\n",
            peer.connection,
            control.requests(),
            request.version(),
            peer.address,
            or_none(&peer.tls_version),
            or_none(&peer.tls_suite),
            or_none(&peer.server_name),
            or_none(&peer.alpn),
            or_none(&peer.handshake),
            peer.client_certificates,
        ),
    )
}

pub(super) fn close() -> Response<Body> {
    let mut response = octets(Body::Pattern { position: 0, end: 16 });
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
