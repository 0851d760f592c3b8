//! What is still to be written.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::command::Content;
use crate::host::Payload;
use crate::transport::Link;

/// Bytes waiting for the socket, in order. Small ones are joined, large ones stay where they are.
pub(crate) struct Output<P> {
    segments: VecDeque<Segment<P>>,
    /// How much of the first segment is written.
    written: usize,
    /// Bytes altogether, written ones of the first segment not counted.
    len: usize,
    /// Bytes went to the link that may sit in its own buffer.
    unflushed: bool,
}

enum Segment<P> {
    Bytes(Vec<u8>),
    Payload(P),
}

impl<P: Payload> Output<P> {
    pub(crate) fn new() -> Self {
        Self { segments: VecDeque::new(), written: 0, len: 0, unflushed: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && !self.unflushed
    }

    /// Bytes not yet handed to the link.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Lets `write` append to a buffer at the end of the queue.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.segments.back(), Some(Segment::Bytes(_))) {
            self.segments.push_back(Segment::Bytes(Vec::with_capacity(512)));
        }
        if let Some(Segment::Bytes(bytes)) = self.segments.back_mut() {
            let before = bytes.len();
            write(bytes);
            self.len += bytes.len() - before;
        }
    }

    /// Appends content.
    pub(crate) fn push(&mut self, content: Content<P>) {
        match content {
            Content::Empty | Content::Stream => {}
            Content::Bytes(bytes) => self.append(|end| end.extend_from_slice(&bytes)),
            Content::Payload(payload) => {
                self.len += payload.len();
                self.segments.push_back(Segment::Payload(payload));
            }
        }
    }

    /// Writes until everything is with the system. Returns how many bytes left in this call; the
    /// call is to be repeated when the link is ready for more.
    pub(crate) fn poll_write(
        &mut self,
        link: &mut Link,
        cx: &mut Context<'_>,
        sent: &mut usize,
    ) -> Poll<io::Result<()>> {
        while let Some(segment) = self.segments.front() {
            let offset = self.written;
            let mut write = |bytes: &[u8]| match bytes.get(offset..) {
                Some(rest) if !rest.is_empty() => {
                    Pin::new(&mut *link).poll_write(cx, rest).map_ok(|n| (n, rest.len() == n))
                }
                _ => Poll::Ready(Ok((0, true))),
            };
            let (n, finished) = ready!(match segment {
                Segment::Bytes(bytes) => write(bytes),
                Segment::Payload(payload) => payload.with(write),
            })?;
            if n == 0 && !finished {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *sent += n;
            self.len -= n;
            self.unflushed = true;
            if finished {
                self.segments.pop_front();
                self.written = 0;
            } else {
                self.written += n;
            }
        }
        if self.unflushed {
            ready!(Pin::new(link).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
