//! Terms that outlive a call, in environments that are used again and again.
//!
//! An environment is taken on a scheduler thread, where a call comes in, and done with on a thread
//! of ours, where its answer leaves. Were it freed there, the VM would have to carry its memory
//! back to the scheduler it came from; that, several times per request, makes the schedulers wake
//! each other and costs far more than what is done with the environment. rustler's `OwnedEnv`
//! frees, and allocates once more for each term it keeps and each message it sends.

#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustler::sys::{
    ErlNifEnv, ErlNifTerm, enif_alloc_env, enif_clear_env, enif_free_env, enif_is_identical,
    enif_make_copy, enif_send,
};
use rustler::thread::is_scheduler_thread;
use rustler::{Env, LocalPid, Term};

/// Environments kept for later, of about 1 KiB each.
const KEPT: usize = 256;

/// An environment that belongs to no process, empty when it is taken.
struct OwnEnv(NonNull<ErlNifEnv>);

// SAFETY: such an environment may be used by any thread, only not by two at once, and the type is
// not `Sync`.
unsafe impl Send for OwnEnv {}

/// An empty environment nobody uses.
struct Spare(NonNull<ErlNifEnv>);

// SAFETY: as for `OwnEnv`.
unsafe impl Send for Spare {}

fn spares() -> &'static (Sender<Spare>, Receiver<Spare>) {
    static SPARES: OnceLock<(Sender<Spare>, Receiver<Spare>)> = OnceLock::new();
    SPARES.get_or_init(|| bounded(KEPT))
}

impl OwnEnv {
    fn take() -> Self {
        if let Ok(spare) = spares().1.try_recv() {
            return Self(spare.0);
        }
        // SAFETY: always allowed. The VM ends itself when it has no memory, so this is never null.
        match NonNull::new(unsafe { enif_alloc_env() }) {
            Some(env) => Self(env),
            None => std::process::abort(),
        }
    }

    /// The environment to build terms in. It is to be used for nothing else: rustler takes it for
    /// that of the running native function.
    fn run<R>(&self, build: impl for<'a> FnOnce(Env<'a>) -> R) -> R {
        let lifetime = ();
        // SAFETY: the environment is alive for as long as `self`, and terms cannot leave `build`,
        // as their lifetime is that of one call.
        build(unsafe { Env::new(&lifetime, self.0.as_ptr()) })
    }

    fn send(self, to: &LocalPid, build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) -> bool {
        // The VM would end itself.
        if is_scheduler_thread() {
            return false;
        }
        let message = self.run(|env| build(env).as_c_arg());
        // SAFETY: the thread is none of the VM's, `message` is of this environment, which is
        // cleared next, as it has to be.
        unsafe { enif_send(ptr::null_mut(), to.as_c_arg(), self.0.as_ptr(), message) == 1 }
    }
}

impl Drop for OwnEnv {
    fn drop(&mut self) {
        // SAFETY: no term of this environment is reachable any more, see `run` and `HeldTerm`.
        unsafe { enif_clear_env(self.0.as_ptr()) };
        if spares().0.try_send(Spare(self.0)).is_err() {
            // SAFETY: this was the only pointer to it.
            unsafe { enif_free_env(self.0.as_ptr()) };
        }
    }
}

/// Builds a message and sends it; `false` if there is no such process any more. Not for scheduler
/// threads, where nothing is sent.
pub(crate) fn send(to: &LocalPid, build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) -> bool {
    OwnEnv::take().send(to, build)
}

/// A term that outlives the call it came with.
pub(crate) struct HeldTerm {
    env: OwnEnv,
    /// Of `env`.
    term: ErlNifTerm,
}

impl HeldTerm {
    /// A copy of `term`; a large binary is not copied, only kept alive.
    pub(crate) fn new(term: Term<'_>) -> Self {
        Self::build(|env| {
            // SAFETY: both environments are alive.
            unsafe { Term::new(env, enif_make_copy(env.as_c_arg(), term.as_c_arg())) }
        })
    }

    /// What `build` makes.
    pub(crate) fn build(build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) -> Self {
        let env = OwnEnv::take();
        let term = env.run(|env| build(env).as_c_arg());
        Self { env, term }
    }

    /// Whether it is the same as `other`.
    pub(crate) fn is(&self, other: Term<'_>) -> bool {
        // SAFETY: both terms are alive.
        unsafe { enif_is_identical(self.term, other.as_c_arg()) != 0 }
    }

    /// Looks at the term, or builds others, which are kept until this is dropped.
    pub(crate) fn with<R>(&self, look: impl for<'a> FnOnce(Env<'a>, Term<'a>) -> R) -> R {
        // SAFETY: the term is of this environment, which is never cleared before it is dropped.
        self.env.run(|env| look(env, unsafe { Term::new(env, self.term) }))
    }

    /// Sends a message built around the term, which goes along without being copied; `false` if
    /// there is no such process any more. Not for scheduler threads, where nothing is sent.
    pub(crate) fn send(
        self,
        to: &LocalPid,
        build: impl for<'a> FnOnce(Env<'a>, Term<'a>) -> Term<'a>,
    ) -> bool {
        let term = self.term;
        // SAFETY: as in `with`.
        self.env.send(to, |env| build(env, unsafe { Term::new(env, term) }))
    }
}
