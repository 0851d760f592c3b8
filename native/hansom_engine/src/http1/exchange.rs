//! One exchange: what was sent, what came back so far, and who gets it.

use std::time::Duration;

use super::body::Framing;
use super::gather::Gather;
use super::state::Response;
use crate::command::{Request, RequestOptions};
use crate::config::{Config, Limits};
use crate::decode::{Decompressor, Progress};
use crate::error::{Error, Limit};
use crate::event::{Answer, Message, Notice};
use crate::flow::Pace;
use crate::host::Host;
use crate::port::Port;

/// Bytes of a redirect's body that are read to keep the connection.
const REDIRECT_BODY: u64 = 1 << 20;
/// The most one step of decompression yields, in bytes.
const DECOMPRESSED: usize = 32 << 10;

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
    /// A part of a piece, or of the whole body, its content coding undone.
    pub(super) gather: Gather<H::Buffer>,
    pub(super) ended: Option<BodyEnd>,
}

/// What is to be remembered of a response's head.
pub(super) struct HeadFacts {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) keeps_alive: bool,
    pub(super) coded: Option<Coded>,
}

impl HeadFacts {
    /// How much of the body is to be gathered, if the peer has announced it.
    pub(super) fn expected(&self, limits: &Limits) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length.min(limits.body_bytes)),
            _ => None,
        }
    }
}

/// A content coding that is undone. Only the whole of a body is decompressed.
pub(super) struct Coded {
    decompressor: Decompressor,
    /// So many bytes at the front of the input are the body's.
    pub(super) undecoded: usize,
}

impl Coded {
    pub(super) fn new(decompressor: Decompressor) -> Self {
        Self { decompressor, undecoded: 0 }
    }

    /// Whether something can be done without more input.
    pub(super) fn is_under_way(&self) -> bool {
        self.undecoded > 0 || self.decompressor.has_more()
    }

    /// Whether nothing of the body was looked at.
    fn is_fresh(&self) -> bool {
        self.undecoded == 0 && self.decompressor.read() == 0
    }
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
            Consumer::Async(delivery) if delivery.pace.allows() => Demand::Piece,
            Consumer::Async(_) => Demand::Nothing,
        }
    }

    /// Takes body bytes out of the input.
    pub(super) fn take_in(
        &mut self,
        data: &[u8],
        demand: Demand,
        port: &Port<'_, H>,
    ) -> Result<(), Error> {
        match demand {
            Demand::Nothing => Ok(()),
            Demand::Drop => {
                if let Consumer::Async(delivery) = &mut self.consumer {
                    delivery.dropped += data.len() as u64;
                }
                Ok(())
            }
            Demand::Piece => {
                self.gather.reserve(data.len(), None)?;
                self.gather.extend(data);
                Ok(())
            }
            Demand::Whole => {
                let Some(facts) = &self.head else { return Ok(()) };
                self.gather.reserve(data.len(), facts.expected(&port.config.limits))?;
                self.gather.extend(data);
                Ok(())
            }
        }
    }

    pub(super) fn coded(&mut self) -> Option<&mut Coded> {
        self.head.as_mut()?.coded.as_mut()
    }

    /// Leaves the body as the peer sends it, from now on; `false` if it is too late for that.
    pub(super) fn leave_coded(&mut self) -> bool {
        let Some(facts) = &mut self.head else { return true };
        facts.coded.take_if(|coded| coded.is_fresh());
        facts.coded.is_none()
    }

    /// Undoes the content coding of a little of `input`, which begins with body bytes.
    pub(super) fn decompress(&mut self, input: &[u8]) -> Result<Progress, Error> {
        let Some(coded) = self.head.as_mut().and_then(|head| head.coded.as_mut()) else {
            return Ok(Progress::default());
        };
        self.gather.reserve(DECOMPRESSED, None)?;
        let input = input.get(..coded.undecoded).unwrap_or_default();
        let room = self.gather.room().get_mut(..DECOMPRESSED).unwrap_or_default();
        let progress = coded.decompressor.decode(input, room)?;
        coded.undecoded -= progress.read;
        self.gather.filled(progress.written);
        Ok(progress)
    }

    /// Whether the whole body, as it came and as it is handed over, keeps to its limit.
    pub(super) fn check_size(&self, limits: &Limits) -> Result<(), Error> {
        let coded = self.head.as_ref().and_then(|head| head.coded.as_ref());
        let read = coded.map_or(0, |coded| coded.decompressor.read());
        if read.max(self.gather.len() as u64) > limits.body_bytes {
            return Err(Error::Limit(Limit::BodyBytes));
        }
        Ok(())
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
        // What is only a part has no end to be checked.
        if !cut && let Some(coded) = self.coded() {
            coded.decompressor.finish()?;
        }
        self.gather.take()
    }
}

impl<H: Host> Delivery<H> {
    /// Takes a delivered piece from what may be delivered.
    pub(super) fn spend(&mut self, len: u64, port: &mut Port<'_, H>) {
        if self.pace.spend(len, port.config) {
            self.ask_for_more(port);
        }
    }

    /// Adds to what may be delivered.
    pub(super) fn grant(&mut self, bytes: u64, port: &mut Port<'_, H>) {
        if self.pace.grant(bytes, port.config) {
            self.ask_for_more(port);
        }
    }

    fn ask_for_more(&self, port: &mut Port<'_, H>) {
        port.sink.notify(Notice::Flow(self.receiver.clone()));
    }
}
