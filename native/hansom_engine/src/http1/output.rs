//! What is still to be written.

use std::collections::{VecDeque, vec_deque};
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
        self.is_written() && !self.unflushed
    }

    /// The link has taken everything, be it flushed or not.
    pub(crate) fn is_written(&self) -> bool {
        self.len == 0
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

    /// Writes until everything is with the system. Adds to `sent` how many bytes left in this call;
    /// the call is to be repeated when the link is ready for more.
    pub(crate) fn poll_write(
        &mut self,
        link: &mut Link,
        cx: &mut Context<'_>,
        sent: &mut usize,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            let mut segments = self.segments.iter();
            let mut link = Pin::new(&mut *link);
            let n = ready!(joined(&mut segments, self.written, Parts::default(), &mut |parts| {
                match parts {
                    [one] => link.as_mut().poll_write(cx, one),
                    _ => link.as_mut().poll_write_vectored(cx, parts),
                }
            }))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *sent += n;
            self.unflushed = true;
            self.advance(n);
        }
        if self.unflushed {
            ready!(Pin::new(link).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// So many bytes were written.
    fn advance(&mut self, n: usize) {
        self.len = self.len.saturating_sub(n);
        self.written += n;
        while let Some(segment) = self.segments.front()
            && segment.len() <= self.written
        {
            self.written -= segment.len();
            self.segments.pop_front();
        }
    }
}

impl<P: Payload> Segment<P> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Payload(payload) => payload.len(),
        }
    }
}

/// Segments written with one call: a piece of a body between the head before it, or its size, and
/// what follows it. Each call would be a packet of its own, for which the peer wakes up.
const JOINED: usize = 4;

/// The bytes of some segments.
struct Parts<'a> {
    slices: [io::IoSlice<'a>; JOINED],
    count: usize,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self { slices: [io::IoSlice::new(&[]); JOINED], count: 0 }
    }
}

/// Calls `write` with the bytes of the next segments, without the first `skipped` of them. It calls
/// itself for each segment, as a payload shows its bytes for the time of a call only.
fn joined<P: Payload, R>(
    segments: &mut vec_deque::Iter<'_, Segment<P>>,
    skipped: usize,
    parts: Parts<'_>,
    write: &mut dyn FnMut(&[io::IoSlice<'_>]) -> R,
) -> R {
    let next = if parts.count < JOINED { segments.next() } else { None };
    let mut with = |bytes: &[u8]| {
        let mut parts = Parts { slices: parts.slices, count: parts.count };
        if let (Some(rest), Some(slice)) = (bytes.get(skipped..), parts.slices.get_mut(parts.count))
            && !rest.is_empty()
        {
            *slice = io::IoSlice::new(rest);
            parts.count += 1;
        }
        joined(segments, 0, parts, write)
    };
    match next {
        Some(Segment::Bytes(bytes)) => with(bytes),
        Some(Segment::Payload(payload)) => payload.with(with),
        None => write(parts.slices.get(..parts.count).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;

    struct Large(Vec<u8>);

    impl Payload for Large {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
            read(&self.0)
        }
    }

    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| ((at + seed) % 251) as u8).collect()
    }

    /// A queue of pieces as an upload in chunks leaves them, and the bytes in it.
    fn queue(payloads: &[usize]) -> (Output<Large>, Vec<u8>) {
        let (mut output, mut all) = (Output::new(), Vec::new());
        for (seed, len) in payloads.iter().enumerate() {
            output.append(|out| out.extend_from_slice(b"size\r\n"));
            output.push(Content::Payload(Large(bytes(*len, seed))));
            output.append(|out| out.extend_from_slice(b"\r\n"));
            all.extend_from_slice(b"size\r\n");
            all.extend(bytes(*len, seed));
            all.extend_from_slice(b"\r\n");
        }
        (output, all)
    }

    /// The parts of what is written next.
    fn next_parts(output: &Output<Large>) -> Vec<Vec<u8>> {
        let mut segments = output.segments.iter();
        joined(&mut segments, output.written, Parts::default(), &mut |parts| {
            parts.iter().map(|part| part.to_vec()).collect()
        })
    }

    #[test]
    fn pieces_are_written_together_from_where_the_last_write_ended() {
        let (mut output, _) = queue(&[3]);
        assert_eq!(next_parts(&output), [b"size\r\n".to_vec(), bytes(3, 0), b"\r\n".to_vec()]);
        output.advance(7);
        assert_eq!(next_parts(&output), [bytes(2, 1), b"\r\n".to_vec()]);
        output.advance(3);
        assert_eq!(next_parts(&output), [b"\n"]);
        output.advance(1);
        assert!(next_parts(&output).is_empty());
        assert_eq!((output.len(), output.segments.len()), (0, 0));
        let (output, _) = queue(&[1, 0, 2]);
        assert_eq!(next_parts(&output).len(), JOINED);
    }

    #[tokio::test]
    async fn bytes_leave_in_order_however_little_the_socket_takes() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        socket2::SockRef::from(&ours).set_send_buffer_size(1).unwrap();
        let mut link = Link::from(ours);
        let (mut output, all) = queue(&[1, 70_000, 0, 300_000, 5, 17]);
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            received
        });
        let mut sent = 0;
        poll_fn(|cx| output.poll_write(&mut link, cx, &mut sent)).await.unwrap();
        assert!(output.is_empty());
        assert_eq!(sent, all.len());
        link.close();
        assert!(reader.await.unwrap() == all);
    }
}
