//! A connection: the handle its users hold and the task that drives it.
//!
//! The state is behind one lock, held for microseconds and never across I/O that waits. A command
//! is carried out by the thread that submits it when the lock is free and no earlier command
//! waits; otherwise it is queued for the task. So commands take effect in the order in which each
//! thread submits them, and what they lead to is delivered in that order too, since it is
//! delivered under the lock.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::task::{Context, Poll, Waker};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::runtime::Handle;

use crate::command::Command;
use crate::config::Config;
use crate::event::{HttpProtocol, Notice, State};
use crate::host::{Host, Sink};
use crate::lifecycle::Core;
use crate::status::{Info, Status};

/// Attempts to get the lock before a command is queued. It is held for a few microseconds at a
/// time, and the way through the queue costs more than that; unless many share the connection.
const SPINS: usize = 100;

/// A handle to one connection. Clones name the same connection, and dropping handles does not
/// close it: that takes [`Command::Shutdown`], or the end of the runtime.
pub struct Connection<H: Host> {
    shared: Arc<Shared<H>>,
}

struct Shared<H: Host> {
    core: Mutex<Core<H>>,
    commands: Sender<Box<Command<H>>>,
    queue: Receiver<Box<Command<H>>>,
    /// The task's own waker; it stays the same for the task's whole life.
    waker: OnceLock<Waker>,
    /// There is no task any more.
    over: AtomicBool,
    /// Many share the connection, so that the task holds the lock for long.
    crowded: AtomicBool,
    status: Status,
}

impl<H: Host> Clone for Connection<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<H: Host> Connection<H> {
    /// Makes a connection in the state `idle` with its task on `runtime`. What the task has to say
    /// goes to `sink`; if the task ends other than by [`Command::Shutdown`], its last words are
    /// [`Notice::Finished`] and, to the receiver of a response under way, an error.
    pub fn spawn(config: Config, sink: Box<dyn Sink<H> + Send>, runtime: &Handle) -> Self {
        let (commands, queue) = unbounded();
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(config)),
            commands,
            queue,
            waker: OnceLock::new(),
            over: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            status: Status::new(),
        });
        runtime.spawn(Task { shared: shared.clone(), sink });
        Self { shared }
    }

    /// Carries a command out, or queues it for the task. Never waits. What is known at once is
    /// delivered through `sink` before this returns.
    pub fn submit(&self, command: Command<H>, sink: &mut dyn Sink<H>) {
        let shared = &*self.shared;
        // The task may hold a reply back until the lock is free. Whoever gives up waiting must not
        // overtake it, so that is left to the task. So is all of HTTP/3, where a lock of the
        // library might have to be waited for.
        let inline = match command {
            Command::Cancel { .. } => false,
            Command::Close { .. } => self.closes_quickly(),
            // Reads what has come, which over HTTP/2 may be a lot.
            Command::Probe { .. } => shared.status.protocol() == HttpProtocol::Http1,
            Command::ReceiverGone { .. } | Command::ProcessGone { .. } => self.is_for_few(),
            _ => shared.status.protocol() != HttpProtocol::Http3,
        };
        if inline
            && let (Some(waker), Some(core)) = (shared.waker.get(), shared.try_lock())
            && shared.queue.is_empty()
        {
            let _alarm = Alarm(shared);
            let mut core = core;
            let mut cx = Context::from_waker(waker);
            core.apply(command, &mut cx, sink, &shared.status);
            let settled = core.drive_inline(&mut cx, sink, &shared.status);
            drop(core);
            if !settled {
                waker.wake_by_ref();
            }
            return;
        }
        shared.enqueue(command);
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.status.state()
    }

    /// The protocol spoken; HTTP/1.1 before the first dial.
    #[must_use]
    pub fn protocol(&self) -> HttpProtocol {
        self.shared.status.protocol()
    }

    /// Closes for good, now. Waits for the lock, so it is not for threads that must not wait.
    ///
    /// `tell` says whether those who were to get more messages hear that they will not.
    pub fn shut_down(&self, tell: bool, sink: &mut dyn Sink<H>) {
        self.shared.end(self.shared.lock(), tell, sink);
    }

    /// Closes for good, now, if the lock is free and it takes no time; `false` otherwise.
    pub fn try_shut_down(&self, tell: bool, sink: &mut dyn Sink<H>) -> bool {
        if !self.closes_quickly() {
            return false;
        }
        let Some(core) = self.shared.try_lock() else { return false };
        self.shared.end(core, tell, sink);
        true
    }

    /// To take a QUIC connection apart, and to tell its peer, takes some 100 microseconds. A dial may
    /// have one.
    fn closes_quickly(&self) -> bool {
        self.is_for_few() && self.state() != State::Connecting
    }

    /// Whether there are only few streams to be looked at, each in no time.
    fn is_for_few(&self) -> bool {
        self.protocol() != HttpProtocol::Http3 && !self.shared.crowded.load(Ordering::Relaxed)
    }

    /// Figures for people. What is buffered is left at 0 while the connection is busy.
    #[must_use]
    pub fn info(&self) -> Info {
        let buffered = self.shared.try_lock().map(|core| core.buffered()).unwrap_or_default();
        self.shared.status.info(buffered)
    }
}

impl<H: Host> Shared<H> {
    fn end(&self, core: MutexGuard<'_, Core<H>>, tell: bool, sink: &mut dyn Sink<H>) {
        let _alarm = Alarm(self);
        let mut core = core;
        let mut cx = Context::from_waker(Waker::noop());
        core.apply(Command::Shutdown { tell }, &mut cx, sink, &self.status);
        drop(core);
        self.wake();
    }

    fn enqueue(&self, command: Command<H>) {
        // The receiver lives as long as the sender, so this cannot fail.
        let _ = self.commands.send(Box::new(command));
        // Either the task sees the command when it looks at the queue, or this thread sees the
        // task's waker, or that it is over: each side writes first and then reads.
        fence(Ordering::SeqCst);
        self.wake();
        if self.over.load(Ordering::SeqCst) {
            self.drop_queue();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Commands nobody will carry out: their callers learn of it as they are dropped.
    fn drop_queue(&self) {
        while self.queue.try_recv().is_ok() {}
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Core<H>>> {
        for _ in 0..SPINS {
            match self.core.try_lock() {
                Ok(core) => return Some(core),
                Err(TryLockError::Poisoned(_)) => return Some(self.lock()),
                Err(TryLockError::WouldBlock) if self.crowded.load(Ordering::Relaxed) => break,
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }

    /// A panic under the lock leaves a state nothing can be said of, so the connection ends.
    fn lock(&self) -> MutexGuard<'_, Core<H>> {
        match self.core.lock() {
            Ok(core) => core,
            Err(poisoned) => {
                self.core.clear_poison();
                let mut core = poisoned.into_inner();
                core.wreck(&self.status);
                self.wake();
                core
            }
        }
    }
}

/// Wakes the task after a panic under the lock, so that those who wait hear at once that the
/// connection is over. To be made before the guard of the lock is bound, which is then gone first.
struct Alarm<'a, H: Host>(&'a Shared<H>);

impl<H: Host> Drop for Alarm<'_, H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.wake();
        }
    }
}

/// Drives one connection until it is shut down.
struct Task<H: Host> {
    shared: Arc<Shared<H>>,
    sink: Box<dyn Sink<H> + Send>,
}

impl<H: Host> Future for Task<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        let shared = &*task.shared;
        let sink = &mut *task.sink;
        shared.waker.get_or_init(|| cx.waker().clone());
        fence(Ordering::SeqCst);
        let mut core = shared.lock();
        while let Ok(command) = shared.queue.try_recv() {
            core.apply(*command, cx, sink, &shared.status);
        }
        shared.crowded.store(core.is_crowded(), Ordering::Relaxed);
        core.drive(cx, sink, &shared.status);
        let over = core.is_over();
        drop(core);
        sink.unlocked();
        if over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<H: Host> Drop for Task<H> {
    /// Also reached by a panic and by the end of the runtime.
    fn drop(&mut self) {
        let shared = &*self.shared;
        shared.over.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // A second panic during the unwinding of a first would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut core = shared.lock();
            let orderly = core.is_shut_down();
            core.wreck(&shared.status);
            shared.drop_queue();
            if !orderly {
                self.sink.notify(Notice::Finished);
                for (receiver, message) in core.take_untold() {
                    let _ = self.sink.send(&receiver, message);
                }
            }
        }));
    }
}
