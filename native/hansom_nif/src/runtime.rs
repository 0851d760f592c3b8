//! The one tokio runtime of a node: started and stopped by a process, which owns it.
//!
//! It is kept in a static and not in a resource, because a runtime must not be dropped where
//! resources are, on a scheduler thread: dropping one waits for its threads.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use rustler::{Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::notify::Caller;
use crate::reaper::{self, Job};
use crate::{atoms, encode, scheduling};

static RUNNING: RwLock<Option<Running>> = RwLock::new(None);

/// How long a runtime gets to stop whose owner died.
const ORPHAN_DEADLINE: Duration = Duration::from_secs(1);

/// The first resource ever made. The VM does not unload a library while a resource with a
/// destructor lives, so this one keeps it mapped for as long as threads of ours may run in it:
/// for ever.
static ANCHOR: OnceLock<ResourceArc<Ownership>> = OnceLock::new();

struct Running {
    runtime: Runtime,
    /// What Erlang knows it by. A number outlives the module being loaded again, which a resource
    /// would not.
    number: u64,
    owner: LocalPid,
    threads: usize,
    _ownership: ResourceArc<Ownership>,
}

/// Monitors the process a runtime belongs to.
struct Ownership {
    number: u64,
}

#[rustler::resource_impl]
impl Resource for Ownership {
    /// Registered although there is nothing to destroy: see [`ANCHOR`].
    fn destructor(self, _env: Env<'_>) {}

    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        stop_orphan(self.number);
    }
}

/// The running runtime.
pub(crate) fn handle() -> Option<Handle> {
    let running = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
    running.as_ref().map(|running| running.runtime.handle().clone())
}

/// The number of threads of the running runtime.
pub(crate) fn threads() -> usize {
    let running = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
    running.as_ref().map_or(0, |running| running.threads)
}

/// `runtime_start(Threads) -> {ok, Runtime} | {error, already_started | Posix}`.
///
/// On a dirty scheduler, because starting threads takes tens of microseconds each.
#[rustler::nif(schedule = "DirtyIo")]
fn runtime_start(env: Env<'_>, threads: usize) -> Term<'_> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);

    let runtime = match reaper::start().and_then(|()| build(threads)) {
        Ok(runtime) => runtime,
        Err(error) => return encode::error_tuple(env, &error.into()),
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let owner = env.pid();
    let ownership = ResourceArc::new(Ownership { number });
    ANCHOR.get_or_init(|| ownership.clone());
    let started = Running { runtime, number, owner, threads, _ownership: ownership.clone() };
    let replaced = {
        let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
        match &*running {
            Some(other) if other.owner.is_alive(env) => Err(started),
            // The owner of the runtime before may have died only just now.
            _ => Ok(running.replace(started)),
        }
    };
    match replaced {
        Err(refused) => {
            refused.runtime.shutdown_background();
            env.error_tuple(atoms::already_started())
        }
        Ok(orphan) => {
            if let Some(orphan) = orphan {
                reaper::push(Job::StopRuntime(orphan.runtime, ORPHAN_DEADLINE, None));
            }
            if env.monitor(&ownership, &owner).is_none() {
                stop_orphan(number);
            }
            (atoms::ok(), number).encode(env)
        }
    }
}

/// `runtime_stop(Runtime, Ref, DeadlineMs) -> ok`; `{Ref, stopped}` follows when its threads are
/// gone, or the deadline has passed.
#[rustler::nif]
fn runtime_stop<'a>(env: Env<'a>, number: u64, reference: Term<'a>, deadline_ms: u64) -> Term<'a> {
    let caller = env.pid();
    match take(number) {
        Some(runtime) => reaper::push(Job::StopRuntime(
            runtime,
            Duration::from_millis(deadline_ms),
            Some(Caller::name(caller, reference)),
        )),
        None => {
            let _ = env.send(&caller, (reference, atoms::stopped()));
        }
    }
    atoms::ok().to_term(env)
}

/// Takes the runtime of this number away from everybody.
fn take(number: u64) -> Option<Runtime> {
    let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
    running.take_if(|running| running.number == number).map(|running| running.runtime)
}

fn stop_orphan(number: u64) {
    if let Some(runtime) = take(number) {
        reaper::push(Job::StopRuntime(runtime, ORPHAN_DEADLINE, None));
    }
}

fn build(threads: usize) -> io::Result<Runtime> {
    let started = AtomicUsize::new(0);
    // Of tokio's drivers only I/O and time are compiled in: signals and child processes are the
    // VM's.
    Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name_fn(move || format!("hansom-{}", 1 + started.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(scheduling::wait_for_turn)
        .enable_all()
        .build()
}
