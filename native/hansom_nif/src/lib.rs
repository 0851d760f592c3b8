//! The native functions of hansom: a thin layer between the Erlang VM and the engine.
//!
//! Terms become commands ([`decode`]), what the engine has to say becomes terms ([`encode`]) and
//! messages ([`notify`]). A connection is found by the pid of its process ([`conn`]). A native
//! function only decodes, hands over and returns: it waits for nothing, and takes far less than
//! 100 microseconds. Panics are caught by rustler here and by tokio in the engine's tasks; in both
//! cases whoever waits for an answer gets one ([`notify::Caller`]).

// Not `forbid`: what rustler's macros expand to is unsafe, and allowed there, as it is in `envs` and
// `descriptor`.
#![deny(unsafe_code)]

mod atoms;
mod conn;
mod decode;
mod descriptor;
mod encode;
mod envs;
mod notify;
mod pipe;
mod reaper;
mod runtime;

use hansom_engine::{Command, Request, RequestOptions};
use rustler::{Env, ResourceArc, Term};

use crate::conn::ConnResource;
use crate::notify::{Beam, CallSink, Caller, HeldBinary, Receiver};
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

/// `request(Pid, Ref, Method, Path, Headers, Body, Options) -> Answer | wait | noproc`.
#[rustler::nif]
#[allow(clippy::too_many_arguments)]
fn request<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    body: Term<'a>,
    options: Term<'a>,
) -> Term<'a> {
    send_request(env, pid, reference, Head { method, path, headers }, body, options)
}

/// The same on a dirty scheduler, for a head of many fields: each takes about 0.2 us.
#[rustler::nif(schedule = "DirtyCpu")]
#[allow(clippy::too_many_arguments)]
fn request_dirty<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    body: Term<'a>,
    options: Term<'a>,
) -> Term<'a> {
    send_request(env, pid, reference, Head { method, path, headers }, body, options)
}

/// `request_async(Pid, Ref, Method, Path, Headers, Body, Options, Delivery) -> Answer | wait |
/// noproc`.
#[rustler::nif]
#[allow(clippy::too_many_arguments)]
fn request_async<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    body: Term<'a>,
    options: Term<'a>,
    delivery: Term<'a>,
) -> Term<'a> {
    send_request_async(env, pid, reference, Head { method, path, headers }, body, options, delivery)
}

/// The same on a dirty scheduler, for a head of many fields: each takes about 0.2 us.
#[rustler::nif(schedule = "DirtyCpu")]
#[allow(clippy::too_many_arguments)]
fn request_async_dirty<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    body: Term<'a>,
    options: Term<'a>,
    delivery: Term<'a>,
) -> Term<'a> {
    send_request_async(env, pid, reference, Head { method, path, headers }, body, options, delivery)
}

/// `send_request_headers(Pid, Ref, Method, Path, Headers, Options, Sender) -> Answer | wait |
/// noproc`. The pieces of the body will come from `Sender`.
#[rustler::nif]
#[allow(clippy::too_many_arguments)]
fn send_request_headers<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    options: Term<'a>,
    sender: Term<'a>,
) -> Term<'a> {
    send_headers(env, pid, reference, Head { method, path, headers }, options, sender)
}

/// The same on a dirty scheduler, for a head of many fields: each takes about 0.2 us.
#[rustler::nif(schedule = "DirtyCpu")]
#[allow(clippy::too_many_arguments)]
fn send_request_headers_dirty<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    options: Term<'a>,
    sender: Term<'a>,
) -> Term<'a> {
    send_headers(env, pid, reference, Head { method, path, headers }, options, sender)
}

/// `request_streaming(Pid, Ref, Method, Path, Headers, Body, Sender) -> Answer | wait | noproc`. The
/// body of the response will be asked for by `Sender`. On a dirty scheduler as the head may be
/// long, and responses of this kind are.
#[rustler::nif(schedule = "DirtyCpu")]
#[allow(clippy::too_many_arguments)]
fn request_streaming<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    body: Term<'a>,
    sender: Term<'a>,
) -> Term<'a> {
    let sender = Receiver::from_term(sender);
    submit(env, pid, reference, sender.clone(), |conn| {
        let request = Head { method, path, headers }.with_body(env, Some(body))?;
        if let Some(sender) = &sender {
            ConnResource::watch_sender(conn, env, sender);
        }
        let options = RequestOptions::default();
        Ok(move |caller| Command::RequestStreaming { caller, request, options })
    })
}

/// `open_stream(Pid, Ref, Method, Path, Headers, {Handler, Manual}) -> Answer | wait | noproc`.
/// On a dirty scheduler as the head may be long, and streams of this kind are long-lived.
#[rustler::nif(schedule = "DirtyCpu")]
fn open_stream<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    handling: Term<'a>,
) -> Term<'a> {
    submit(env, pid, reference, None, |conn| {
        let request = Head { method, path, headers }.with_body(env, None)?;
        let (handler, manual) = decode::handling(env, handling)?;
        ConnResource::watch(conn, env, &handler);
        Ok(move |caller| Command::OpenStream { caller, request, handler, manual })
    })
}

/// `call(Pid, Ref, Op) -> Answer | wait | noproc`.
#[rustler::nif]
fn call<'a>(env: Env<'a>, pid: Term<'a>, reference: Term<'a>, op: Term<'a>) -> Term<'a> {
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

/// The parts of a request's head as they came.
struct Head<'a> {
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
}

impl<'a> Head<'a> {
    fn with_body(
        self,
        env: Env<'a>,
        body: Option<Term<'a>>,
    ) -> Result<Request<HeldBinary>, Term<'a>> {
        decode::request(env, self.method, self.path, self.headers, body)
    }
}

fn send_request<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    head: Head<'a>,
    body: Term<'a>,
    options: Term<'a>,
) -> Term<'a> {
    submit(env, pid, reference, None, |conn| {
        let request = head.with_body(env, Some(body))?;
        let options = decode::request_options(env, options)?;
        ConnResource::watch_sender(conn, env, &Receiver::Local(env.pid()));
        Ok(move |caller| Command::Request { caller, request, options })
    })
}

fn send_request_async<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    head: Head<'a>,
    body: Term<'a>,
    options: Term<'a>,
    delivery: Term<'a>,
) -> Term<'a> {
    submit(env, pid, reference, None, |conn| {
        let request = head.with_body(env, Some(body))?;
        let options = decode::request_options(env, options)?;
        let delivery = decode::delivery(env, delivery)?;
        ConnResource::watch(conn, env, &delivery.receiver);
        let decode::Delivery { receiver, receiver_owns, mode, follow_redirect } = delivery;
        Ok(move |caller| Command::RequestAsync {
            caller,
            request,
            options,
            receiver,
            receiver_owns,
            mode,
            follow_redirect,
        })
    })
}

fn send_headers<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    head: Head<'a>,
    options: Term<'a>,
    sender: Term<'a>,
) -> Term<'a> {
    let sender = Receiver::from_term(sender);
    submit(env, pid, reference, sender.clone(), |conn| {
        let request = head.with_body(env, None)?;
        let options = decode::request_options(env, options)?;
        if let Some(sender) = &sender {
            ConnResource::watch_sender(conn, env, sender);
        }
        Ok(move |caller| Command::SendHeaders { caller, request, options })
    })
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
