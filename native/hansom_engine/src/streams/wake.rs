//! Which streams have something to do, so that a wake-up never looks at the others.
//!
//! The wakers here note down who is to be looked at. Where the protocol library wakes them only
//! under the connection's lock, while it is polled or called, that is all: whoever holds the lock
//! looks before it lets go. Where other threads wake them at any time, the connection's task is
//! woken too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Wake, Waker};

/// What is to be looked at.
pub(super) struct Ready {
    list: Arc<List>,
    connection: Waker,
    /// The wakers of the streams, by their keys.
    streams: Vec<Waker>,
    /// Keys being looked at: memory kept for the next time.
    taken: Vec<usize>,
    woken_from_outside: bool,
}

#[derive(Default)]
struct List {
    streams: Mutex<Vec<usize>>,
    connection: AtomicBool,
    /// The task to be woken, if wake-ups come from outside. It stays the same for the connection's
    /// whole life.
    task: OnceLock<Waker>,
}

struct StreamWaker {
    key: usize,
    list: Arc<List>,
}

struct ConnectionWaker(Arc<List>);

impl Ready {
    pub(super) fn new(woken_from_outside: bool) -> Self {
        let list = Arc::new(List::default());
        let connection = Waker::from(Arc::new(ConnectionWaker(list.clone())));
        Self { list, connection, streams: Vec::new(), taken: Vec::new(), woken_from_outside }
    }

    /// From here on the task is woken by what happens outside. Whatever happened before is noted:
    /// look at it after this.
    pub(super) fn wake_also(&self, task: &Waker) {
        if self.woken_from_outside && self.list.task.get().is_none() {
            let _ = self.list.task.set(task.clone());
        }
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

    /// Notes that the connection is to be looked at, for whoever holds the lock.
    pub(super) fn note_connection(&self) {
        self.list.connection.store(true, Ordering::Release);
    }

    /// Notes that a stream is to be looked at, for whoever holds the lock.
    pub(super) fn note(&self, key: usize) {
        self.list.add(key);
    }

    /// Whether the connection was woken since the last call.
    pub(super) fn take_connection(&self) -> bool {
        self.list.connection.swap(false, Ordering::AcqRel)
    }

    /// The streams woken since the last call, each named at least once; to be given back with
    /// [`Self::put_back`].
    pub(super) fn take_streams(&mut self) -> Vec<usize> {
        let mut taken = std::mem::take(&mut self.taken);
        std::mem::swap(&mut taken, &mut *self.list.lock());
        taken
    }

    /// Puts a stream that was woken behind all others that were.
    pub(super) fn move_back(&self, key: usize) {
        self.list.move_back(key);
    }

    pub(super) fn put_back(&mut self, mut taken: Vec<usize>) {
        taken.clear();
        self.taken = taken;
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.list.connection.load(Ordering::Acquire) && self.list.lock().is_empty()
    }
}

impl List {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stream; `true` if there was none.
    fn add(&self, key: usize) -> bool {
        let mut streams = self.lock();
        let was_empty = streams.is_empty();
        // Most are woken several times in a row.
        if streams.last() != Some(&key) {
            streams.push(key);
        }
        was_empty
    }

    fn move_back(&self, key: usize) {
        let mut streams = self.lock();
        let all = streams.len();
        streams.retain(|other| *other != key);
        if streams.len() < all {
            streams.push(key);
        }
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The task takes the whole list at a time: whoever found it empty has woken the task.
        if self.list.add(self.key) {
            self.list.wake_task();
        }
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.0.connection.swap(true, Ordering::AcqRel) {
            self.0.wake_task();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::Ready;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_is_woken_once_for_everything_it_has_not_yet_seen() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let mut ready = Ready::new(true);
        let (one, two) = (ready.stream(1), ready.stream(2));
        one.wake_by_ref();
        ready.wake_also(&task);
        assert_eq!(ready.take_streams(), [1], "what came before is noted");
        one.wake_by_ref();
        two.wake_by_ref();
        one.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(ready.take_streams(), [1, 2, 1]);
        two.wake_by_ref();
        ready.connection().wake_by_ref();
        ready.connection().wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        assert!(ready.take_connection() && !ready.take_connection());
    }

    #[test]
    fn a_stream_that_was_woken_can_let_the_others_go_first() {
        let mut ready = Ready::new(true);
        for key in [1, 2, 1, 3] {
            ready.note(key);
        }
        ready.move_back(1);
        ready.move_back(4);
        assert_eq!(ready.take_streams(), [2, 3, 1]);
    }

    #[test]
    fn notes_of_whoever_holds_the_lock_wake_nobody() {
        let count = Arc::new(Count::default());
        let ready = Ready::new(true);
        ready.wake_also(&Waker::from(count.clone()));
        ready.note(0);
        ready.note_connection();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(!ready.is_idle());
        let inside = Ready::new(false);
        inside.wake_also(&Waker::from(count.clone()));
        inside.connection().wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }
}
