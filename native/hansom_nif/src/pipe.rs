//! Connections whose bytes are moved by processes of the VM: the functions those call, and how
//! they are called.
//!
//! A pipe has two processes, so that one can wait for the peer while the other sends. They and the
//! connection's own process get `{'$pipe', Pipe, read | write | socket | close}`, each what is its
//! part. The messages only say that there is something to do.

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use hansom_engine::Error;
use hansom_engine::transport::{Bell, Carrier, Family, Opened, Ring};
use rustler::thread::is_scheduler_thread;
use rustler::{
    Atom, Binary, Encoder, Env, LocalPid, NewBinary, OwnedEnv, Resource, ResourceArc, Term,
};

use crate::reaper::{self, Job};
use crate::{atoms, descriptor, encode};

/// The VM's end of a pipe. Nothing follows from its being forgotten: the connection's own process
/// holds it, and says so if the others die.
pub(crate) struct PipeResource {
    pub(crate) carrier: Carrier,
}

/// What a carrier holds is only looked at under its lock, and a poisoned lock is no reason to stop.
impl RefUnwindSafe for PipeResource {}

#[rustler::resource_impl]
impl Resource for PipeResource {}

/// The processes of a pipe.
pub(crate) struct Processes {
    connection: LocalPid,
    writer: LocalPid,
    reader: LocalPid,
    /// The number the processes know the pipe by: they hold the pipe itself.
    number: u64,
}

impl Processes {
    /// Calls from a thread of ours.
    pub(crate) fn call(&self, ring: Ring) {
        let (pid, what) = match ring {
            Ring::Read => (self.reader, atoms::read()),
            Ring::Write => (self.writer, atoms::write()),
            Ring::Socket => (self.writer, atoms::socket()),
            Ring::Close => (self.connection, atoms::close()),
        };
        // A dead process is found out by the connection's own, which is linked to it.
        let _ = OwnedEnv::new().send_and_clear(&pid, |_| (atoms::pipe(), self.number, what));
    }
}

struct ProcessBell(Arc<Processes>);

impl Bell for ProcessBell {
    fn ring(&self, ring: Ring) {
        if is_scheduler_thread() {
            reaper::push(Job::Ring(Arc::clone(&self.0), ring));
        } else {
            self.0.call(ring);
        }
    }
}

/// `pipe_new(Number, Writer, Reader) -> Pipe`, for the connection of the calling process.
#[rustler::nif]
fn pipe_new(
    env: Env<'_>,
    number: u64,
    writer: LocalPid,
    reader: LocalPid,
) -> ResourceArc<PipeResource> {
    let processes = Processes { connection: env.pid(), writer, reader, number };
    let carrier = Carrier::new(Box::new(ProcessBell(Arc::new(processes))));
    ResourceArc::new(PipeResource { carrier })
}

/// `pipe_opened(Pipe, {ok, Tls :: boolean(), Alpn :: binary()} | {error, Reason}) -> ok`; `Alpn` is
/// empty if there is none.
#[rustler::nif]
fn pipe_opened(pipe: ResourceArc<PipeResource>, result: Term<'_>) -> Result<Atom, rustler::Error> {
    let result = match error_of(result) {
        Some(error) => Err(error),
        None => {
            let (_, tls, alpn): (Atom, bool, Binary<'_>) = result.decode()?;
            let alpn = (!alpn.is_empty()).then(|| alpn.to_vec());
            Ok(Opened { tls, alpn })
        }
    };
    pipe.carrier.opened(result);
    Ok(atoms::ok())
}

/// `pipe_take(Pipe) -> Binary | empty`: what waits to be sent; `pipe_sent/2` has to follow.
#[rustler::nif]
fn pipe_take<'a>(env: Env<'a>, pipe: ResourceArc<PipeResource>) -> Term<'a> {
    match pipe.carrier.take() {
        Some(bytes) => NewBinary::from_slice(env, &bytes).into(),
        None => atoms::empty().to_term(env),
    }
}

/// `pipe_sent(Pipe, ok | {error, Reason}) -> ok`.
#[rustler::nif]
fn pipe_sent(pipe: ResourceArc<PipeResource>, result: Term<'_>) -> Atom {
    pipe.carrier.sent(error_of(result).map_or(Ok(()), Err));
    atoms::ok()
}

/// `pipe_received(Pipe, Binary | {error, Reason}) -> ok`: what was fetched. `{error, closed}`, or
/// nothing, is the end of the stream. At most some 100 KiB, which are copied.
#[rustler::nif]
fn pipe_received(
    pipe: ResourceArc<PipeResource>,
    result: Term<'_>,
) -> Result<Atom, rustler::Error> {
    match error_of(result) {
        Some(Error::Closed) => pipe.carrier.received(Ok(&[])),
        Some(error) => pipe.carrier.received(Err(error)),
        None => pipe.carrier.received(Ok(result.decode::<Binary<'_>>()?.as_slice())),
    }
    Ok(atoms::ok())
}

/// `pipe_break(Pipe) -> ok`: nothing can be sent or received any more.
#[rustler::nif]
fn pipe_break(pipe: ResourceArc<PipeResource>) -> Atom {
    pipe.carrier.break_off(Error::Closed);
    atoms::ok()
}

/// `lend(Pipe) -> {Descriptor, inet | inet6 | local} | none`: the socket to speak TLS on. It stays
/// the library's, and has to be given back.
#[rustler::nif]
fn lend<'a>(env: Env<'a>, pipe: ResourceArc<PipeResource>) -> Term<'a> {
    match pipe.carrier.take_socket() {
        Some((socket, family)) => {
            let family = match family {
                Some(Family::V4) => atoms::inet(),
                Some(Family::V6) => atoms::inet6(),
                None => atoms::local(),
            };
            (descriptor::lend(socket), family).encode(env)
        }
        None => atoms::none().to_term(env),
    }
}

/// `lent() -> [Descriptor]`.
#[rustler::nif]
fn lent() -> Vec<i32> {
    descriptor::all_lent()
}

/// `give_back(Descriptor) -> ok`: closes it.
#[rustler::nif]
fn give_back(number: i32) -> Atom {
    descriptor::give_back(number);
    atoms::ok()
}

/// The reason in `{error, Reason}`; `None` for any other term.
fn error_of(result: Term<'_>) -> Option<Error> {
    let (tag, reason): (Atom, Term<'_>) = result.decode().ok()?;
    (tag == atoms::error()).then(|| {
        if atoms::closed() == reason {
            Error::Closed
        } else if atoms::timeout() == reason {
            Error::Timeout
        } else {
            Error::Foreign(reason.to_binary().as_slice().into())
        }
    })
}

/// The reason in the form it was kept in.
pub(crate) fn foreign_reason<'a>(env: Env<'a>, encoded: &[u8]) -> Term<'a> {
    match env.binary_to_term(encoded) {
        Some((reason, _)) => reason,
        None => encode::binary(env, encoded),
    }
}
