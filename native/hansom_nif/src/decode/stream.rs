//! Operations on streams of a handler's own, and on bodies whose ends have fields of their own.

use hansom_engine::{Command, SendTimeout};
use rustler::{Atom, Env, Term};

use super::request::{header_list, send_timeout};
use super::{Call, badarg, content};
use crate::atoms;
use crate::notify::{Beam, Receiver};

/// `{finish_send_body, Trailers}`, `{stream_send, Stream, Data, End}`, the same with a send timeout,
/// `{stream_trailers, Stream, Trailers}` or `{stream_cancel, Stream, Code}`; `None` if it is
/// none of them. `Err` is the reason in `{error, Reason}`.
pub(super) fn call<'a>(env: Env<'a>, op: Term<'a>) -> Result<Option<Call>, Term<'a>> {
    let fields = |list| header_list(list).map_err(|bad| badarg(env, atoms::header(), bad));
    if let Ok((name, trailers)) = op.decode::<(Atom, Term<'a>)>()
        && name == atoms::finish_send_body()
    {
        let trailers = fields(trailers)?;
        return Ok(Some(Box::new(|caller| Command::FinishBody { caller, trailers })));
    }
    if let Ok((name, stream, data, end)) = op.decode::<(Atom, u64, Term<'a>, bool)>()
        && name == atoms::stream_send()
    {
        return Ok(send(env, stream, data, end, None));
    }
    if let Ok((name, stream, data, end, timeout)) =
        op.decode::<(Atom, u64, Term<'a>, bool, Term<'a>)>()
        && name == atoms::stream_send()
    {
        return Ok(
            send_timeout(timeout).and_then(|timeout| send(env, stream, data, end, Some(timeout)))
        );
    }
    let Ok((name, stream, argument)) = op.decode::<(Atom, u64, Term<'a>)>() else {
        return Ok(None);
    };
    if name == atoms::stream_trailers() {
        let trailers = fields(argument)?;
        let make = move |caller| Command::StreamTrailers { caller, stream, trailers };
        return Ok(Some(Box::new(make)));
    }
    if name == atoms::stream_cancel() {
        return Ok(argument.decode().ok().map(|code| {
            Box::new(move |caller| Command::StreamCancel { caller, stream, code }) as Call
        }));
    }
    Ok(None)
}

fn send<'a>(
    env: Env<'a>,
    stream: u64,
    data: Term<'a>,
    end: bool,
    send_timeout: Option<SendTimeout>,
) -> Option<Call> {
    let data = content(env, data)?;
    Some(Box::new(move |caller| Command::StreamSend { caller, stream, data, end, send_timeout }))
}

/// `{stream_next, Caller}`, `{abandon, Sender}`, `{receiver_gone, Receiver}`, `{grant, Receiver, Bytes}`
/// or `{stream_consume, Stream, Bytes}`.
pub(super) fn cast(op: Term<'_>) -> Option<Command<Beam>> {
    if let Ok((name, process)) = op.decode::<(Atom, Term<'_>)>() {
        let process = Receiver::from_term(process)?;
        return if name == atoms::stream_next() {
            Some(Command::StreamNext { receiver: Some(process) })
        } else if name == atoms::receiver_gone() {
            Some(Command::ReceiverGone { receiver: process })
        } else {
            (name == atoms::abandon()).then_some(Command::ProcessGone { process })
        };
    }
    let (name, first, bytes) = op.decode::<(Atom, Term<'_>, u64)>().ok()?;
    if name == atoms::grant() {
        return Some(Command::Grant { receiver: Some(Receiver::from_term(first)?), bytes });
    }
    if name == atoms::stream_consume() {
        return Some(Command::StreamConsume { stream: first.decode().ok()?, bytes });
    }
    None
}
