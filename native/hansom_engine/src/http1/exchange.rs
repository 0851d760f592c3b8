//! One exchange: what was sent, what came back so far, and who gets it.

use std::time::Duration;

use super::body::Framing;
use super::gather::Gather;
use super::state::Response;
use crate::command::{Request, RequestOptions};
use crate::config::Config;
use crate::decode::Decompressor;
use crate::error::Error;
use crate::event::{Answer, Message, Notice};
use crate::host::{BodyBuffer, Host};
use crate::port::Port;

/// Bytes of a redirect's body that are read to keep the connection.
const REDIRECT_BODY: u64 = 1 << 20;

/// The diagram of an exchange:
///
/// ```text
///            Request, RequestAsync
///   None ───────────────────────────────► Active ── response read ──► None
///     │                                     ▲  │
///     └─ SendHeaders ► Upload ─ StartResponse  └── anything else ───► closed
/// ```
pub(super) enum Exchange<H: Host> {
    /// Between exchanges.
    None,
    /// The request's body is sent in pieces.
    Upload { sent: Sent, finished: bool },
    /// A response is awaited or read.
    Active(Box<Active<H>>),
}

/// What the response's fate depends on in its request.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) head: bool,
    pub(super) post: bool,
    pub(super) close: bool,
    pub(super) recv_timeout: Option<Duration>,
    pub(super) decompress: bool,
    pub(super) inform: bool,
    pub(super) trailers: bool,
}

/// An exchange whose response is awaited or read.
pub(super) struct Active<H: Host> {
    pub(super) sent: Sent,
    /// The request was never finished, so no other may follow it.
    pub(super) unfinished: bool,
    pub(super) response: Response,
    pub(super) head: Option<HeadFacts>,
    pub(super) consumer: Consumer<H>,
    /// A part of a piece, or of the whole body.
    pub(super) gather: Gather<H::Buffer>,
    /// The same, decompressed.
    pub(super) plain: Vec<u8>,
    pub(super) ended: Option<BodyEnd>,
}

/// What is to be remembered of a response's head.
pub(super) struct HeadFacts {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) keeps_alive: bool,
    pub(super) decompressor: Option<Decompressor>,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// As its framing says.
    Framed,
    /// By the peer's closing, as it may.
    Closed,
    /// By the peer's closing, too early.
    Cut,
}

/// Who gets the response.
pub(super) enum Consumer<H: Host> {
    Sync(Wait<H>),
    Async(Delivery<H>),
}

/// What a caller of a synchronous response waits for.
pub(super) enum Wait<H: Host> {
    /// The head; nobody waits once the caller has given up.
    Head {
        caller: Option<H::Caller>,
        inform: bool,
    },
    Nothing,
    Body(H::Caller),
    Piece(H::Caller),
}

/// A response delivered as messages.
pub(super) struct Delivery<H: Host> {
    pub(super) receiver: H::Receiver,
    /// Told when the request is with the system.
    pub(super) accept: Option<H::Caller>,
    pub(super) pace: Pace,
    pub(super) follow_redirect: bool,
    /// A redirect to be reported once the body is out of the way.
    pub(super) redirect: Option<Message<H>>,
    /// Bytes of that body already dropped.
    pub(super) dropped: u64,
}

/// How messages are paced.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// The allowance goes below zero by what the last piece was larger.
    Push {
        allowance: i64,
        asked: bool,
    },
    Pull {
        credits: u64,
    },
}

impl Pace {
    pub(super) fn push(config: &Config) -> Self {
        Self::Push { allowance: 0_i64.saturating_add_unsigned(config.push_allowance), asked: false }
    }
}

/// What someone wants of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    Nothing,
    Whole,
    Piece,
    /// All of it, to be thrown away.
    Drop,
}

/// What the end of a response is told as.
pub(super) enum Last<H: Host> {
    Answer(Answer<H>),
    Message(Message<H>),
}

impl Sent {
    pub(super) fn new<P>(request: &Request<P>, options: RequestOptions, config: &Config) -> Self {
        Self {
            head: request.method == b"HEAD",
            post: request.method == b"POST",
            close: request.headers.has_token(b"connection", b"close"),
            recv_timeout: options.recv_timeout.unwrap_or(config.recv_timeout),
            decompress: options.auto_decompress,
            inform: options.inform,
            trailers: options.trailers || config.trailers,
        }
    }
}

impl<H: Host> Consumer<H> {
    pub(super) fn into_caller(self) -> Option<H::Caller> {
        match self {
            Self::Sync(Wait::Head { caller, .. }) => caller,
            Self::Sync(Wait::Body(caller) | Wait::Piece(caller)) => Some(caller),
            Self::Sync(Wait::Nothing) => None,
            Self::Async(delivery) => delivery.accept,
        }
    }
}

impl<H: Host> Active<H> {
    pub(super) fn new(sent: Sent, wait: Wait<H>) -> Self {
        Self::with_consumer(sent, Consumer::Sync(wait))
    }

    pub(super) fn with_consumer(sent: Sent, consumer: Consumer<H>) -> Self {
        Self {
            sent,
            unfinished: false,
            response: Response::new(sent.head),
            head: None,
            consumer,
            gather: Gather::new(),
            plain: Vec::new(),
            ended: None,
        }
    }

    /// Turns a response delivered as messages into one that is asked for.
    pub(super) fn stop_delivery(&mut self, port: &mut Port<'_, H>) {
        let wait = match self.head {
            Some(_) => Wait::Nothing,
            None => Wait::Head { caller: None, inform: false },
        };
        if let Consumer::Async(delivery) =
            std::mem::replace(&mut self.consumer, Consumer::Sync(wait))
            && let Some(caller) = delivery.accept
        {
            port.sink.reply(caller, Answer::Ok);
        }
    }

    pub(super) fn forget(&mut self, target: &H::Caller) {
        match &mut self.consumer {
            Consumer::Sync(wait) => match wait {
                Wait::Head { caller, .. } => {
                    if let Some(caller) = caller.take_if(|c| H::same_caller(c, target)) {
                        H::forget(caller);
                    }
                }
                Wait::Body(caller) | Wait::Piece(caller) if H::same_caller(caller, target) => {
                    if let Wait::Body(caller) | Wait::Piece(caller) =
                        std::mem::replace(wait, Wait::Nothing)
                    {
                        H::forget(caller);
                    }
                }
                Wait::Body(_) | Wait::Piece(_) | Wait::Nothing => {}
            },
            Consumer::Async(delivery) => {
                if let Some(caller) = delivery.accept.take_if(|c| H::same_caller(c, target)) {
                    H::forget(caller);
                }
            }
        }
    }

    /// Tells the caller of an asynchronous request that it is on its way.
    pub(super) fn accept(&mut self, port: &mut Port<'_, H>) {
        if let Consumer::Async(Delivery { accept, .. }) = &mut self.consumer
            && let Some(caller) = accept.take()
        {
            port.sink.reply(caller, Answer::Ok);
        }
    }

    pub(super) fn demand(&self) -> Demand {
        match &self.consumer {
            Consumer::Sync(Wait::Body(_)) => Demand::Whole,
            Consumer::Sync(Wait::Piece(_)) => Demand::Piece,
            Consumer::Sync(Wait::Head { .. } | Wait::Nothing) => Demand::Nothing,
            Consumer::Async(Delivery { redirect: Some(_), .. }) => Demand::Drop,
            Consumer::Async(delivery) => match delivery.pace {
                Pace::Push { allowance: ..=0, .. } | Pace::Pull { credits: 0 } => Demand::Nothing,
                Pace::Push { .. } | Pace::Pull { .. } => Demand::Piece,
            },
        }
    }

    /// Takes body bytes out of the input.
    pub(super) fn take_in(
        &mut self,
        data: &[u8],
        demand: Demand,
        port: &Port<'_, H>,
    ) -> Result<(), Error> {
        let limit = port.config.limits.body_bytes;
        match demand {
            Demand::Nothing => Ok(()),
            Demand::Drop => {
                if let Consumer::Async(delivery) = &mut self.consumer {
                    delivery.dropped += data.len() as u64;
                }
                Ok(())
            }
            Demand::Piece => {
                self.gather.reserve(data.len(), None, u64::MAX)?;
                self.gather.extend(data);
                Ok(())
            }
            Demand::Whole => {
                let Some(facts) = &mut self.head else { return Ok(()) };
                if let Some(decompressor) = &mut facts.decompressor {
                    return decompressor.write(data, &mut self.plain);
                }
                let expected = match facts.framing {
                    Framing::Length(length) => Some(length),
                    _ => None,
                };
                self.gather.reserve(data.len(), expected, limit)?;
                self.gather.extend(data);
                Ok(())
            }
        }
    }

    pub(super) fn dropped_enough(&self) -> bool {
        match &self.consumer {
            Consumer::Async(delivery) => delivery.dropped > REDIRECT_BODY,
            Consumer::Sync(_) => false,
        }
    }

    pub(super) fn is_redirect(&self) -> bool {
        match &self.consumer {
            Consumer::Async(delivery) => delivery.redirect.is_some(),
            Consumer::Sync(_) => false,
        }
    }

    pub(super) fn last_word(&mut self, end: BodyEnd, port: &Port<'_, H>) -> Result<Last<H>, Error> {
        let cut = end == BodyEnd::Cut && !port.config.truncated_body_ok;
        match &mut self.consumer {
            Consumer::Sync(Wait::Body(_)) => {
                let body = self.whole(cut)?;
                Ok(Last::Answer(if cut { Answer::Truncated(body) } else { Answer::Data(body) }))
            }
            Consumer::Sync(_) => {
                Ok(Last::Answer(if cut { Answer::Error(Error::Closed) } else { Answer::Done }))
            }
            Consumer::Async(delivery) => Ok(Last::Message(match delivery.redirect.take() {
                Some(redirect) => redirect,
                None if cut => Message::Error(Error::Closed),
                None => Message::Done,
            })),
        }
    }

    /// The whole body, its content coding undone.
    fn whole(&mut self, cut: bool) -> Result<H::Buffer, Error> {
        let Some(decompressor) = self.head.as_mut().and_then(|head| head.decompressor.as_mut())
        else {
            return self.gather.take();
        };
        // What is only a part has no end to be checked.
        if !cut {
            decompressor.finish()?;
        }
        let plain = std::mem::take(&mut self.plain);
        let mut body = H::Buffer::allocate(plain.len()).ok_or(Error::OutOfMemory)?;
        body.as_mut_slice().copy_from_slice(&plain);
        Ok(body)
    }
}

impl<H: Host> Delivery<H> {
    /// Takes a delivered piece from what may be delivered.
    pub(super) fn spend(&mut self, len: u64, port: &mut Port<'_, H>) {
        match &mut self.pace {
            Pace::Pull { credits } => *credits = credits.saturating_sub(1),
            Pace::Push { allowance, .. } => {
                *allowance = allowance.saturating_sub_unsigned(len);
                self.ask_for_more(port);
            }
        }
    }

    /// Adds to what may be delivered.
    pub(super) fn grant(&mut self, bytes: u64, port: &mut Port<'_, H>) {
        if let Pace::Push { allowance, asked } = &mut self.pace {
            *allowance = allowance.saturating_add_unsigned(bytes);
            *asked = false;
            self.ask_for_more(port);
        }
    }

    /// Asks in time, so that a receiver that keeps up never makes the peer wait.
    fn ask_for_more(&mut self, port: &mut Port<'_, H>) {
        let low = i64::try_from(port.config.push_allowance / 2).unwrap_or(i64::MAX);
        if let Pace::Push { allowance, asked: asked @ false } = &mut self.pace
            && *allowance <= low
        {
            *asked = true;
            port.sink.notify(Notice::Flow(self.receiver.clone()));
        }
    }
}
