//! A link carried by the embedder: a pipe between the engine and whatever moves its bytes there,
//! such as an Erlang transport module or Erlang's own TLS.
//!
//! The engine holds one end, the [`Pipe`], and reads and writes it like a socket. The embedder
//! holds the other, the [`Carrier`]. Neither waits for the other: the engine rings a [`Bell`] when
//! there is something to do, and the embedder then takes what is there. What a bell means is in the
//! pipe, not in the bell, so that bells may come late or in another order.
//!
//! Both directions are bounded. Bytes are fetched only when the engine wants some and has none, one
//! fetch at a time; written ones are kept up to [`WINDOW`], and count until the embedder has said
//! that they are sent.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{error, fmt, future};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;
use super::socket::Family;
use crate::error::Error;

/// Bytes on their way to the peer that are not yet said to be sent.
pub const WINDOW: usize = 256 << 10;

/// What the embedder is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Bytes are wanted: [`Carrier::received`].
    Read,
    /// Bytes are to be sent: [`Carrier::take`].
    Write,
    /// A socket is to be taken over: [`Carrier::take_socket`].
    Socket,
    /// The engine has no more use for the pipe. What is left in it may still be sent.
    Close,
}

/// How the embedder is called. Called on any thread; must not block.
pub trait Bell: Send + Sync + 'static {
    /// Calls for `ring`.
    fn ring(&self, ring: Ring);
}

/// How a carried connection came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whether it is encrypted.
    pub tls: bool,
    /// The application protocol agreed on (RFC 7301), if any.
    pub alpn: Option<Vec<u8>>,
}

/// The embedder's end. Clones are the same end.
#[derive(Clone)]
pub struct Carrier {
    shared: Arc<Shared>,
}

/// The engine's end. Dropping it rings [`Ring::Close`].
pub(crate) struct Pipe {
    shared: Arc<Shared>,
    opened: Opened,
}

struct Shared {
    bell: Box<dyn Bell>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    opened: Option<Result<Opened, Error>>,
    opening: Option<Waker>,
    socket: Option<(OwnedFd, Option<Family>)>,
    input: Vec<u8>,
    /// How much of `input` was read.
    start: usize,
    /// Nothing follows `input`: the end of the stream, or an error.
    end: Option<Result<(), Error>>,
    /// A fetch is under way.
    fetching: bool,
    reader: Option<Waker>,
    output: Vec<u8>,
    /// Taken by the embedder and not yet said to be sent.
    in_flight: usize,
    /// The embedder was called for `output` and has not yet seen it empty.
    called: bool,
    /// Why nothing can be sent or received any more.
    broken: Option<Error>,
    writer: Option<Waker>,
    closed: bool,
}

/// An [`Error`] on its way through I/O traits.
#[derive(Debug)]
pub(super) struct Carried(pub(super) Error);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl error::Error for Carried {}

impl Carrier {
    /// A pipe that is not yet open.
    #[must_use]
    pub fn new(bell: Box<dyn Bell>) -> Self {
        Self { shared: Arc::new(Shared { bell, state: Mutex::default() }) }
    }

    /// The connection is open, or why it could not be opened. Only the first word counts.
    pub fn opened(&self, result: Result<Opened, Error>) {
        let waker = {
            let mut state = self.shared.lock();
            state.opened.get_or_insert(result);
            state.opening.take()
        };
        wake(waker);
    }

    /// The socket under an encrypted connection to be made, and its family (`None` is that of Unix
    /// domain sockets), after [`Ring::Socket`].
    #[must_use]
    pub fn take_socket(&self) -> Option<(OwnedFd, Option<Family>)> {
        self.shared.lock().socket.take()
    }

    /// Everything that waits to be sent; `None` if there is nothing. [`Self::sent`] has to follow.
    #[must_use]
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.shared.lock();
        if state.output.is_empty() {
            state.called = false;
            return None;
        }
        let output = std::mem::take(&mut state.output);
        state.in_flight += output.len();
        Some(output)
    }

    /// What was taken is sent, or could not be.
    pub fn sent(&self, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                let waker = {
                    let mut state = self.shared.lock();
                    state.in_flight = 0;
                    state.writer.take()
                };
                wake(waker);
            }
            Err(error) => self.break_off(error),
        }
    }

    /// The bytes fetched: some, or none at the end of the stream, or why there are none.
    pub fn received(&self, result: Result<&[u8], Error>) {
        let waker = {
            let mut state = self.shared.lock();
            state.fetching = false;
            match result {
                _ if state.closed => {}
                Ok([]) => state.end = Some(Ok(())),
                Ok(bytes) => state.input.extend_from_slice(bytes),
                Err(error) => state.end = Some(Err(error)),
            }
            state.reader.take()
        };
        wake(waker);
    }

    /// Nothing can be sent or received any more.
    pub fn break_off(&self, error: Error) {
        let wakers = {
            let mut state = self.shared.lock();
            state.opened.get_or_insert_with(|| Err(error.clone()));
            state.broken.get_or_insert(error);
            state.output = Vec::new();
            state.in_flight = 0;
            [state.opening.take(), state.reader.take(), state.writer.take()]
        };
        wakers.into_iter().for_each(wake);
    }

    /// Waits for the connection to be opened, over `socket` if that is given.
    pub(crate) async fn open(&self, socket: Option<Socket>) -> Result<Pipe, Error> {
        // From here on the end of this future is the end of the pipe.
        let mut pipe = Pipe { shared: Arc::clone(&self.shared), opened: Opened::default() };
        if let Some(socket) = socket {
            let family = socket.family();
            let descriptor = socket.into_descriptor().map_err(|error| super::posix(&error))?;
            pipe.shared.lock().socket = Some((descriptor, family));
            pipe.shared.bell.ring(Ring::Socket);
        }
        pipe.opened = future::poll_fn(|cx| {
            let mut state = pipe.shared.lock();
            match state.opened.clone() {
                Some(result) => Poll::Ready(result),
                None => {
                    state.opening = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await?;
        Ok(pipe)
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What is already known to be wrong.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let state = self.shared.lock();
        match (&state.broken, &state.end) {
            (Some(error), _) | (None, Some(Err(error))) => Err(error.clone()),
            (None, Some(Ok(()))) => Err(Error::Closed),
            (None, None) => Ok(()),
        }
    }

    /// Takes what there is room for; `None` if there is none.
    pub(crate) fn try_write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        self.accept(data, None)
    }

    fn accept(&self, data: &[u8], cx: Option<&Context<'_>>) -> io::Result<Option<usize>> {
        let (len, ring) = {
            let mut state = self.shared.lock();
            if let Some(error) = &state.broken {
                return Err(carried(error));
            }
            let room = WINDOW.saturating_sub(state.output.len() + state.in_flight);
            let part = data.get(..data.len().min(room)).unwrap_or_default();
            if part.is_empty() && !data.is_empty() {
                if let Some(cx) = cx {
                    state.writer = Some(cx.waker().clone());
                }
                return Ok(None);
            }
            state.output.extend_from_slice(part);
            let ring = !state.output.is_empty() && !std::mem::replace(&mut state.called, true);
            (part.len(), ring)
        };
        if ring {
            self.shared.bell.ring(Ring::Write);
        }
        Ok(Some(len))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ring = {
            let mut state = self.shared.lock();
            let unread = state.input.get(state.start..).unwrap_or_default();
            if !unread.is_empty() {
                let len = unread.len().min(buffer.remaining());
                buffer.put_slice(unread.get(..len).unwrap_or_default());
                state.start += len;
                if state.start == state.input.len() {
                    state.input = Vec::new();
                    state.start = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = &state.broken {
                return Poll::Ready(Err(carried(error)));
            }
            match &state.end {
                Some(Ok(())) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(carried(error))),
                None => {}
            }
            state.reader = Some(cx.waker().clone());
            !std::mem::replace(&mut state.fetching, true)
        };
        if ring {
            self.shared.bell.ring(Ring::Read);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.accept(data, Some(cx)) {
            Ok(Some(len)) => Poll::Ready(Ok(len)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if let Some(error) = &state.broken {
            return Poll::Ready(Err(carried(error)));
        }
        if state.output.is_empty() && state.in_flight == 0 {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.closed = true;
            state.socket = None;
            state.input = Vec::new();
            state.start = 0;
            state.opening = None;
            state.reader = None;
            state.writer = None;
        }
        self.shared.bell.ring(Ring::Close);
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipe")
    }
}

fn carried(error: &Error) -> io::Error {
    match error {
        Error::Closed => io::ErrorKind::BrokenPipe.into(),
        error => io::Error::other(Carried(error.clone())),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Keeps the calls.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<Ring>>>);

    impl Bell for Calls {
        fn ring(&self, ring: Ring) {
            self.0.lock().unwrap().push(ring);
        }
    }

    impl Calls {
        fn take(&self) -> Vec<Ring> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    async fn open() -> (Calls, Carrier, Pipe) {
        let calls = Calls::default();
        let carrier = Carrier::new(Box::new(calls.clone()));
        carrier.opened(Ok(Opened::default()));
        let pipe = carrier.open(None).await.unwrap();
        (calls, carrier, pipe)
    }

    #[tokio::test]
    async fn bytes_are_fetched_when_wanted_and_one_fetch_at_a_time() {
        let (calls, carrier, mut pipe) = open().await;
        assert_eq!(calls.take(), []);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut memory = [0; 3];
        for _ in 0..2 {
            let mut buffer = ReadBuf::new(&mut memory);
            assert!(Pin::new(&mut pipe).poll_read(cx, &mut buffer).is_pending());
        }
        assert_eq!(calls.take(), [Ring::Read]);
        carrier.received(Ok(b"hello"));
        let mut text = String::new();
        assert_eq!(pipe.read(&mut memory).await.unwrap(), 3);
        text.push_str(std::str::from_utf8(&memory).unwrap());
        assert_eq!(pipe.read(&mut memory).await.unwrap(), 2);
        text.push_str(std::str::from_utf8(&memory[..2]).unwrap());
        assert_eq!((text.as_str(), calls.take()), ("hello", vec![]));
        carrier.received(Ok(b""));
        assert_eq!(pipe.read(&mut memory).await.unwrap(), 0);
        assert_eq!(pipe.check(), Err(Error::Closed));
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_read() {
        let (_, carrier, mut pipe) = open().await;
        carrier.received(Ok(b"a"));
        carrier.received(Err(Error::Posix("etimedout")));
        let mut memory = [0; 8];
        assert_eq!(pipe.read(&mut memory).await.unwrap(), 1);
        let error = pipe.read(&mut memory).await.unwrap_err();
        assert_eq!(Error::from(error), Error::Posix("etimedout"));
    }

    #[tokio::test]
    async fn writes_are_bounded_and_flushed_when_sent() {
        let (calls, carrier, mut pipe) = open().await;
        let cx = &mut Context::from_waker(Waker::noop());
        let data = vec![7; WINDOW + 1];
        assert_eq!(pipe.write(&data).await.unwrap(), WINDOW);
        assert!(Pin::new(&mut pipe).poll_write(cx, b"x").is_pending());
        assert_eq!(carrier.take().unwrap().len(), WINDOW);
        // Taken is not sent.
        assert!(Pin::new(&mut pipe).poll_write(cx, b"x").is_pending());
        assert!(Pin::new(&mut pipe).poll_flush(cx).is_pending());
        carrier.sent(Ok(()));
        assert!(Pin::new(&mut pipe).poll_flush(cx).is_ready());
        assert_eq!(pipe.write(b"x").await.unwrap(), 1);
        assert_eq!(calls.take(), [Ring::Write]);
        assert_eq!(carrier.take().unwrap(), b"x");
        assert_eq!(carrier.take(), None);
        assert_eq!(pipe.write(b"y").await.unwrap(), 1);
        assert_eq!(calls.take(), [Ring::Write]);
    }

    #[tokio::test]
    async fn a_failed_send_ends_both_directions() {
        let (_, carrier, mut pipe) = open().await;
        assert_eq!(pipe.write(b"x").await.unwrap(), 1);
        let _ = carrier.take();
        carrier.sent(Err(Error::Posix("epipe")));
        let failed = |result: io::Result<()>| Error::from(result.unwrap_err());
        assert_eq!(failed(pipe.flush().await), Error::Posix("epipe"));
        assert_eq!(failed(pipe.write_all(b"y").await), Error::Posix("epipe"));
        assert_eq!(failed(pipe.read(&mut [0; 1]).await.map(drop)), Error::Posix("epipe"));
    }

    #[tokio::test]
    async fn dropping_either_end_is_told() {
        let (calls, carrier, pipe) = open().await;
        pipe.try_write(b"last words").unwrap();
        drop(pipe);
        assert_eq!(calls.take(), [Ring::Write, Ring::Close]);
        assert_eq!(carrier.take().unwrap(), b"last words");

        let calls = Calls::default();
        let carrier = Carrier::new(Box::new(calls.clone()));
        let opening = carrier.clone();
        let opening = tokio::spawn(async move { opening.open(None).await.map(drop) });
        carrier.break_off(Error::Closed);
        assert_eq!(opening.await.unwrap(), Err(Error::Closed));
        assert_eq!(calls.take(), [Ring::Close]);
    }

    #[tokio::test]
    async fn a_socket_is_handed_over() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let calls = Calls::default();
        let carrier = Carrier::new(Box::new(calls.clone()));
        let opening = carrier.clone();
        let opening = tokio::spawn(async move { opening.open(Some(Socket::Tcp(socket))).await });
        while calls.take() != [Ring::Socket] {
            tokio::task::yield_now().await;
        }
        let (descriptor, family) = carrier.take_socket().unwrap();
        assert_eq!(family, Some(Family::V4));
        assert!(std::net::TcpStream::from(descriptor).peer_addr().is_ok());
        let opened = Opened { tls: true, alpn: Some(b"h2".to_vec()) };
        carrier.opened(Ok(opened.clone()));
        assert_eq!(opening.await.unwrap().unwrap().opened(), &opened);
    }
}
