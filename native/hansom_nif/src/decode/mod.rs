//! Terms to commands and settings.
//!
//! What a user wrote reaches this place as it is only in header fields, which are too many to be
//! looked at twice: a bad one is reported as `{badarg, _}`. Everything else was checked in
//! Erlang, and here a term of the wrong shape is just refused.

mod request;
mod settings;
mod stream;

use std::time::Duration;

use hansom_engine::{Command, Content, HeaderList};
use rustler::{Atom, Binary, Encoder, Env, Term, TermType};

pub(crate) use request::{Delivery, delivery, handling, request, request_options};
pub(crate) use settings::config;

use crate::atoms;
use crate::notify::{Beam, Caller, HeldBinary, Receiver};

/// Binaries up to this size are copied; longer ones stay with the VM, which costs about as much.
const COPIED: usize = 16 << 10;

/// An operation that will be answered: what makes the command once there is a caller.
type Call = Box<dyn FnOnce(Caller) -> Command<Beam>>;

/// An operation of `hansom_nif:call/3`. `Err` is the reason in `{error, Reason}`.
pub(crate) fn call<'a>(env: Env<'a>, op: Term<'a>) -> Result<Call, Term<'a>> {
    let call = if op.is_atom() {
        plain_call(op)
    } else {
        match call_with_arguments(env, op)? {
            None => stream::call(env, op)?,
            call => call,
        }
    };
    call.ok_or_else(|| badarg(env, atoms::op(), op))
}

/// The operation in `{on_behalf, Process, Op}`, and that process; any other operation as it is.
pub(crate) fn behalf(op: Term<'_>) -> (Option<Receiver>, Term<'_>) {
    match op.decode::<(Atom, Term<'_>, Term<'_>)>() {
        Ok((name, process, op)) if name == atoms::on_behalf() => (Receiver::from_term(process), op),
        _ => (None, op),
    }
}

fn plain_call(op: Term<'_>) -> Option<Call> {
    type Make = fn(Caller) -> Command<Beam>;
    let calls: [(Atom, Make); 14] = [
        (atoms::body(), |caller| Command::Body { caller }),
        (atoms::stream_body(), |caller| Command::StreamBody { caller }),
        (atoms::finish_send_body(), |caller| Command::FinishBody {
            caller,
            trailers: HeaderList::default(),
        }),
        (atoms::start_response(), |caller| Command::StartResponse { caller }),
        (atoms::stop_async(), |caller| Command::StopAsync { caller }),
        (atoms::pause_stream(), |caller| Command::Pause { caller }),
        (atoms::resume_stream(), |caller| Command::Resume { caller }),
        (atoms::peername(), |caller| Command::PeerName { caller }),
        (atoms::sockname(), |caller| Command::SockName { caller }),
        (atoms::peercert(), |caller| Command::PeerCertificate { caller }),
        (atoms::migrate(), |caller| Command::Migrate { caller }),
        (atoms::close(), |caller| Command::Close { caller }),
        (atoms::response_headers(), |caller| Command::ResponseHeaders { caller }),
        (atoms::reuse(), |caller| Command::Reuse { caller }),
    ];
    let (_, make) = calls.into_iter().find(|(name, _)| *name == op)?;
    Some(Box::new(make))
}

fn call_with_arguments<'a>(env: Env<'a>, op: Term<'a>) -> Result<Option<Call>, Term<'a>> {
    if let Ok((name, argument)) = op.decode::<(Atom, Term<'a>)>() {
        if name == atoms::send_body_chunk() {
            return Ok(content(env, argument)
                .map(|data| Box::new(|caller| Command::SendChunk { caller, data }) as Call));
        }
        if name == atoms::send() {
            return Ok(content(env, argument)
                .map(|data| Box::new(|caller| Command::Send { caller, data }) as Call));
        }
        if name == atoms::setopts() {
            let options = settings::socket_options(env, argument)?;
            return Ok(Some(Box::new(|caller| Command::SetOptions { caller, options })));
        }
        if name == atoms::connect() {
            let dial = Box::new(settings::dial(env, argument)?);
            return Ok(Some(Box::new(|caller| Command::Connect { caller, dial })));
        }
        if name == atoms::upgrade() {
            return Ok(settings::carrier(argument).map(|carrier| {
                Box::new(|caller| Command::UpgradeCarried { caller, carrier }) as Call
            }));
        }
        if name == atoms::probe() {
            return Ok(argument.decode().ok().map(|checkout| {
                Box::new(move |caller| Command::Probe { caller, checkout }) as Call
            }));
        }
    }
    if let Ok((name, first, second)) = op.decode::<(Atom, Term<'a>, Term<'a>)>() {
        if name == atoms::recv() {
            return Ok(first.decode().ok().zip(timeout(second)).map(|(length, timeout)| {
                Box::new(move |caller| Command::Recv { caller, length, timeout }) as Call
            }));
        }
        if name == atoms::upgrade() {
            let tls = settings::tls(env, first)?;
            let server_name = settings::text(env, atoms::server_name(), second)?;
            return Ok(Some(Box::new(|caller| Command::Upgrade { caller, tls, server_name })));
        }
    }
    Ok(None)
}

/// An operation of `hansom_nif:cast/2`; `None` if there is no such operation.
pub(crate) fn cast(op: Term<'_>) -> Option<Command<Beam>> {
    if atoms::stream_next() == op {
        return Some(Command::StreamNext { receiver: None });
    }
    if atoms::watch_idle() == op {
        return Some(Command::WatchIdle);
    }
    stream::cast(op)
}

/// A binary to be sent.
fn content<'a>(env: Env<'a>, term: Term<'a>) -> Option<Content<HeldBinary>> {
    let binary = Binary::from_term(term).ok()?;
    Some(match binary.len() {
        0 => Content::Empty,
        1..=COPIED => Content::Bytes(binary.to_vec()),
        _ => Content::Payload(HeldBinary::new(env, binary)),
    })
}

/// `infinity` or milliseconds; the outer `None` if it is neither.
fn timeout(term: Term<'_>) -> Option<Option<Duration>> {
    if atoms::infinity() == term {
        return Some(None);
    }
    term.decode().ok().map(|ms| Some(Duration::from_millis(ms)))
}

/// `{badarg, {What, Term}}`.
fn badarg<'a>(env: Env<'a>, what: Atom, term: Term<'a>) -> Term<'a> {
    (atoms::badarg(), (what, term)).encode(env)
}

/// A term is not of a kind that can be written as text.
struct NotText;

/// Appends the text of a binary, string or atom.
///
/// A list is iodata if it can be read as such. A flat list with code points above 255 is written
/// in UTF-8, as Erlang writes such lists.
fn append_text(term: Term<'_>, out: &mut Vec<u8>) -> Result<(), NotText> {
    match term.get_type() {
        TermType::Binary => append_binary(Binary::from_term(term), out),
        TermType::List => append_binary(Binary::from_iolist(term), out)
            .or_else(|NotText| append_code_points(term, out)),
        TermType::Atom => append_atom(term, out),
        _ => Err(NotText),
    }
}

fn append_binary(
    binary: Result<Binary<'_>, rustler::Error>,
    out: &mut Vec<u8>,
) -> Result<(), NotText> {
    out.extend_from_slice(&binary.map_err(|_| NotText)?);
    Ok(())
}

fn append_code_points(list: Term<'_>, out: &mut Vec<u8>) -> Result<(), NotText> {
    for element in proper_list(list) {
        let code_point: u32 = element.and_then(|element| element.decode().ok()).ok_or(NotText)?;
        let char = char::from_u32(code_point).ok_or(NotText)?;
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
}

fn append_atom(atom: Term<'_>, out: &mut Vec<u8>) -> Result<(), NotText> {
    match atom.atom_to_string() {
        Ok(name) => {
            out.extend_from_slice(name.as_bytes());
            Ok(())
        }
        // Before OTP 26 native code can ask for the names of Latin-1 atoms only.
        Err(_) => append_external_atom(&atom.to_binary(), out),
    }
}

/// The name within an atom's external term format (SMALL_ATOM_UTF8_EXT and ATOM_UTF8_EXT).
fn append_external_atom(external: &[u8], out: &mut Vec<u8>) -> Result<(), NotText> {
    match external {
        [131, 119, _, name @ ..] | [131, 118, _, _, name @ ..] => {
            out.extend_from_slice(name);
            Ok(())
        }
        _ => Err(NotText),
    }
}

/// The elements of a list, then one `None` if it has no proper end.
fn proper_list<'a>(list: Term<'a>) -> impl Iterator<Item = Option<Term<'a>>> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest?;
        match list.list_get_cell() {
            Ok((head, tail)) => {
                rest = Some(tail);
                Some(Some(head))
            }
            Err(_) => {
                rest = None;
                if list.is_empty_list() { None } else { Some(None) }
            }
        }
    })
}
