//! The native functions of hansom: a thin layer between the Erlang VM and the engine.
//!
//! Terms become commands ([`decode`]), what the engine has to say becomes terms ([`encode`]) and
//! messages ([`notify`]). A connection is found by the pid of its process ([`conn`]). A native
//! function only decodes, hands over and returns: it waits for nothing, and takes far less than
//! 100 microseconds. Panics are caught by rustler here and by tokio in the engine's tasks; in both
//! cases whoever waits for an answer gets one ([`notify::Caller`]).

// Not `forbid`: what rustler's macros expand to is unsafe, and allowed there, as it is in `envs`,
// `descriptor` and `scheduling`.
#![deny(unsafe_code)]

mod atoms;
mod conn;
mod decode;
mod descriptor;
mod encode;
mod envs;
mod exchange;
mod notify;
mod pipe;
mod reaper;
mod runtime;
mod scheduling;

use hansom_engine::Command;
use rustler::{Env, ResourceArc, Term};

use crate::conn::ConnResource;
use crate::notify::{Beam, CallSink, Caller, Receiver};
use crate::reaper::Job;

rustler::init!("hansom_nif");

/// `open(Config) -> ok | {error, not_running | already_open | {options, Key}}`.
#[rustler::nif]
fn open<'a>(env: Env<'a>, config: Term<'a>) -> Term<'a> {
    let Some(runtime) = runtime::handle() else {
        return env.error_tuple(atoms::not_running());
    };
    match decode::config(env, config) {
        Ok(config) => {
            if conn::open(env, config, &runtime) {
                atoms::ok().to_term(env)
            } else {
                env.error_tuple(atoms::already_open())
            }
        }
        Err(reason) => env.error_tuple(reason),
    }
}

/// `call(Pid, Ref, Op) -> Answer | wait | noproc`.
#[rustler::nif]
fn call<'a>(env: Env<'a>, pid: Term<'a>, reference: Term<'a>, op: Term<'a>) -> Term<'a> {
    ask(env, pid, reference, op)
}

/// The same on a dirty scheduler, for a trailer section of many fields: each takes about 0.2 us.
#[rustler::nif(schedule = "DirtyCpu")]
fn call_dirty<'a>(env: Env<'a>, pid: Term<'a>, reference: Term<'a>, op: Term<'a>) -> Term<'a> {
    ask(env, pid, reference, op)
}

fn ask<'a>(env: Env<'a>, pid: Term<'a>, reference: Term<'a>, op: Term<'a>) -> Term<'a> {
    let (behalf, op) = decode::behalf(op);
    submit(env, pid, reference, behalf, |_| decode::call(env, op))
}

/// `cast(Pid, Op) -> ok`, also when there is no such connection.
#[rustler::nif]
fn cast<'a>(env: Env<'a>, pid: Term<'a>, op: Term<'a>) -> Result<Term<'a>, rustler::Error> {
    let command = decode::cast(op).ok_or(rustler::Error::BadArg)?;
    if let Some(conn) = conn::find(pid) {
        let handle = &conn.handle;
        handle.connection.submit(command, &mut CallSink::of_cast(env, handle.pid));
    }
    Ok(atoms::ok().to_term(env))
}

/// `cancel(Pid, CancelRef, Ref) -> ok | wait | noproc`: after `ok`, or `{CancelRef, ok}` after
/// `wait`, nothing more is sent for `Ref`.
#[rustler::nif]
fn cancel<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    cancel_reference: Term<'a>,
    reference: Term<'a>,
) -> Term<'a> {
    submit(env, pid, cancel_reference, None, |_| {
        let target = Caller::name(env.pid(), reference);
        Ok(move |caller| Command::Cancel { caller, target })
    })
}

/// `state(Pid) -> State | noproc`.
#[rustler::nif]
fn state<'a>(env: Env<'a>, pid: Term<'a>) -> Term<'a> {
    match conn::find(pid) {
        Some(conn) => encode::state(conn.handle.connection.state()).to_term(env),
        None => atoms::noproc().to_term(env),
    }
}

/// `protocol(Pid) -> http1 | http2 | http3 | noproc`; `http1` before the first dial.
#[rustler::nif]
fn protocol<'a>(env: Env<'a>, pid: Term<'a>) -> Term<'a> {
    match conn::find(pid) {
        Some(conn) => encode::protocol(conn.handle.connection.protocol()).to_term(env),
        None => atoms::noproc().to_term(env),
    }
}

/// `shutdown(Pid, Ref, Reason, Tell) -> ok | wait | noproc`; after `wait`, `{Ref, ok}` follows when
/// the socket is closed. Everybody who waits is told by the reaper; those who were to get more
/// messages are told if `Tell` says so.
#[rustler::nif]
fn shutdown<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    reason: Term<'a>,
    tell: bool,
) -> Term<'a> {
    let Some(handle) = conn::close(env, pid) else {
        return atoms::noproc().to_term(env);
    };
    handle.fate.seal(reason);
    if handle.connection.try_shut_down(tell, &mut CallSink::of_cast(env, handle.pid)) {
        return atoms::ok().to_term(env);
    }
    let caller = Some(Caller::new(env.pid(), reference, &handle.fate));
    reaper::push(Job::ShutDown { handle, caller, tell });
    atoms::wait().to_term(env)
}

/// `info(Pid) -> map() | noproc`.
#[rustler::nif]
fn info<'a>(env: Env<'a>, pid: Term<'a>) -> Term<'a> {
    match conn::find(pid) {
        Some(conn) => encode::info(env, &conn.handle.connection.info()),
        None => atoms::noproc().to_term(env),
    }
}

/// `stats() -> map()`.
///
/// On a dirty scheduler, because it looks at every connection of the node.
#[rustler::nif(schedule = "DirtyCpu")]
fn stats(env: Env<'_>) -> Term<'_> {
    encode::stats(env, &conn::count_states(), &hansom_engine::totals(), runtime::threads())
}

/// `mozilla_roots() -> [Der]`: whom the engine trusts by default.
///
/// On a dirty scheduler, because 150 certificates are copied.
#[rustler::nif(schedule = "DirtyCpu")]
fn mozilla_roots(env: Env<'_>) -> Vec<Term<'_>> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|certificate| encode::binary(env, certificate))
        .collect()
}

/// Decodes a command and gives it to the connection of `pid`: the answer, `wait` or `noproc`.
/// Nothing is done if `decode` refuses. `behalf` is the process whose concern it is, if that is not
/// the calling one.
fn submit<'a, Make>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    behalf: Option<Receiver>,
    decode: impl FnOnce(&ResourceArc<ConnResource>) -> Result<Make, Term<'a>>,
) -> Term<'a>
where
    Make: FnOnce(Caller) -> Command<Beam>,
{
    let Some(conn) = conn::find(pid) else {
        return atoms::noproc().to_term(env);
    };
    match decode(&conn) {
        Ok(make) => {
            let handle = &conn.handle;
            let caller = Caller::new(env.pid(), reference, &handle.fate).on_behalf_of(behalf);
            let mut sink = CallSink::of_call(env, handle.pid, reference);
            handle.connection.submit(make(caller), &mut sink);
            sink.finish()
        }
        Err(reason) => env.error_tuple(reason),
    }
}
