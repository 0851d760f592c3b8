//! Reading more than a TLS session asks for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;

/// What a TLS session asks for at a time.
const ASKED: usize = 4 << 10;
/// Memory of a link through which much arrives, so that a large body does not take a call of the
/// system for every 4 KiB.
const CAPACITY: usize = 64 << 10;

/// A socket that is read in large steps for as long as it has more than was asked for. Otherwise,
/// as when small answers come one at a time, it holds no memory and copies nothing.
#[derive(Debug)]
pub(crate) struct ReadAhead<S = Socket> {
    socket: S,
    /// Empty, or [`CAPACITY`] bytes while much arrives.
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    /// The last read filled the memory it was given.
    more: bool,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, memory: Box::default(), start: 0, end: 0, more: false }
    }

    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    /// Gives memory back until much arrives again.
    pub(crate) fn shrink(&mut self) {
        if self.buffered().is_empty() {
            self.memory = Box::default();
            self.more = false;
        }
    }

    fn buffered(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.buffered().is_empty() {
            if this.memory.is_empty() && !this.more {
                let before = out.remaining();
                ready!(Pin::new(&mut this.socket).poll_read(cx, out))?;
                this.more = before > 0 && out.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            if this.memory.is_empty() {
                this.memory = vec![0; CAPACITY].into_boxed_slice();
            }
            let mut buffer = ReadBuf::new(&mut this.memory);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buffer))?;
            (this.start, this.end) = (0, buffer.filled().len());
        }
        let len = this.buffered().len().min(out.remaining());
        out.put_slice(this.buffered().get(..len).unwrap_or_default());
        this.start += len;
        // No more than could have been read without.
        if this.end <= ASKED {
            this.shrink();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Reads all there is, as a TLS session does, and looks at the memory after each read.
    async fn read_all(sent: &[u8], step: usize) -> (Vec<u8>, Vec<usize>) {
        let (mut peer, socket) = duplex(sent.len().max(1));
        peer.write_all(sent).await.unwrap();
        drop(peer);
        let mut link = ReadAhead::new(socket);
        let (mut all, mut held) = (Vec::new(), Vec::new());
        let mut memory = vec![0; step];
        loop {
            let read = link.read(&mut memory).await.unwrap();
            held.push(link.memory.len());
            if read == 0 {
                return (all, held);
            }
            all.extend_from_slice(&memory[..read]);
        }
    }

    #[tokio::test]
    async fn bytes_come_in_order_whatever_the_steps() {
        let sent: Vec<u8> = (0..3 * CAPACITY + 17).map(|at| (at % 251) as u8).collect();
        for step in [1000, 4096, CAPACITY - 1, CAPACITY, CAPACITY + 1] {
            for len in [0, 1, step - 1, step, step + 1, step + CAPACITY, sent.len()] {
                let sent = &sent[..len.min(sent.len())];
                let (received, held) = read_all(sent, step).await;
                assert_eq!(received, sent, "{step} {len}");
                assert_eq!(held.last(), Some(&0), "{step} {len}");
            }
        }
    }

    #[tokio::test]
    async fn little_is_read_without_memory_and_much_with_it() {
        let (_, held) = read_all(&[1; 4095], 4096).await;
        assert_eq!(held, [0, 0]);
        let (_, held) = read_all(&[1; 3 * 4096], 4096).await;
        assert_eq!(held, [0, CAPACITY, CAPACITY, 0]);
    }

    #[tokio::test]
    async fn memory_is_given_back_when_little_comes_or_when_asked_to() {
        let (mut peer, socket) = duplex(1 << 20);
        let mut link = ReadAhead::new(socket);
        let mut memory = [0; ASKED];
        for end_of_much in [ReadAhead::shrink, |_: &mut _| ()] {
            peer.write_all(&[1; 3 * ASKED]).await.unwrap();
            for held in [0, CAPACITY] {
                assert_eq!(link.read(&mut memory).await.unwrap(), ASKED);
                assert_eq!(link.memory.len(), held);
            }
            // Not while it is in use.
            link.shrink();
            assert_eq!(link.read(&mut memory).await.unwrap(), ASKED);
            end_of_much(&mut link);
            peer.write_all(b"late").await.unwrap();
            assert_eq!(link.read(&mut memory).await.unwrap(), 4);
            assert!(link.memory.is_empty());
        }
    }
}
