//! The futures that drive one QUIC connection, as tasks that can be ended at once.
//!
//! quinn leaves them behind when a connection is dropped: they send what is to be said last when
//! they are polled next, and end some time later. Neither would happen if the runtime stops.
//! Here whoever drops the connection polls them one last time itself, and that is their end.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep_until};

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// quinn's way to the runtime, for one connection.
pub(super) struct Drivers {
    runtime: Handle,
    running: Mutex<Vec<Running>>,
    /// Timers are not to be touched any more: their runtime may be gone.
    finishing: Arc<AtomicBool>,
}

struct Running {
    driver: Arc<Mutex<Option<Driver>>>,
    /// Whether it has something to do at the end.
    finishes: bool,
    task: AbortHandle,
}

impl Drivers {
    /// Must be called on the runtime.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            runtime: Handle::current(),
            running: Mutex::new(Vec::new()),
            finishing: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Lets the drivers send what is due now, and ends them. For any thread.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        let running = std::mem::take(&mut *lock(&self.running));
        let mut cx = Context::from_waker(Waker::noop());
        // The endpoint's comes first, but it is the connection's that sends.
        for Running { driver, finishes, task } in running.into_iter().rev() {
            let taken = lock(&driver).take();
            if let Some(mut driver) = taken
                && finishes
            {
                let _ = driver.as_mut().poll(&mut cx);
            }
            task.abort();
        }
    }

    /// Runs `attendant` for as long as the drivers run.
    pub(super) fn attend(&self, attendant: impl Future<Output = ()> + Send + 'static) {
        self.run(Box::pin(attendant), false);
    }

    fn run(&self, driver: Driver, finishes: bool) {
        let driver = Arc::new(Mutex::new(Some(driver)));
        let task = self.runtime.spawn(Drive(driver.clone())).abort_handle();
        lock(&self.running).push(Running { driver, finishes, task });
    }
}

impl fmt::Debug for Drivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drivers")
    }
}

impl Runtime for Drivers {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _entered = self.runtime.enter();
        let finishing = self.finishing.clone();
        Box::pin(Timer { sleep: Box::pin(sleep_until(at.into())), finishing })
    }

    fn spawn(&self, driver: Driver) {
        self.run(driver, true);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// Polls a driver until it ends or is taken away.
struct Drive(Arc<Mutex<Option<Driver>>>);

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut driver = lock(&self.0);
        let Some(future) = &mut *driver else { return Poll::Ready(()) };
        let poll = future.as_mut().poll(cx);
        if poll.is_ready() {
            *driver = None;
        }
        poll
    }
}

struct Timer {
    sleep: Pin<Box<Sleep>>,
    finishing: Arc<AtomicBool>,
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        if !self.finishing.load(Ordering::Acquire) {
            self.sleep.as_mut().reset(at.into());
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.finishing.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        Future::poll(self.sleep.as_mut(), cx)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
