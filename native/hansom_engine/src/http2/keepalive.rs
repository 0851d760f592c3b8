//! PING frames on a connection from which nothing comes (RFC 9113, section 6.7).

use std::task::Context;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::Instant;

use crate::config::Http2Config;

/// Asks the peer for a sign of life, if it is to be asked at all.
pub(super) struct KeepAlive {
    pings: Option<PingPong>,
    interval: Duration,
    patience: Duration,
    /// When to ask, or when to give up.
    deadline: Option<Instant>,
    asked: bool,
}

impl KeepAlive {
    pub(super) fn new(pings: Option<PingPong>, config: &Http2Config) -> Self {
        let interval = config.ping_interval.unwrap_or_default();
        let pings = pings.filter(|_| config.ping_interval.is_some());
        let deadline = pings.as_ref().and_then(|_| Instant::now().checked_add(interval));
        Self { pings, interval, patience: config.ping_timeout, deadline, asked: false }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Something came from the peer.
    pub(super) fn heard(&mut self, cx: &mut Context<'_>) {
        let Some(pings) = &mut self.pings else { return };
        if self.asked && pings.poll_pong(cx).is_ready() {
            self.asked = false;
        }
        if !self.asked {
            self.deadline = Instant::now().checked_add(self.interval);
        }
    }

    /// Asks if it is time to; `false` if the peer has not answered in time.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|at| at > now) {
            return true;
        }
        let Some(pings) = &mut self.pings else { return true };
        if self.asked {
            return false;
        }
        // Refused once the connection is over.
        if pings.send_ping(Ping::opaque()).is_ok() {
            self.asked = true;
            self.deadline = now.checked_add(self.patience);
        } else {
            self.deadline = None;
        }
        true
    }
}
