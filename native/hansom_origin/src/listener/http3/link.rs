//! The UDP socket of a QUIC listener, with what its path does to datagrams, and with connections the server has lost.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::NetworkPath;

/// Most datagrams on their way in one direction; a path drops what is beyond.
const MAX_ON_THE_WAY: usize = 64 * 1024;

/// Length of the connection IDs `quinn` gives out.
const CONNECTION_ID: usize = 8;

/// Length of the token that ends a stateless reset (RFC 9000, 10.3).
const TOKEN: usize = 16;

/// Shortest stateless reset that passes for a packet (RFC 9000, 10.3).
const SHORTEST_RESET: usize = 21;

pub(super) struct Link {
    socket: Arc<dyn AsyncUdpSocket>,
    reset_key: hmac::Key,
    half: Duration,
    loss: Mutex<Option<Loss>>,
    arriving: Mutex<Arriving>,
    leaving: Option<Departure>,
    // Read for each batch, so kept apart from the lock.
    has_lost: AtomicBool,
    lost: Mutex<HashMap<SocketAddr, Lost>>,
    answered: Notify,
}

/// What the server does about a peer whose connection it has lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// Nothing.
    Silent,
    /// It answers the next packet by a stateless reset.
    Forgotten,
    /// It has done so.
    Reset,
}

struct Arriving {
    queue: VecDeque<Datagrams<RecvMeta>>,
    until: Pin<Box<Sleep>>,
}

/// Some datagrams of one sender, and when they are due.
struct Datagrams<M> {
    due: Instant,
    bytes: Vec<u8>,
    meta: M,
}

struct Destination {
    address: SocketAddr,
    ecn: Option<EcnCodepoint>,
    segment_size: Option<usize>,
    source: Option<IpAddr>,
}

struct Departure {
    queue: mpsc::Sender<Datagrams<Destination>>,
    task: AbortHandle,
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    pub(super) fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        path: NetworkPath,
        reset_key: hmac::Key,
    ) -> Self {
        let leaving = (!path.delay.is_zero()).then(|| {
            let (queue, departing) = mpsc::channel(MAX_ON_THE_WAY);
            let task = tokio::spawn(depart(Arc::clone(&socket), departing)).abort_handle();
            Departure { queue, task }
        });
        Link {
            socket,
            reset_key,
            half: path.delay / 2,
            loss: Mutex::new((path.loss > 0).then(|| Loss::new(path.loss))),
            arriving: Mutex::new(Arriving {
                queue: VecDeque::new(),
                until: Box::pin(sleep_until(Instant::now())),
            }),
            leaving,
            has_lost: AtomicBool::new(false),
            lost: Mutex::default(),
            answered: Notify::new(),
        }
    }

    /// From now on nothing comes from this peer, and nothing gets to it, until it begins a new connection.
    pub(super) fn silence(&self, peer: SocketAddr) {
        self.lose(peer, Lost::Silent);
    }

    /// As if the server had lost its state: the next packet of this peer is answered by a stateless reset. Then all is
    /// silent. Ready when that has happened.
    pub(super) async fn forget(&self, peer: SocketAddr) {
        self.lose(peer, Lost::Forgotten);
        loop {
            let answered = self.answered.notified();
            if lock(&self.lost).get(&peer) != Some(&Lost::Forgotten) {
                return;
            }
            answered.await;
        }
    }

    fn lose(&self, peer: SocketAddr, how: Lost) {
        lock(&self.lost).insert(peer, how);
        self.has_lost.store(true, Ordering::Relaxed);
    }

    /// Whether datagrams of this peer are for the endpoint.
    fn admits(&self, meta: &RecvMeta, bytes: &[u8]) -> bool {
        if !self.has_lost.load(Ordering::Relaxed) {
            return true;
        }
        let mut lost = lock(&self.lost);
        let Some(how) = lost.get_mut(&meta.addr) else { return true };
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            // A long header: the peer begins anew.
            if *how != Lost::Forgotten {
                lost.remove(&meta.addr);
            }
            return true;
        }
        if *how == Lost::Forgotten {
            let datagram = &bytes[..meta.stride.min(bytes.len())];
            if let Some(reset) = self.stateless_reset(datagram) {
                let transmit = Transmit {
                    destination: meta.addr,
                    ecn: None,
                    contents: &reset,
                    segment_size: None,
                    src_ip: meta.dst_ip,
                };
                // A socket that is busy gets another chance with the peer's next packet.
                if self.socket.try_send(&transmit).is_ok() {
                    *how = Lost::Reset;
                    self.answered.notify_waiters();
                }
            }
        }
        false
    }

    /// The answer to a packet of a connection nobody knows (RFC 9000, 10.3). It is shorter than that packet.
    fn stateless_reset(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let length = datagram.len().checked_sub(1).filter(|length| *length >= SHORTEST_RESET)?;
        let id = datagram.get(1..1 + CONNECTION_ID)?;
        let signature = hmac::sign(&self.reset_key, id);
        let token = signature.as_ref().get(..TOKEN)?;
        // What comes before the token has to look random: bytes the peer has encrypted do.
        let mut reset = datagram.get(datagram.len() - (length.min(64) - TOKEN)..)?.to_vec();
        let first = reset.first_mut()?;
        *first = 0x40 | *first & 0x3f;
        reset.extend_from_slice(token);
        Some(reset)
    }

    /// Takes lost datagrams out of a batch; gives the length that is left.
    fn lose_some(&self, bytes: &mut [u8], stride: usize) -> usize {
        match &mut *lock(&self.loss) {
            Some(loss) => loss.filter(bytes, stride),
            None => bytes.len(),
        }
    }
}

impl AsyncUdpSocket for Link {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.has_lost.load(Ordering::Relaxed) {
            match lock(&self.lost).get(&transmit.destination) {
                Some(Lost::Silent | Lost::Reset) => return Ok(()),
                Some(Lost::Forgotten) | None => {}
            }
        }
        let loses = lock(&self.loss).is_some();
        if !loses && self.leaving.is_none() {
            return self.socket.try_send(transmit);
        }
        let mut bytes = transmit.contents.to_vec();
        let stride = transmit.segment_size.unwrap_or(bytes.len());
        let left = self.lose_some(&mut bytes, stride);
        bytes.truncate(left);
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(departure) = &self.leaving else {
            return self.socket.try_send(&Transmit { contents: &bytes, ..transmit.clone() });
        };
        let meta = Destination {
            address: transmit.destination,
            ecn: transmit.ecn,
            segment_size: transmit.segment_size,
            source: transmit.src_ip,
        };
        // A full queue loses them, as the queue of a router does.
        let _ =
            departure.queue.try_send(Datagrams { due: Instant::now() + self.half, bytes, meta });
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arriving = lock(&self.arriving);
        while let Poll::Ready(count) = self.socket.poll_recv(cx, buffers, meta) {
            let count = count?;
            let mut kept = 0;
            for index in 0..count {
                let (Some(buffer), Some(about)) = (buffers.get_mut(index), meta.get(index)) else {
                    break;
                };
                let mut about = *about;
                let Some(bytes) = buffer.get_mut(..about.len) else { continue };
                about.len = self.lose_some(bytes, about.stride);
                if about.len == 0 || !self.admits(&about, &bytes[..about.len]) {
                    continue;
                }
                if self.half.is_zero() {
                    if kept != index {
                        let bytes = bytes[..about.len].to_vec();
                        buffers[kept][..bytes.len()].copy_from_slice(&bytes);
                    }
                    meta[kept] = about;
                    kept += 1;
                } else if arriving.queue.len() < MAX_ON_THE_WAY {
                    arriving.queue.push_back(Datagrams {
                        due: Instant::now() + self.half,
                        bytes: bytes[..about.len].to_vec(),
                        meta: about,
                    });
                }
            }
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        arriving.poll(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Arriving {
    /// Gives what is due.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let now = Instant::now();
            let mut count = 0;
            for (buffer, about) in buffers.iter_mut().zip(meta.iter_mut()) {
                if self.queue.front().is_none_or(|next| next.due > now) {
                    break;
                }
                let Some(next) = self.queue.pop_front() else { break };
                if let Some(place) = buffer.get_mut(..next.bytes.len()) {
                    place.copy_from_slice(&next.bytes);
                    *about = next.meta;
                    count += 1;
                }
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            let Some(next) = self.queue.front() else { return Poll::Pending };
            self.until.as_mut().reset(next.due);
            if self.until.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Sends each datagram when it is due.
async fn depart(
    socket: Arc<dyn AsyncUdpSocket>,
    mut departing: mpsc::Receiver<Datagrams<Destination>>,
) {
    let mut writable = Arc::clone(&socket).create_io_poller();
    while let Some(Datagrams { due, bytes, meta }) = departing.recv().await {
        sleep_until(due).await;
        let transmit = Transmit {
            destination: meta.address,
            ecn: meta.ecn,
            contents: &bytes,
            segment_size: meta.segment_size,
            src_ip: meta.source,
        };
        while let Err(reason) = socket.try_send(&transmit) {
            let wait = std::future::poll_fn(|cx| writable.as_mut().poll_writable(cx));
            if reason.kind() != io::ErrorKind::WouldBlock || wait.await.is_err() {
                break;
            }
        }
    }
}

/// Decides which datagrams get lost.
struct Loss {
    percent: u64,
    state: u64,
}

impl Loss {
    fn new(percent: u8) -> Self {
        Loss { percent: percent.into(), state: 0 }
    }

    fn takes_next(&mut self) -> bool {
        // SplitMix64: the same sequence in each run.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100 < self.percent
    }

    /// Moves the datagrams of `stride` bytes that survive to the front; gives their length together.
    fn filter(&mut self, bytes: &mut [u8], stride: usize) -> usize {
        let mut kept = 0;
        let mut from = 0;
        while from < bytes.len() {
            let to = bytes.len().min(from.saturating_add(stride.max(1)));
            if !self.takes_next() {
                bytes.copy_within(from..to, kept);
                kept += to - from;
            }
            from = to;
        }
        kept
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_takes_whole_datagrams_in_about_the_given_share() {
        let mut loss = Loss::new(10);
        let mut kept = 0;
        for _ in 0..1000 {
            let mut bytes = *b"aaabbbccc_";
            let left = loss.filter(&mut bytes, 3);
            kept += left.div_ceil(3);
            for datagram in bytes[..left].chunks(3) {
                assert!(datagram.iter().all(|byte| *byte == datagram[0]));
            }
        }
        assert!((3500..3700).contains(&kept), "{kept} of 4000");
        assert_eq!(Loss::new(100).filter(&mut [0; 10], 3), 0);
    }
}
