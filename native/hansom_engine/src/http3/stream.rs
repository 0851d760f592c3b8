//! The two halves of a request stream (RFC 9114, section 4.1).

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::code::{Code, Fault, MALFORMED, Violation};
use super::frames::{self, Handling, Item, Reader};
use super::head;
use crate::error::{Error, Limit};
use crate::streams::{Came, Flush};

/// Pieces of data taken from the library at a time.
pub(super) const CHUNKS: usize = 32;

/// A response on its way.
pub(crate) struct Incoming {
    stream: RecvStream,
    /// What was taken from the library and not yet looked at, in reverse order.
    chunks: Vec<Bytes>,
    reader: Reader,
    stage: Stage,
    /// A response to HEAD.
    head_only: bool,
    /// Content the head promised, and what came of it.
    expected: Option<u64>,
    received: u64,
    trailers: Option<crate::headers::HeaderList>,
}

/// ```text
///   Head ─► Body ─► Trailers ─► Over
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// They have come; only the end can follow.
    Trailers,
    /// Nothing more is read.
    Over,
}

/// What the header sections of a response may take, in bytes.
#[derive(Clone, Copy)]
pub(super) struct SectionLimits {
    pub(super) head: usize,
    pub(super) trailers: usize,
}

/// What reading from the library led to.
pub(super) enum Chunks {
    /// So many bytes.
    Some(usize),
    End,
    Failed(ReadError),
}

impl Incoming {
    pub(super) fn new(stream: RecvStream, head_only: bool) -> Self {
        Self {
            stream,
            chunks: Vec::new(),
            reader: Reader::new(),
            stage: Stage::Head,
            head_only,
            expected: None,
            received: 0,
            trailers: None,
        }
    }

    /// What comes next of what was taken from the library.
    pub(super) fn next(&mut self, limits: SectionLimits) -> Result<Option<Came>, Fault> {
        if self.stage == Stage::Over {
            return Ok(None);
        }
        while let Some(mut chunk) = self.chunks.pop() {
            let stage = self.stage;
            let item = self
                .reader
                .next(&mut chunk, |kind, length| handling(stage, kind, length, limits))?;
            if !chunk.is_empty() {
                self.chunks.push(chunk);
            }
            match item {
                None => {}
                Some(Item::Piece(data)) => {
                    self.received += data.len() as u64;
                    if self.expected.is_some_and(|expected| self.received > expected) {
                        return Err(Fault::Stream(MALFORMED));
                    }
                    return Ok(Some(Came::Data { data, ended: false }));
                }
                Some(Item::Frame(_, section)) => return self.take_section(&section, limits),
            }
        }
        Ok(None)
    }

    fn take_section(
        &mut self,
        section: &[u8],
        limits: SectionLimits,
    ) -> Result<Option<Came>, Fault> {
        if self.stage == Stage::Body {
            self.trailers = Some(head::read_trailers(section, limits.trailers)?);
            self.stage = Stage::Trailers;
            return Ok(Some(Came::Nothing));
        }
        let head::Section { status, headers, length } = head::response(section, limits.head)?;
        let status = status.unwrap_or_default();
        if status < 200 {
            return Ok(Some(Came::Interim { status, headers }));
        }
        self.stage = Stage::Body;
        // Such a length is that of the content another request would have got.
        let contentless = self.head_only || matches!(status, 204 | 304);
        self.expected = length.filter(|_| !contentless);
        Ok(Some(Came::Head { status, headers, length, ended: false }))
    }

    /// The peer has ended the stream.
    pub(super) fn end(&mut self) -> Result<Came, Fault> {
        if !self.reader.is_between_frames() {
            return Err(Violation::new(Code::FRAME_ERROR, "a frame is cut short").into());
        }
        match self.stage {
            Stage::Head => Err(Fault::Stream(Error::NoStatus)),
            _ if self.expected.is_some_and(|expected| self.received < expected) => {
                Err(Fault::Stream(MALFORMED))
            }
            _ => {
                self.stage = Stage::Over;
                Ok(Came::End(self.trailers.take()))
            }
        }
    }

    /// Takes what has come from the library; `scratch` is empty before and after.
    pub(super) fn poll_chunks(
        &mut self,
        scratch: &mut [Bytes; CHUNKS],
        cx: &mut Context<'_>,
    ) -> Poll<Chunks> {
        let read = match pin!(self.stream.read_chunks(scratch)).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(read) => read,
        };
        Poll::Ready(match read {
            Ok(Some(count)) => {
                let mut bytes = 0;
                for chunk in scratch.iter_mut().take(count).rev() {
                    bytes += chunk.len();
                    self.chunks.push(std::mem::take(chunk));
                }
                Chunks::Some(bytes)
            }
            Ok(None) => Chunks::End,
            Err(error) => Chunks::Failed(error),
        })
    }

    /// Tells the peer that nobody listens any more.
    pub(super) fn stop(&mut self, code: u64) {
        if std::mem::replace(&mut self.stage, Stage::Over) != Stage::Over {
            self.chunks.clear();
            // Refused only if it is over.
            let _ = self.stream.stop(varint(code));
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.stop(Code::REQUEST_CANCELLED.value());
    }
}

fn handling(
    stage: Stage,
    kind: u64,
    length: u64,
    limits: SectionLimits,
) -> Result<Handling, Fault> {
    let unexpected = |text| Violation::new(Code::FRAME_UNEXPECTED, text).into();
    match (kind, stage) {
        (frames::DATA, Stage::Body) => Ok(Handling::Pieces),
        (frames::HEADERS, Stage::Head) if length > limits.head as u64 => {
            Err(Fault::Stream(Error::Limit(Limit::HeaderBytes)))
        }
        (frames::HEADERS, Stage::Body) if length > limits.trailers as u64 => {
            Err(Fault::Stream(Error::Limit(Limit::TrailerBytes)))
        }
        (frames::HEADERS, Stage::Head | Stage::Body) => Ok(Handling::Whole),
        (frames::PUSH_PROMISE, _) => {
            Err(Violation::new(Code::ID_ERROR, "there are no pushes").into())
        }
        (frames::DATA | frames::HEADERS, _) => Err(unexpected("a frame out of order")),
        (frames::CANCEL_PUSH | frames::SETTINGS | frames::GOAWAY | frames::MAX_PUSH_ID, _) => {
            Err(unexpected("a frame does not belong on a request stream"))
        }
        (kind, _) if frames::is_reserved(kind) => Err(unexpected("a frame of HTTP/2")),
        _ => Ok(Handling::Skip),
    }
}

/// A request on its way.
pub(crate) struct Outgoing {
    stream: SendStream,
    /// Bytes the library has not yet taken.
    pending: Vec<Bytes>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Nothing follows what is pending.
    Coming,
    Sent,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream, head: Bytes, bodyless: bool) -> Self {
        let end = if bodyless { End::Coming } else { End::Open };
        Self { stream, pending: vec![head], end }
    }

    pub(super) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    /// Adds bytes to what is to be sent; `end` says that nothing follows.
    pub(super) fn push(&mut self, bytes: impl IntoIterator<Item = Bytes>, end: bool) {
        self.pending.extend(bytes);
        if end {
            self.end = End::Coming;
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.pending.is_empty() && self.end != End::Coming
    }

    /// Sends what can be sent; the bytes are added to `sent`.
    pub(super) fn flush(&mut self, sent: &mut usize, cx: &mut Context<'_>) -> Flush {
        let mut progress = false;
        while !self.pending.is_empty() {
            let written = pin!(self.stream.write_chunks(&mut self.pending)).poll(cx);
            match written {
                // Lost with all that was sent early: it will be sent again, or fail as a whole.
                Poll::Pending | Poll::Ready(Err(WriteError::ZeroRttRejected)) => {
                    return Flush::Blocked { progress };
                }
                Poll::Ready(Ok(written)) => {
                    *sent += written.bytes;
                    self.pending.drain(..written.chunks);
                    progress = true;
                }
                Poll::Ready(Err(_)) => return Flush::Refused,
            }
        }
        if self.end == End::Coming {
            self.end = End::Sent;
            // Refused only if the stream is lost with all that was sent early, just now: it will be
            // sent again, or fail as a whole.
            let _ = self.stream.finish();
        }
        Flush::Done
    }

    /// Aborts the request.
    pub(super) fn reset(&mut self, code: u64) {
        // Refused only if it is over.
        let _ = self.stream.reset(varint(code));
        self.pending.clear();
        self.end = End::Sent;
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // The library would end the stream as if the request were complete.
        if self.end != End::Sent {
            self.reset(Code::REQUEST_CANCELLED.value());
        }
    }
}

fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}
