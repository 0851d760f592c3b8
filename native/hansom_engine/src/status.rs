//! What can be known of connections without their lock.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::event::{HttpProtocol, State};

/// Figures of one connection.
pub(crate) struct Status {
    state: AtomicU8,
    tls: AtomicBool,
    protocol: AtomicU8,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    requests: AtomicU64,
    reuses: AtomicU64,
    connects: AtomicU64,
    handshakes: AtomicU64,
}

/// Figures of all connections since the library was loaded.
static TOTALS: Counters = Counters {
    sent: AtomicU64::new(0),
    received: AtomicU64::new(0),
    requests: AtomicU64::new(0),
    reuses: AtomicU64::new(0),
    connects: AtomicU64::new(0),
    handshakes: AtomicU64::new(0),
};

/// Figures for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The state.
    pub state: State,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The protocol spoken, or spoken last.
    pub protocol: HttpProtocol,
    /// Bytes received and not yet asked for.
    pub buffered_in: usize,
    /// Bytes not yet written.
    pub buffered_out: usize,
    /// What was counted.
    pub totals: Totals,
}

/// Counts since the connection, or the library, began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes sent, TLS not counted.
    pub sent: u64,
    /// Bytes received, TLS not counted.
    pub received: u64,
    /// Requests begun.
    pub requests: u64,
    /// Exchanges after which the connection could be used again.
    pub reuses: u64,
    /// Connections opened.
    pub connects: u64,
    /// TLS handshakes completed.
    pub handshakes: u64,
}

/// Counts of all connections since the library was loaded.
#[must_use]
pub fn totals() -> Totals {
    TOTALS.read()
}

impl Counters {
    fn read(&self) -> Totals {
        Totals {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            reuses: self.reuses.load(Ordering::Relaxed),
            connects: self.connects.load(Ordering::Relaxed),
            handshakes: self.handshakes.load(Ordering::Relaxed),
        }
    }
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(State::Idle as u8),
            tls: AtomicBool::new(false),
            protocol: AtomicU8::new(HttpProtocol::Http1 as u8),
            counters: Counters::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        const STATES: [State; 8] = [
            State::Idle,
            State::Connecting,
            State::Connected,
            State::StreamingBody,
            State::Receiving,
            State::Streaming,
            State::StreamingOnce,
            State::Closed,
        ];
        let state = self.state.load(Ordering::Acquire);
        STATES.into_iter().find(|known| *known as u8 == state).unwrap_or(State::Closed)
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn protocol(&self) -> HttpProtocol {
        const PROTOCOLS: [HttpProtocol; 3] =
            [HttpProtocol::Http1, HttpProtocol::Http2, HttpProtocol::Http3];
        let protocol = self.protocol.load(Ordering::Acquire);
        PROTOCOLS.into_iter().find(|known| *known as u8 == protocol).unwrap_or(HttpProtocol::Http1)
    }

    pub(crate) fn set_protocol(&self, protocol: HttpProtocol) {
        self.protocol.store(protocol as u8, Ordering::Release);
    }

    pub(crate) fn connected(&self, tls: bool, new: bool) {
        self.tls.store(tls, Ordering::Relaxed);
        if new {
            self.count(|counters| &counters.connects, 1);
        }
        if tls {
            self.count(|counters| &counters.handshakes, 1);
        }
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.count(|counters| &counters.sent, bytes as u64);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.count(|counters| &counters.received, bytes as u64);
    }

    pub(crate) fn count_request(&self) {
        self.count(|counters| &counters.requests, 1);
    }

    pub(crate) fn count_reuse(&self) {
        self.count(|counters| &counters.reuses, 1);
    }

    pub(crate) fn info(&self, (buffered_in, buffered_out): (usize, usize)) -> Info {
        Info {
            state: self.state(),
            tls: self.tls.load(Ordering::Relaxed),
            protocol: self.protocol(),
            buffered_in,
            buffered_out,
            totals: self.counters.read(),
        }
    }

    fn count(&self, which: impl Fn(&Counters) -> &AtomicU64, by: u64) {
        which(&self.counters).fetch_add(by, Ordering::Relaxed);
        which(&TOTALS).fetch_add(by, Ordering::Relaxed);
    }
}
