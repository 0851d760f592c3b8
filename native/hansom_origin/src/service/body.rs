//! Response bodies. All of them are made while they are sent; none is held in memory as a whole, unless it is small.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{Abort, Control, Ending, Flush};

/// The byte at position `i` of every generated body is `i % PATTERN_PERIOD`.
///
/// A prime: data shifted by a power of two, as a lost or doubled buffer would shift it, shows.
pub const PATTERN_PERIOD: usize = 251;

const PATTERN_LENGTH: usize = PATTERN_PERIOD * 256;

static PATTERN: [u8; PATTERN_LENGTH] = {
    let mut pattern = [0; PATTERN_LENGTH];
    let mut at = 0;
    while at < PATTERN_LENGTH {
        pattern[at] = (at % PATTERN_PERIOD) as u8;
        at += 1;
    }
    pattern
};

/// `length` bytes of the pattern from `position`, or fewer where the table ends. Never empty for a `length` above 0.
pub(super) fn pattern(position: u64, length: u64) -> Bytes {
    let start = (position % PATTERN_LENGTH as u64) as usize;
    let length = length.min((PATTERN_LENGTH - start) as u64) as usize;
    Bytes::from_static(&PATTERN[start..start + length])
}

/// The body of a response.
pub enum Body {
    /// Nothing, with a known length of 0.
    Empty,
    /// One piece held in memory.
    Full(Bytes),
    /// The pattern from `position` up to `end`, with a known length.
    Pattern {
        /// Where the rest begins.
        position: u64,
        /// Where it ends.
        end: u64,
    },
    /// Any other body.
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = Abort> + Send>>),
}

impl Body {
    pub(super) fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }

    pub(super) fn boxed(body: impl HttpBody<Data = Bytes, Error = Abort> + Send + 'static) -> Self {
        Body::Boxed(Box::pin(body))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Pattern { position, end } => {
                let piece = pattern(*position, end.saturating_sub(*position));
                *position += piece.len() as u64;
                Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
            }
            Body::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(_) => false,
            Body::Pattern { position, end } => position >= end,
            Body::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Pattern { position, end } => SizeHint::with_exact(end.saturating_sub(*position)),
            Body::Boxed(body) => body.size_hint(),
        }
    }
}

/// What follows the last data frame of [`Frames`].
pub(super) enum End {
    /// The ordinary end.
    Complete,
    /// A trailer section.
    Trailers(HeaderMap),
    /// The exchange breaks in this way, once all before is on the wire.
    Abort(Arc<Control>, Ending),
}

/// `count` data frames, each made when its turn comes, with an optional pause between them.
pub(super) struct Frames {
    next: u64,
    count: u64,
    frame: Box<dyn Fn(u64) -> Bytes + Send>,
    interval: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    exact: Option<u64>,
    end: Option<End>,
    flush: Option<Flush>,
    // Of the abort that follows the flush.
    ending: Ending,
}

impl Frames {
    pub(super) fn new(count: u64, frame: impl Fn(u64) -> Bytes + Send + 'static) -> Self {
        Frames {
            next: 0,
            count,
            frame: Box::new(frame),
            interval: Duration::ZERO,
            pause: None,
            exact: None,
            end: Some(End::Complete),
            flush: None,
            ending: Ending::default(),
        }
    }

    /// The pattern from 0 up to `length`, in frames of 16 KiB.
    pub(super) fn of_pattern(length: u64) -> Self {
        const FRAME: u64 = 16 * 1024;
        // A frame may cross the end of the table, so it is put together from slices where needed.
        Frames::new(length.div_ceil(FRAME), move |index| {
            let from = index * FRAME;
            pattern_range(from, FRAME.min(length - from))
        })
    }

    pub(super) fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Announces a total length, which the frames must then have.
    pub(super) fn exact(mut self, length: u64) -> Self {
        self.exact = Some(length);
        self
    }

    pub(super) fn end(mut self, end: End) -> Self {
        self.end = Some(end);
        self
    }
}

/// Exactly `length` bytes of the pattern from `position`.
pub(super) fn pattern_range(position: u64, length: u64) -> Bytes {
    let first = pattern(position, length);
    if first.len() as u64 == length {
        return first;
    }
    let mut bytes = first.to_vec();
    while (bytes.len() as u64) < length {
        let done = bytes.len() as u64;
        bytes.extend_from_slice(&pattern(position + done, length - done));
    }
    bytes.into()
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        let this = &mut *self;
        if this.next < this.count {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let bytes = (this.frame)(this.next);
            this.next += 1;
            if !this.interval.is_zero() && this.next < this.count {
                this.pause = Some(Box::pin(sleep(this.interval)));
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(flush) = &mut this.flush {
            ready!(Pin::new(flush).poll(cx));
            return Poll::Ready(Some(Err(Abort::Wanted(this.ending))));
        }
        match this.end.take() {
            None | Some(End::Complete) => Poll::Ready(None),
            Some(End::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(End::Abort(control, ending)) => {
                this.ending = ending;
                this.flush = Some(control.flush());
                self.poll_frame(cx)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_continue_across_the_end_of_the_table() {
        let from = PATTERN_LENGTH as u64 - 3;
        let range = pattern_range(from, 2 * PATTERN_LENGTH as u64);
        assert_eq!(range.len(), 2 * PATTERN_LENGTH);
        for (offset, byte) in range.iter().enumerate() {
            assert_eq!(*byte as usize, (from as usize + offset) % PATTERN_PERIOD);
        }
    }

    #[test]
    fn positions_near_the_end_of_the_number_range_are_safe() {
        assert!((1..=10).contains(&pattern(u64::MAX, 10).len()));
        assert_eq!(pattern(0, 0).len(), 0);
    }
}
