//! The thread that does what a scheduler thread must not: take connections apart, send what
//! destructors leave unsaid, and build long answers.
//!
//! Whoever queues a job never waits. The thread is started with the first runtime and then stays:
//! destructors run whenever the VM collects garbage, also while no runtime exists.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, mem, thread};

use crossbeam_channel::{Receiver as Queue, Sender, unbounded};
use hansom_engine::transport::Ring;
use hansom_engine::{Answer, Command};
use tokio::runtime::Runtime;

use crate::conn::ConnHandle;
use crate::notify::{Beam, Caller, Receiver, TaskSink};
use crate::pipe::Processes;
use crate::{atoms, encode};

/// The queue has no bound of its own: there are never more jobs than a few for each caller,
/// connection and user.
static JOBS: OnceLock<Sender<Job>> = OnceLock::new();

/// What can be left to the reaper.
pub(crate) enum Job {
    /// Tell a caller that its answer will not come.
    Unanswered(Caller),
    /// Give a caller an answer that takes long to build.
    Answer(Caller, Answer<Beam>),
    /// Close a connection for good, then answer `ok`.
    ShutDown { handle: ConnHandle, caller: Option<Caller>, tell: bool },
    /// Tell a connection that one of its users died.
    UserGone(ConnHandle, Receiver),
    /// Call a process of a pipe.
    Ring(Arc<Processes>, Ring),
    /// Stop a runtime within so much time, then tell who waits for it.
    StopRuntime(Runtime, Duration, Option<Caller>),
}

/// Starts the thread, unless it runs.
pub(crate) fn start() -> io::Result<()> {
    if JOBS.get().is_some() {
        return Ok(());
    }
    let (sender, jobs) = unbounded();
    thread::Builder::new().name("hansom-reaper".into()).spawn(move || run(&jobs))?;
    // Of two threads started at once the one whose queue is refused ends by itself.
    let _ = JOBS.set(sender);
    Ok(())
}

/// Leaves `job` to the thread.
pub(crate) fn push(job: Job) {
    let refused = match JOBS.get() {
        Some(jobs) => jobs.send(job).err().map(|error| error.into_inner()),
        None => Some(job),
    };
    // Dropping it would come back here. There is no job without a thread to do it: the first
    // runtime starts it, and it never ends.
    mem::forget(refused);
}

fn run(jobs: &Queue<Job>) {
    for job in jobs {
        // A job that panics was one connection's; the next one is another's.
        let _ = catch_unwind(AssertUnwindSafe(|| perform(job)));
    }
}

fn perform(job: Job) {
    match job {
        Job::Unanswered(caller) => drop(caller),
        Job::Answer(caller, answer) => caller.answer(|env| encode::answer(env, answer)),
        Job::ShutDown { handle, caller, tell } => {
            // Death without a reason given is a kill.
            handle.fate.seal(atoms::killed());
            handle.connection.shut_down(tell, &mut TaskSink::new(handle.pid));
            if let Some(caller) = caller {
                caller.answer(|env| atoms::ok().to_term(env));
            }
        }
        Job::UserGone(handle, user) => {
            let mut sink = TaskSink::new(handle.pid);
            let process = user.clone();
            handle.connection.submit(Command::ReceiverGone { receiver: user }, &mut sink);
            handle.connection.submit(Command::ProcessGone { process }, &mut sink);
        }
        Job::Ring(processes, ring) => processes.call(ring),
        Job::StopRuntime(runtime, deadline, caller) => {
            stop(move || {
                runtime.shutdown_timeout(deadline);
                if let Some(caller) = caller {
                    caller.answer(|env| atoms::stopped().to_term(env));
                }
            });
        }
    }
}

/// Runs `stop`, which waits for the threads of a runtime, on a thread of its own: what others have
/// queued does not wait for a look-up that hangs.
fn stop(stop: impl FnOnce() + Send + 'static) {
    let (sender, stops) = unbounded();
    // The queue outlives this, so that it takes what it is given.
    let _ = sender.send(stop);
    let waiting = stops.clone();
    let run = move || waiting.try_iter().for_each(|stop| stop());
    if thread::Builder::new().name("hansom-stop".into()).spawn(run).is_err() {
        stops.try_iter().for_each(|stop| stop());
    }
}
