//! Which streams have something to do, so that a wake-up never looks at the others.
//!
//! The wakers here are only ever woken under the connection's lock, by the protocol library while
//! it is polled or called. They note down who is to be looked at; whoever holds the lock does so
//! before it lets go, and needs no other wake-up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// What is to be looked at.
pub(super) struct Ready {
    list: Arc<List>,
    connection: Waker,
    /// The wakers of the streams, by their keys.
    streams: Vec<Waker>,
    /// Keys being looked at: memory kept for the next time.
    taken: Vec<usize>,
}

#[derive(Default)]
struct List {
    streams: Mutex<Vec<usize>>,
    connection: AtomicBool,
}

struct StreamWaker {
    key: usize,
    list: Arc<List>,
}

struct ConnectionWaker(Arc<List>);

impl Ready {
    pub(super) fn new() -> Self {
        let list = Arc::new(List::default());
        let connection = Waker::from(Arc::new(ConnectionWaker(list.clone())));
        Self { list, connection, streams: Vec::new(), taken: Vec::new() }
    }

    /// The waker of the connection itself.
    pub(super) fn connection(&self) -> &Waker {
        &self.connection
    }

    /// The waker of the stream with this key.
    pub(super) fn stream(&mut self, key: usize) -> Waker {
        for key in self.streams.len()..=key {
            let waker = StreamWaker { key, list: self.list.clone() };
            self.streams.push(Waker::from(Arc::new(waker)));
        }
        self.streams[key].clone()
    }

    /// Whether the connection was woken since the last call.
    pub(super) fn take_connection(&self) -> bool {
        self.list.connection.swap(false, Ordering::Relaxed)
    }

    /// The streams woken since the last call, each named at least once; to be given back with
    /// [`Self::put_back`].
    pub(super) fn take_streams(&mut self) -> Vec<usize> {
        let mut taken = std::mem::take(&mut self.taken);
        std::mem::swap(&mut taken, &mut *self.list.lock());
        taken
    }

    pub(super) fn put_back(&mut self, mut taken: Vec<usize>) {
        taken.clear();
        self.taken = taken;
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.list.connection.load(Ordering::Relaxed) && self.list.lock().is_empty()
    }
}

impl List {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut streams = self.list.lock();
        // Most are woken several times in a row.
        if streams.last() != Some(&self.key) {
            streams.push(self.key);
        }
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.connection.store(true, Ordering::Relaxed);
    }
}
