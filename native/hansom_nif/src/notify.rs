//! What the engine says to processes: the only code that sends messages.
//!
//! A process may be sent a message from two kinds of threads, and the VM wants them told apart: a
//! thread of ours sends what it built in an environment of its own ([`TaskSink`]), a scheduler
//! thread sends from the environment of the running native function ([`CallSink`]). What must be
//! said where neither is at hand, in a destructor, is left to the [`reaper`].

use std::sync::{Arc, Mutex, PoisonError};

use hansom_engine::{
    Answer, BodyBuffer, Error, Gone, HeaderList, Host, Message, Notice, Payload, Sink,
};
use rustler::thread::is_scheduler_thread;
use rustler::{Binary, Encoder, Env, LocalPid, NewBinary, OwnedBinary, Term};

use crate::envs::{self, HeldTerm};
use crate::reaper::{self, Job};
use crate::{atoms, encode};

/// The Erlang VM as the engine's host.
pub(crate) struct Beam;

impl Host for Beam {
    type Caller = Caller;
    type Receiver = Receiver;
    type Buffer = Buffer;
    type Payload = HeldBinary;
    type Process = Receiver;

    fn same_caller(a: &Caller, b: &Caller) -> bool {
        match (&a.reference, &b.reference) {
            (Some(own), Some(other)) => a.pid == b.pid && other.with(|_, other| own.is(other)),
            _ => false,
        }
    }

    fn process(caller: &Caller) -> Receiver {
        caller.behalf.clone().unwrap_or(Receiver::Local(caller.pid))
    }

    fn forget(caller: Caller) {
        caller.forget();
    }

    fn is_receiver(caller: &Caller, receiver: &Receiver) -> bool {
        *receiver == Self::process(caller)
    }

    fn same_receiver(a: &Receiver, b: &Receiver) -> bool {
        a == b
    }
}

/// How a connection's process ended, once it has.
#[derive(Default)]
pub(crate) struct Fate(Mutex<Option<HeldTerm>>);

impl Fate {
    /// The process ended, or is about to, with this reason. Only the first reason counts.
    pub(crate) fn seal(&self, reason: impl Encoder) {
        let mut fate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fate.is_none() {
            *fate = Some(HeldTerm::build(|env| reason.encode(env)));
        }
    }

    /// What a caller is told whose answer will not come: `{'$down', Reason}`, or that the
    /// connection is closed when its process lives on (the runtime stopped, or a task of it
    /// panicked).
    fn last_word<'a>(&self, env: Env<'a>) -> Term<'a> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => {
                let reason = reason.with(|_, reason| reason.in_env(env));
                (atoms::down(), reason).encode(env)
            }
            None => encode::error_tuple(env, &Error::Closed),
        }
    }
}

/// A process waiting for one answer, `{Ref, Answer}`. Dropped unanswered it still gets one.
///
/// The reference lives in an environment of its own, in which the answer is then built: the
/// message takes that memory along, and nothing is copied.
pub(crate) struct Caller {
    pid: LocalPid,
    /// `None` once it has been answered.
    reference: Option<HeldTerm>,
    /// The connection's fate, while an answer is owed.
    owed: Option<Arc<Fate>>,
    /// The process it asks for, if that is another: the connection's own process asks for callers
    /// of other nodes, and for those whose functions it runs.
    behalf: Option<Receiver>,
}

impl Caller {
    /// A process that waits for `{reference, Answer}`.
    pub(crate) fn new(pid: LocalPid, reference: Term<'_>, fate: &Arc<Fate>) -> Self {
        let mut caller = Self::name(pid, reference);
        caller.owed = Some(Arc::clone(fate));
        caller
    }

    /// The same process by name only: to find it, not to answer it.
    pub(crate) fn name(pid: LocalPid, reference: Term<'_>) -> Self {
        Self { pid, reference: Some(HeldTerm::new(reference)), owed: None, behalf: None }
    }

    /// What it asks for is the concern of this process.
    pub(crate) fn on_behalf_of(mut self, process: Option<Receiver>) -> Self {
        self.behalf = process;
        self
    }

    /// Sends the answer; not for scheduler threads.
    pub(crate) fn answer(mut self, build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
        self.owed = None;
        self.send(build);
    }

    /// Lets go of it without a word.
    pub(crate) fn forget(mut self) {
        self.owed = None;
    }

    fn is_named(&self, pid: LocalPid, reference: Term<'_>) -> bool {
        self.pid == pid && self.reference.as_ref().is_some_and(|own| own.is(reference))
    }

    /// `{reference, said}`.
    fn addressed<'a>(&self, env: Env<'a>, said: Term<'a>) -> Term<'a> {
        match &self.reference {
            Some(reference) => (reference.with(|_, own| own.in_env(env)), said).encode(env),
            None => said,
        }
    }

    fn send(&mut self, build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
        if let Some(reference) = self.reference.take() {
            // A caller that died meanwhile wants no answer.
            let _ = reference.send(&self.pid, |env, own| (own, build(env)).encode(env));
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let Some(fate) = self.owed.take() else { return };
        if is_scheduler_thread() {
            reaper::push(Job::Unanswered(Caller {
                pid: self.pid,
                reference: self.reference.take(),
                owed: Some(fate),
                behalf: None,
            }));
        } else {
            self.send(|env| fate.last_word(env));
        }
    }
}

/// A process of any node: one that gets messages, or one for which something is asked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// Of this node.
    Local(LocalPid),
    /// Of another node, in the external term format: only a process can send to it.
    Remote(Arc<[u8]>),
}

impl Receiver {
    /// `None` if `pid` is not a pid.
    pub(crate) fn from_term(pid: Term<'_>) -> Option<Self> {
        if let Ok(pid) = pid.decode() {
            Some(Self::Local(pid))
        } else if pid.is_pid() {
            Some(Self::Remote(pid.to_binary().as_slice().into()))
        } else {
            None
        }
    }

    /// The pid.
    pub(crate) fn pid_term<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Self::Local(pid) => pid.encode(env),
            Self::Remote(bytes) => match env.binary_to_term(bytes) {
                Some((pid, _)) => pid,
                None => atoms::undefined().to_term(env),
            },
        }
    }
}

/// Below this many bytes memory is taken from the VM without asking whether it has any: it could
/// not go on without so little either.
const SURE_ALLOCATION: usize = 64 << 10;
/// The VM keeps binaries up to this size on the heap of a process or message.
const HEAP_BINARY: usize = 64;

/// Body bytes in memory of the VM, on their way to a process.
pub(crate) struct Buffer(OwnedBinary);

impl Buffer {
    /// The binary. Only a short one is copied.
    pub(crate) fn into_term(self, env: Env<'_>) -> Term<'_> {
        if self.0.len() <= HEAP_BINARY {
            encode::binary(env, &self.0)
        } else {
            Binary::from_owned(self.0, env).to_term(env)
        }
    }
}

impl BodyBuffer for Buffer {
    fn allocate(len: usize) -> Option<Self> {
        if len <= SURE_ALLOCATION {
            return Some(Self(OwnedBinary::new(len)));
        }
        // A peer names this length. Allocating it directly would end the VM when memory is
        // refused; growing reports it.
        let mut binary = OwnedBinary::new(0);
        binary.realloc(len).then_some(Self(binary))
    }

    fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    fn resize(&mut self, len: usize) -> bool {
        len == self.0.len() || self.0.realloc(len)
    }
}

/// A binary of a process that stays where it is until it has been sent, however large.
pub(crate) struct HeldBinary {
    binary: HeldTerm,
    len: usize,
}

impl HeldBinary {
    /// Holds on to a binary of `caller_env`.
    pub(crate) fn new<'a>(caller_env: Env<'a>, binary: Binary<'a>) -> Self {
        let len = binary.len();
        let term = binary.to_term(caller_env);
        let same_place = Binary::from_term(term)
            .is_ok_and(|again| again.as_slice().as_ptr() == binary.as_slice().as_ptr());
        let binary = if same_place {
            HeldTerm::new(term)
        } else {
            // The bytes do not begin on a byte boundary: the VM would make an aligned copy each
            // time they are looked at, so one copy is made for good.
            HeldTerm::build(|own| NewBinary::from_slice(own, &binary).into())
        };
        Self { binary, len }
    }
}

impl Payload for HeldBinary {
    fn len(&self) -> usize {
        self.len
    }

    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        self.binary.with(|_, binary| match Binary::from_term(binary) {
            Ok(binary) => read(binary.as_slice()),
            Err(_) => read(&[]),
        })
    }
}

/// Whole responses that leave together: to wake a sleeping scheduler for each alone costs more than
/// the rest of an exchange.
const TOGETHER: usize = 16;

/// Delivers from a thread of ours: the connection's task, or the reaper.
pub(crate) struct TaskSink {
    connection: LocalPid,
    /// The last reply, or whole responses to some callers, as long as nothing else follows and the
    /// connection's lock is not free.
    held: Vec<(Caller, Answer<Beam>)>,
}

impl TaskSink {
    /// For the connection of this process.
    pub(crate) fn new(connection: LocalPid) -> Self {
        Self { connection, held: Vec::new() }
    }

    fn release(&mut self) {
        for (caller, answer) in self.held.drain(..) {
            caller.answer(|env| encode::answer(env, answer));
        }
    }

    /// Whether a reply may be held together with those that are: nothing more will be said to any
    /// of these callers about what they asked for.
    fn joins(&self, answer: &Answer<Beam>) -> bool {
        let is_whole = |answer: &Answer<Beam>| matches!(answer, Answer::Full { .. });
        self.held.len() < TOGETHER
            && is_whole(answer)
            && self.held.last().is_none_or(|(_, last)| is_whole(last))
    }
}

impl Sink<Beam> for TaskSink {
    fn reply(&mut self, caller: Caller, answer: Answer<Beam>) {
        if !self.joins(&answer) {
            self.release();
        }
        self.held.push((caller, answer));
    }

    fn inform(&mut self, caller: &Caller, status: u16, reason: &[u8], headers: &HeaderList) {
        self.release();
        // A caller that died is found out by whoever answers it.
        let _ = envs::send(&caller.pid, |env| {
            caller.addressed(env, encode::inform(env, status, reason, headers))
        });
    }

    fn send(&mut self, receiver: &Receiver, message: Message<Beam>) -> Result<(), Gone> {
        self.release();
        let connection = self.connection;
        let sent = match receiver {
            Receiver::Local(pid) => {
                envs::send(pid, |env| encode::message(env, connection, message))
            }
            Receiver::Remote(_) => envs::send(&connection, |env| {
                encode::relay(env, receiver, encode::message(env, connection, message))
            }),
        };
        if sent { Ok(()) } else { Err(Gone) }
    }

    fn notify(&mut self, notice: Notice<Beam>) {
        self.release();
        // The death of the connection's own process is noticed by its monitor.
        let _ = envs::send(&self.connection, |env| encode::notice(env, notice));
    }

    fn unlocked(&mut self) {
        self.release();
    }
}

impl Drop for TaskSink {
    fn drop(&mut self) {
        self.release();
    }
}

/// Delivers from a native function, on a scheduler thread. The answer to the call itself is not
/// sent but returned.
pub(crate) struct CallSink<'a> {
    env: Env<'a>,
    connection: LocalPid,
    own: Option<(LocalPid, Term<'a>)>,
    answer: Option<Term<'a>>,
    /// The own caller was sent an interim response: its answer must follow as a message too.
    informed: bool,
}

impl<'a> CallSink<'a> {
    /// For a call answered by `{reference, Answer}`.
    pub(crate) fn of_call(env: Env<'a>, connection: LocalPid, reference: Term<'a>) -> Self {
        Self { own: Some((env.pid(), reference)), ..Self::of_cast(env, connection) }
    }

    /// For an operation without answer.
    pub(crate) fn of_cast(env: Env<'a>, connection: LocalPid) -> Self {
        Self { env, connection, own: None, answer: None, informed: false }
    }

    /// What the native function returns: the answer, or `wait`.
    pub(crate) fn finish(self) -> Term<'a> {
        self.answer.unwrap_or_else(|| atoms::wait().to_term(self.env))
    }

    fn is_own(&self, caller: &Caller) -> bool {
        self.own.is_some_and(|(pid, reference)| caller.is_named(pid, reference))
    }
}

/// Building a term of so many header fields takes some 50 us.
const MANY_FIELDS: usize = 1000;

/// Only of answers for which nobody's wait expires: this one can no longer be cancelled.
fn is_long(answer: &Answer<Beam>) -> bool {
    matches!(answer, Answer::Headers(Some(headers)) if headers.len() > MANY_FIELDS)
}

impl Sink<Beam> for CallSink<'_> {
    fn reply(&mut self, caller: Caller, answer: Answer<Beam>) {
        if is_long(&answer) {
            return reaper::push(Job::Answer(caller, answer));
        }
        let answer = encode::answer(self.env, answer);
        if self.is_own(&caller) && !self.informed {
            self.answer = Some(answer);
        } else {
            let _ = self.env.send(&caller.pid, caller.addressed(self.env, answer));
        }
        caller.forget();
    }

    fn inform(&mut self, caller: &Caller, status: u16, reason: &[u8], headers: &HeaderList) {
        self.informed |= self.is_own(caller);
        let inform = encode::inform(self.env, status, reason, headers);
        let _ = self.env.send(&caller.pid, caller.addressed(self.env, inform));
    }

    fn send(&mut self, receiver: &Receiver, message: Message<Beam>) -> Result<(), Gone> {
        let message = encode::message(self.env, self.connection, message);
        let sent = match receiver {
            Receiver::Local(pid) => self.env.send(pid, message),
            Receiver::Remote(_) => {
                self.env.send(&self.connection, encode::relay(self.env, receiver, message))
            }
        };
        sent.map_err(|_| Gone)
    }

    fn notify(&mut self, notice: Notice<Beam>) {
        let _ = self.env.send(&self.connection, encode::notice(self.env, notice));
    }
}
