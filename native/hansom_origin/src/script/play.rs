//! Plays scripts to connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::frame::{self, Frame};
use super::{Script, Step};
use crate::listener::sniff::PREFACE;
use crate::listener::socket::{self, Socket};
use crate::listener::{StartError, bind};
use crate::service::Ending;
use crate::tls::Tls;

/// How much of what a peer sends is kept, in bytes. The rest is read and dropped.
const MAX_KEPT: usize = 16 * 1024 * 1024;

/// Longest run of bytes a step that looks for an end reads, in bytes.
const MAX_EXPECTED: usize = 64 * 1024 * 1024;

/// Length of the head of a frame of HTTP/2, in bytes.
const FRAME_HEAD: usize = 9;

const SPLIT_PAUSE: Duration = Duration::from_millis(1);

/// How a connection went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were played.
    Finished,
    /// The peer closed its side while this step (counted from 0) waited for more.
    PeerClosed(usize),
    /// At this step the peer sent something else than expected.
    Mismatch(usize),
    /// At this step the socket failed, or the peer sent more than a step can hold.
    Failed(usize, io::ErrorKind),
    /// The TLS handshake failed.
    Handshake(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Finished => f.write_str("finished"),
            Outcome::PeerClosed(step) => write!(f, "peer-closed {step}"),
            Outcome::Mismatch(step) => write!(f, "mismatch {step}"),
            Outcome::Failed(step, kind) => write!(f, "failed {step} {kind:?}"),
            Outcome::Handshake(_) => f.write_str("handshake-failed"),
        }
    }
}

/// What happened on one connection.
#[derive(Clone, Debug)]
pub struct Played {
    /// How it went.
    pub outcome: Outcome,
    /// What the peer sent, up to 16 MiB.
    pub received: Vec<u8>,
}

type Record = Arc<watch::Sender<Vec<Option<Arc<Played>>>>>;

/// A server that plays a script. Dropping it ends the listener and all connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    record: Record,
    // Held for its drop, which aborts the task.
    _listener: JoinSet<()>,
}

impl Server {
    /// Binds to `address` (port 0 takes a free port) and plays to each connection, over TLS where `tls` is given.
    pub async fn start(
        script: Script,
        address: SocketAddr,
        tls: Option<&Tls>,
    ) -> Result<Self, StartError> {
        let acceptor = tls.map(Tls::acceptor).transpose().map_err(StartError::Tls)?;
        let (listener, address) = bind(address).await?;
        let record: Record = Arc::new(watch::Sender::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::new(script), Arc::clone(&record)));
        Ok(Server { address, record, _listener: tasks })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the script of connection `index` (counted from 0, in the order of arrival) is over and our side closed.
    pub async fn played(&self, index: usize) -> Arc<Played> {
        let mut record = self.record.subscribe();
        loop {
            let played = record.borrow_and_update().get(index).cloned().flatten();
            if let Some(played) = played {
                return played;
            }
            // Fails without a sender only, and `self` holds one.
            if record.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// How many connections have arrived so far.
    pub fn connections(&self) -> usize {
        self.record.borrow().len()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    script: Arc<Script>,
    record: Record,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        // Without it the pieces of a split would be put together again.
        let _ = socket.set_nodelay(true);
        let mut index = 0;
        record.send_modify(|record| {
            index = record.len();
            record.push(None);
        });
        let (acceptor, script, record) =
            (acceptor.clone(), Arc::clone(&script), Arc::clone(&record));
        connections.spawn(async move {
            let report = |played| {
                record.send_modify(|record| {
                    if let Some(place) = record.get_mut(index) {
                        *place = Some(Arc::new(played));
                    }
                });
            };
            let steps = script.section(index);
            match acceptor {
                None => play(socket, steps, report).await,
                Some(acceptor) => match acceptor.accept(socket).await {
                    Ok(stream) => play(stream, steps, report).await,
                    Err(reason) => report(Played {
                        outcome: Outcome::Handshake(reason.to_string()),
                        received: Vec::new(),
                    }),
                },
            }
        });
    }
}

async fn play<S: Socket>(socket: S, steps: &[Step], report: impl FnOnce(Played)) {
    let mut player =
        Player { socket, unread: BytesMut::new(), head: Vec::new(), received: Vec::new() };
    let (outcome, ending) = player.play(steps).await;
    let open = socket::close(player.socket, ending).await;
    report(Played { outcome, received: player.received });
    if let Some(socket) = open {
        socket::linger(socket).await;
    }
}

struct Player<S> {
    socket: S,
    // Read from the socket, but not yet by a step.
    unread: BytesMut,
    head: Vec<u8>,
    received: Vec<u8>,
}

/// A SETTINGS frame without settings.
fn settings(flags: u8) -> Frame {
    Frame { kind: frame::SETTINGS, flags, stream: 0, payload: Bytes::new() }
}

/// Why a step does not end well.
enum Stop {
    PeerClosed,
    Mismatch,
    Failed(io::ErrorKind),
}

impl From<io::Error> for Stop {
    fn from(reason: io::Error) -> Self {
        Stop::Failed(reason.kind())
    }
}

impl<S: Socket> Player<S> {
    async fn play(&mut self, steps: &[Step]) -> (Outcome, Ending) {
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            let ending = match step {
                Step::Close => Some(Ending::Clean),
                Step::Cut => Some(Ending::Cut),
                Step::Reset => Some(Ending::Reset),
                _ => None,
            };
            if let Some(ending) = ending {
                return (Outcome::Finished, ending);
            }
            if let Err(stop) = self.step(step).await {
                let outcome = match stop {
                    Stop::PeerClosed => Outcome::PeerClosed(at),
                    Stop::Mismatch => Outcome::Mismatch(at),
                    Stop::Failed(kind) => Outcome::Failed(at, kind),
                };
                return (outcome, Ending::Clean);
            }
            at = if *step == Step::Again { 0 } else { at + 1 };
        }
        (Outcome::Finished, Ending::Clean)
    }

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::ExpectHead => {
                self.head = self.read_until(b"\r\n\r\n").await?.to_vec();
            }
            Step::ExpectBytes(count) => {
                self.read_exactly(*count).await?;
            }
            Step::Expect(bytes) => {
                if self.read_exactly(bytes.len()).await? != *bytes {
                    return Err(Stop::Mismatch);
                }
            }
            Step::ExpectUntil(end) => {
                self.read_until(end).await?;
            }
            Step::ExpectEof => loop {
                self.unread.clear();
                if self.fill().await? == 0 {
                    break;
                }
            },
            Step::Send(bytes) => self.send(bytes).await?,
            Step::Split(size, bytes) => {
                for (index, piece) in bytes.chunks((*size).max(1)).enumerate() {
                    if index > 0 {
                        sleep(SPLIT_PAUSE).await;
                    }
                    self.send(piece).await?;
                }
            }
            Step::Repeat(count, bytes) => {
                for _ in 0..*count {
                    self.send(bytes).await?;
                }
            }
            Step::ReplyHead => {
                let mut reply =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.head.len())
                        .into_bytes();
                reply.extend_from_slice(&self.head);
                self.send(&reply).await?;
            }
            Step::Echo => loop {
                let bytes = self.unread.split();
                self.send(&bytes).await?;
                if self.fill().await? == 0 {
                    break;
                }
            },
            Step::Wait(milliseconds) => sleep(Duration::from_millis(*milliseconds)).await,
            Step::HalfClose => {
                std::future::poll_fn(|cx| Pin::new(&mut self.socket).poll_shutdown(cx)).await?;
            }
            Step::Http2Preface => {
                if self.read_exactly(PREFACE.len()).await? != PREFACE {
                    return Err(Stop::Mismatch);
                }
                self.expect_frame(frame::SETTINGS, None, None).await?;
                let (settings, ack) = (settings(0), settings(1));
                self.send(&[settings.encode(), ack.encode()].concat()).await?;
            }
            Step::Frames(count, frame) => self.send_often(*count, &frame.encode()).await?,
            Step::ExpectFrame { kind, stream, payload } => {
                self.expect_frame(*kind, *stream, payload.as_ref()).await?;
            }
            // A loop that neither reads nor writes must not keep the thread.
            Step::Again => tokio::task::yield_now().await,
            // These end the play before they get here.
            Step::Close | Step::Cut | Step::Reset => {}
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.socket.write_all(bytes).await?;
        Ok(self.socket.flush().await?)
    }

    /// Sends many short pieces in few writes.
    async fn send_often(&mut self, count: u64, bytes: &[u8]) -> Result<(), Stop> {
        const BATCH: u64 = 1000;
        const SHORT: usize = 100;
        let batch = if bytes.len() <= SHORT { count.min(BATCH) } else { 1 };
        let mut left = count;
        while left > 0 {
            let now = left.min(batch);
            self.send(&bytes.repeat(now as usize)).await?;
            left -= now;
        }
        Ok(())
    }

    /// Reads frames of HTTP/2 up to and with one like this.
    async fn expect_frame(
        &mut self,
        kind: u8,
        stream: Option<u32>,
        payload: Option<&Bytes>,
    ) -> Result<(), Stop> {
        loop {
            let mut head = self.read_exactly(FRAME_HEAD).await?;
            let length = head.get_uint(3) as usize;
            let (found, _flags) = (head.get_u8(), head.get_u8());
            // The reserved bit says nothing (RFC 9113, 4.1).
            let on = head.get_u32() & !(1 << 31);
            let carried = self.read_exactly(length).await?;
            if found == kind && stream.is_none_or(|stream| stream == on) {
                return match payload {
                    Some(payload) if *payload != carried => Err(Stop::Mismatch),
                    _ => Ok(()),
                };
            }
        }
    }

    /// Reads once; 0 at the end.
    async fn fill(&mut self) -> Result<usize, Stop> {
        let before = self.unread.len();
        let count = self.socket.read_buf(&mut self.unread).await?;
        let kept = count.min(MAX_KEPT.saturating_sub(self.received.len()));
        self.received.extend_from_slice(&self.unread[before..before + kept]);
        Ok(count)
    }

    async fn read_exactly(&mut self, count: usize) -> Result<BytesMut, Stop> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Ok(self.unread.split_to(count))
    }

    async fn read_until(&mut self, end: &[u8]) -> Result<BytesMut, Stop> {
        if end.is_empty() {
            return Ok(BytesMut::new());
        }
        let mut from = 0;
        loop {
            if let Some(at) = self.unread[from..].windows(end.len()).position(|seen| seen == end) {
                return Ok(self.unread.split_to(from + at + end.len()));
            }
            // The end may have begun already.
            from = self.unread.len().saturating_sub(end.len() - 1);
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Stop> {
        if self.unread.len() > MAX_EXPECTED {
            return Err(Stop::Failed(io::ErrorKind::OutOfMemory));
        }
        match self.fill().await? {
            0 => Err(Stop::PeerClosed),
            _ => Ok(()),
        }
    }
}
