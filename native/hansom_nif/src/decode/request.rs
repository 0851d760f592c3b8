//! A request: its head, its content, and what applies to it alone.

use std::io::Write;
use std::time::Duration;

use hansom_engine::{AsyncMode, Content, HeaderList, Request, RequestOptions, SendTimeout};
use rustler::{Env, Term, TermType};

use super::{NotText, append_text, badarg, content, proper_list, timeout};
use crate::atoms;
use crate::notify::{HeldBinary, Receiver};

/// More than this many bytes of header fields are refused: no server takes a head like that, and
/// a [`HeaderList`] counts in 32 bits.
const MOST_HEADER_BYTES: usize = 1 << 30;

/// A request. `Err` is the reason in `{error, Reason}`.
pub(crate) fn request<'a>(
    env: Env<'a>,
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
    body: Option<Term<'a>>,
) -> Result<Request<HeldBinary>, Term<'a>> {
    Ok(Request {
        method: text(method).map_err(|NotText| badarg(env, atoms::method(), method))?,
        target: text(path).map_err(|NotText| badarg(env, atoms::path(), path))?,
        headers: header_list(headers).map_err(|bad| badarg(env, atoms::header(), bad))?,
        content: match body {
            Some(body) => {
                request_content(env, body).ok_or_else(|| badarg(env, atoms::body(), body))?
            }
            None => Content::Stream,
        },
    })
}

fn text(term: Term<'_>) -> Result<Vec<u8>, NotText> {
    let mut text = Vec::new();
    append_text(term, &mut text)?;
    Ok(text)
}

fn request_content<'a>(env: Env<'a>, body: Term<'a>) -> Option<Content<HeldBinary>> {
    if body.is_empty_list() {
        Some(Content::Empty)
    } else if atoms::stream() == body {
        Some(Content::Stream)
    } else {
        content(env, body)
    }
}

/// `[{Name, Value}]`. `Err` is the element that is not of this form.
///
/// A name is a binary, a string or an atom. A value is one of these or an integer, or
/// `{Value, Parameters}`, a parameter being a name alone or `{Name, Value}`.
pub(super) fn header_list(list: Term<'_>) -> Result<HeaderList, Term<'_>> {
    let fields = list.list_length().unwrap_or(0);
    let mut headers = HeaderList::with_capacity(fields, fields.saturating_mul(32));
    for field in proper_list(list) {
        let field = field.ok_or(list)?;
        let (name, value) = field.decode().map_err(|_| field)?;
        headers
            .push_with(|out| append_text(name, out), |out| append_value(value, out))
            .map_err(|NotText| field)?;
        if headers.size() > MOST_HEADER_BYTES {
            return Err(field);
        }
    }
    Ok(headers)
}

fn append_value(value: Term<'_>, out: &mut Vec<u8>) -> Result<(), NotText> {
    if value.get_type() != TermType::Tuple {
        return append_simple_value(value, out);
    }
    let (value, parameters): (Term<'_>, Term<'_>) = value.decode().map_err(|_| NotText)?;
    append_simple_value(value, out)?;
    if parameters.get_type() != TermType::List {
        return Err(NotText);
    }
    for parameter in proper_list(parameters) {
        let parameter = parameter.ok_or(NotText)?;
        out.push(b';');
        match parameter.decode() {
            Ok((name, value)) => {
                append_text(name, out)?;
                out.push(b'=');
                append_simple_value(value, out)?;
            }
            Err(_) => append_text(parameter, out)?,
        }
    }
    Ok(())
}

fn append_simple_value(value: Term<'_>, out: &mut Vec<u8>) -> Result<(), NotText> {
    if value.get_type() != TermType::Integer {
        return append_text(value, out);
    }
    let written = match (value.decode::<i64>(), value.decode::<u64>()) {
        (Ok(integer), _) => write!(out, "{integer}"),
        (_, Ok(integer)) => write!(out, "{integer}"),
        // No length, age or limit is that large.
        _ => return Err(NotText),
    };
    written.map_err(|_| NotText)
}

/// `default | {RecvTimeout, Inform, AutoDecompress, SendTimeout, Trailers, Interim}`. `Err` is the
/// reason in `{error, Reason}`.
pub(crate) fn request_options<'a>(
    env: Env<'a>,
    options: Term<'a>,
) -> Result<RequestOptions, Term<'a>> {
    if atoms::default() == options {
        return Ok(RequestOptions::default());
    }
    try_request_options(options).ok_or_else(|| badarg(env, atoms::options(), options))
}

fn try_request_options(options: Term<'_>) -> Option<RequestOptions> {
    type Parts<'a> = (Term<'a>, bool, bool, Term<'a>, bool, bool);

    let (recv_timeout, inform, auto_decompress, send, trailers, interim): Parts<'_> =
        options.decode().ok()?;
    Some(RequestOptions {
        recv_timeout: unless_default(recv_timeout, timeout)?,
        inform,
        auto_decompress,
        send_timeout: unless_default(send, send_timeout)?,
        trailers,
        interim,
    })
}

/// `default` is the inner `None`; what cannot be read is the outer one.
fn unless_default<'a, T>(
    term: Term<'a>,
    read: impl FnOnce(Term<'a>) -> Option<T>,
) -> Option<Option<T>> {
    if atoms::default() == term { Some(None) } else { read(term).map(Some) }
}

/// Milliseconds, `infinity` or `nonblock`.
pub(super) fn send_timeout(term: Term<'_>) -> Option<SendTimeout> {
    if atoms::infinity() == term {
        Some(SendTimeout::Infinite)
    } else if atoms::nonblock() == term {
        Some(SendTimeout::Never)
    } else {
        term.decode().ok().map(|ms| SendTimeout::After(Duration::from_millis(ms)))
    }
}

/// `{Handler, Manual}`: who gets the messages of a stream of its own, and whether its window
/// reopens only on demand. `Err` is the reason in `{error, Reason}`.
pub(crate) fn handling<'a>(env: Env<'a>, term: Term<'a>) -> Result<(Receiver, bool), Term<'a>> {
    let read = || {
        let (handler, manual): (Term<'a>, bool) = term.decode().ok()?;
        Some((Receiver::from_term(handler)?, manual))
    };
    read().ok_or_else(|| badarg(env, atoms::delivery(), term))
}

/// To whom and how an asynchronous response is delivered.
pub(crate) struct Delivery {
    /// Who gets the messages.
    pub(crate) receiver: Receiver,
    /// Whether the connection ends with the receiver from now on: it is not the caller.
    pub(crate) receiver_owns: bool,
    /// Pushed or pulled.
    pub(crate) mode: AsyncMode,
    /// Report a redirect as one message.
    pub(crate) follow_redirect: bool,
}

/// `{StreamTo, Mode, FollowRedirect}`. `Err` is the reason in `{error, Reason}`.
pub(crate) fn delivery<'a>(env: Env<'a>, delivery: Term<'a>) -> Result<Delivery, Term<'a>> {
    try_delivery(env, delivery).ok_or_else(|| badarg(env, atoms::delivery(), delivery))
}

fn try_delivery<'a>(env: Env<'a>, delivery: Term<'a>) -> Option<Delivery> {
    let (stream_to, mode, follow_redirect): (Term<'a>, Term<'a>, bool) = delivery.decode().ok()?;
    let mode = if atoms::atom_true() == mode {
        AsyncMode::Push
    } else if atoms::once() == mode {
        AsyncMode::Once
    } else {
        return None;
    };
    let receiver = Receiver::from_term(stream_to)?;
    let receiver_owns = receiver != Receiver::Local(env.pid());
    Some(Delivery { receiver, receiver_owns, mode, follow_redirect })
}
