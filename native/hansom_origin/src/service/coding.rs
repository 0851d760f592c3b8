//! Compressed bodies, made while they are sent.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;

use super::payload::octets;
use super::{Abort, Body, Ending, Refusal, Reply, bad_request, not_found, query};

/// Length of the text when the query does not say, in bytes.
pub(super) const DEFAULT_TEXT: u64 = 10 * 1024;

/// Uncompressed size of a bomb when the query does not say: 1 GiB.
const DEFAULT_BOMB: u64 = 1 << 30;

/// A larger body is compressed while it is sent, and so has no Content-Length.
const MAX_BUFFERED: u64 = 256 * 1024;

/// How much is compressed before the connection gets its turn again, in bytes.
const PIECE: usize = 256 * 1024;

const LINE: &[u8] =
    b"A hansom is a light, fast carriage for two, with the driver behind and above.\n";

static ZEROS: [u8; PIECE] = [0; PIECE];

/// `length` bytes of the text from `position`.
pub(super) fn text(position: u64, length: usize) -> Vec<u8> {
    let start = (position % LINE.len() as u64) as usize;
    LINE.iter().cycle().skip(start).take(length).copied().collect()
}

/// The text under this content coding. `?bytes=` sets its length, `?chunked` leaves out the Content-Length.
pub(super) fn compressed<B>(request: &Request<B>, coding: &str) -> Result<Reply, Refusal> {
    let length = query::number(request, "bytes", DEFAULT_TEXT)?;
    let body = Compressed::new(coding, Source::Text, length)?;
    let mut response = octets(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONTENT_ENCODING, coding_name(coding)?);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if length > MAX_BUFFERED || query::text(request, "chunked").is_some() {
        *response.body_mut() = Body::boxed(body);
        return Ok(response.into());
    }
    Ok(Reply::later(async move {
        *response.body_mut() = Body::full(body.collect().await?.to_bytes());
        Ok(response)
    }))
}

/// Zeros under this content coding: a response that is small on the wire and huge when decoded.
pub(super) fn bomb<B>(request: &Request<B>, coding: &str) -> Result<Response<Body>, Refusal> {
    let length = query::number(request, "bytes", DEFAULT_BOMB)?;
    let mut response = octets(Body::boxed(Compressed::new(coding, Source::Zeros, length)?));
    response.headers_mut().insert(CONTENT_ENCODING, coding_name(coding)?);
    Ok(response)
}

fn coding_name(coding: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(coding).map_err(|_| bad_request("no such content coding"))
}

enum Source {
    Text,
    Zeros,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: &str) -> Option<io::Result<Self>> {
        Some(Ok(match coding {
            "gzip" => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            // "deflate" is the zlib format (RFC 9110, 8.4.1.2).
            "deflate" => Encoder::Deflate(ZlibEncoder::new(Vec::new(), Compression::default())),
            "br" => Encoder::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4096, 1, 20))),
            "zstd" => {
                return Some(zstd::stream::write::Encoder::new(Vec::new(), 1).map(Encoder::Zstd));
            }
            _ => return None,
        }))
    }

    /// Takes in `bytes`, and gives what has come out so far.
    fn write(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Encoder::Deflate(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Encoder::Brotli(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Encoder::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Deflate(encoder) => encoder.finish(),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

struct Compressed {
    // None once the last bytes are out.
    encoder: Option<Encoder>,
    source: Source,
    position: u64,
    length: u64,
}

impl Compressed {
    fn new(coding: &str, source: Source, length: u64) -> Result<Self, Refusal> {
        let encoder = Encoder::new(coding).ok_or_else(not_found)?.map_err(|_| {
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the encoder does not start")
        })?;
        Ok(Compressed { encoder: Some(encoder), source, position: 0, length })
    }

    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        let left = self.length - self.position;
        if left == 0 {
            return self.encoder.take().map(Encoder::finish).transpose();
        }
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        let piece = left.min(PIECE as u64) as usize;
        let out = match self.source {
            Source::Zeros => encoder.write(&ZEROS[..piece]),
            Source::Text => encoder.write(&text(self.position, piece)),
        };
        self.position += piece as u64;
        out.map(Some)
    }
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match self.step() {
            Ok(None) => Poll::Ready(None),
            Ok(Some(bytes)) if bytes.is_empty() && self.encoder.is_some() => {
                // Nothing has come out yet: let other connections run before the next piece goes in.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            // Writing to memory does not fail; were it to, the body has to end as broken.
            Err(_) => Poll::Ready(Some(Err(Abort::Wanted(Ending::Clean)))),
        }
    }
}
