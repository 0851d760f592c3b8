//! The native functions that begin an exchange or a stream: [`exchange`], and [`exchange_dirty`] for
//! heads that are long.

use hansom_engine::{Command, Request, RequestOptions};
use rustler::{Env, NifTaggedEnum, NifTuple, ResourceArc, Term};

use crate::conn::ConnResource;
use crate::decode;
use crate::notify::{HeldBinary, Receiver};
use crate::submit;

/// The head of a request as it came: `{Method, Path, Headers}`.
#[derive(NifTuple)]
struct Head<'a> {
    method: Term<'a>,
    path: Term<'a>,
    headers: Term<'a>,
}

/// `hansom_nif:exchange()`: the same names in capitals.
#[derive(NifTaggedEnum)]
enum Exchange<'a> {
    Request(Head<'a>, Body<'a>, Options<'a>),
    RequestAsync(Head<'a>, Body<'a>, Options<'a>, Delivery<'a>),
    RequestStreaming(Head<'a>, Body<'a>, Sender<'a>),
    SendHeaders(Head<'a>, Options<'a>, Sender<'a>),
    OpenStream(Head<'a>, Handling<'a>),
}

type Body<'a> = Term<'a>;
type Options<'a> = Term<'a>;
type Delivery<'a> = Term<'a>;
type Sender<'a> = Term<'a>;
type Handling<'a> = Term<'a>;

/// `exchange(Pid, Ref, Exchange) -> Answer | wait | noproc`.
#[rustler::nif]
fn exchange<'a>(env: Env<'a>, pid: Term<'a>, reference: Term<'a>, begun: Exchange<'a>) -> Term<'a> {
    begun.submit(env, pid, reference)
}

/// The same on a dirty scheduler, for a head of many fields: each takes about 0.2 us.
#[rustler::nif(schedule = "DirtyCpu")]
fn exchange_dirty<'a>(
    env: Env<'a>,
    pid: Term<'a>,
    reference: Term<'a>,
    begun: Exchange<'a>,
) -> Term<'a> {
    begun.submit(env, pid, reference)
}

impl<'a> Exchange<'a> {
    fn submit(self, env: Env<'a>, pid: Term<'a>, reference: Term<'a>) -> Term<'a> {
        match self {
            Exchange::Request(head, body, options) => submit(env, pid, reference, None, |conn| {
                let request = head.with_body(env, Some(body))?;
                let options = decode::request_options(env, options)?;
                ConnResource::watch_sender(conn, env, &Receiver::Local(env.pid()));
                Ok(move |caller| Command::Request { caller, request, options })
            }),
            Exchange::RequestAsync(head, body, options, delivery) => {
                submit(env, pid, reference, None, |conn| {
                    let request = head.with_body(env, Some(body))?;
                    let options = decode::request_options(env, options)?;
                    let delivery = decode::delivery(env, delivery)?;
                    ConnResource::watch(conn, env, &delivery.receiver);
                    let decode::Delivery { receiver, receiver_owns, mode, follow_redirect } =
                        delivery;
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
            Exchange::RequestStreaming(head, body, sender) => {
                let sender = Receiver::from_term(sender);
                submit(env, pid, reference, sender.clone(), |conn| {
                    let request = head.with_body(env, Some(body))?;
                    watch_sender(conn, env, sender.as_ref());
                    let options = RequestOptions::default();
                    Ok(move |caller| Command::RequestStreaming { caller, request, options })
                })
            }
            Exchange::SendHeaders(head, options, sender) => {
                let sender = Receiver::from_term(sender);
                submit(env, pid, reference, sender.clone(), |conn| {
                    let request = head.with_body(env, None)?;
                    let options = decode::request_options(env, options)?;
                    watch_sender(conn, env, sender.as_ref());
                    Ok(move |caller| Command::SendHeaders { caller, request, options })
                })
            }
            Exchange::OpenStream(head, handling) => submit(env, pid, reference, None, |conn| {
                let request = head.with_body(env, None)?;
                let (handler, manual) = decode::handling(env, handling)?;
                ConnResource::watch(conn, env, &handler);
                Ok(move |caller| Command::OpenStream { caller, request, handler, manual })
            }),
        }
    }
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

fn watch_sender(conn: &ResourceArc<ConnResource>, env: Env<'_>, sender: Option<&Receiver>) {
    if let Some(sender) = sender {
        ConnResource::watch_sender(conn, env, sender);
    }
}
