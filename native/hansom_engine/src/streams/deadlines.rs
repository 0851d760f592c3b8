//! The deadlines of many streams: they move with every frame and expire rarely.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// For each stream at most one entry that counts, made for a deadline it had at some time. A
/// deadline that moves away leaves its entry where it is; whoever finds the entry expired asks the
/// stream and enters it anew.
#[derive(Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn enter(&mut self, at: Instant, key: usize) {
        self.heap.push(Reverse((at, key)));
    }

    /// The stream of an entry that has expired.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops entries that do not count any more, once they are the larger part of all.
    pub(super) fn tidy(&mut self, streams: usize, counts: impl Fn(Instant, usize) -> bool) {
        if self.heap.len() > 64 + 4 * streams {
            self.heap.retain(|Reverse((at, key))| counts(*at, *key));
        }
    }
}
