//! What is still to be sent on a stream, as far as the peer's flow control lets it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

use crate::command::Content;
use crate::host::{Host, Payload};

/// The largest piece copied out of the embedder's memory at a time.
const SLICE: usize = 64 << 10;
/// What is asked of the windows at a time; the protocol library keeps no more than this.
const MOST_RESERVED: usize = 1 << 20;
/// What may wait to be sent by those who do not wait.
pub(super) const MOST_WAITING: usize = 1 << 20;

/// The content of a request on its way. The protocol library is given data only as fast as the
/// peer's windows open, so that large content stays where it is.
pub(super) struct Outbox<H: Host> {
    pieces: VecDeque<Piece<H>>,
    /// Bytes of all pieces still to be sent.
    len: usize,
    end: End,
    end_ack: Option<H::Caller>,
}

struct Piece<H: Host> {
    data: Data<H::Payload>,
    /// Told when the piece is sent.
    ack: Option<H::Caller>,
}

enum Data<P> {
    Bytes(Bytes),
    Payload { payload: P, sent: usize },
}

enum End {
    /// More may follow.
    Open,
    /// Nothing, or a trailer section, follows what is here.
    Coming(Option<HeaderMap>),
    Sent,
}

/// What an attempt to send led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// There is nothing to be sent for now.
    All,
    /// Flow control is in the way; something may have been sent before.
    Blocked { progress: bool },
    /// The stream takes nothing more.
    Refused,
}

impl<H: Host> Outbox<H> {
    /// For content that is known as a whole, or follows in pieces.
    pub(super) fn new(content: Content<H::Payload>) -> Self {
        let mut outbox = Self { pieces: VecDeque::new(), len: 0, end: End::Open, end_ack: None };
        if !matches!(content, Content::Stream) {
            outbox.push(content, None);
            outbox.end = End::Coming(None);
        }
        outbox
    }

    /// Bytes still to be sent.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether everything is sent, the end included.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.pieces.is_empty() && !matches!(self.end, End::Coming(_))
    }

    /// Whether more may be added.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.end, End::Open)
    }

    /// Whether there is no content at all, so that the head ends the request.
    pub(super) fn is_bodyless(&self) -> bool {
        self.pieces.is_empty() && matches!(self.end, End::Coming(None))
    }

    /// Adds content. The caller is given back if there is nothing to wait for.
    pub(super) fn push(
        &mut self,
        content: Content<H::Payload>,
        ack: Option<H::Caller>,
    ) -> Option<H::Caller> {
        let (len, data) = match content {
            Content::Empty | Content::Stream => (0, None),
            Content::Bytes(bytes) => (bytes.len(), Some(Data::Bytes(bytes.into()))),
            Content::Payload(payload) => (payload.len(), Some(Data::Payload { payload, sent: 0 })),
        };
        match data {
            Some(data) if len > 0 => {
                self.len += len;
                self.pieces.push_back(Piece { data, ack });
                None
            }
            _ => match self.pieces.back_mut() {
                // An empty piece is sent when those before it are.
                Some(Piece { ack: slot @ None, .. }) => {
                    *slot = ack;
                    None
                }
                _ => ack,
            },
        }
    }

    /// Nothing but `trailers` follows.
    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>, ack: Option<H::Caller>) {
        self.end = End::Coming(trailers);
        self.end_ack = ack;
    }

    /// Content that can be sent together with the head, if it has no more than `room` bytes and is
    /// already in memory.
    pub(super) fn take_small(&mut self, room: u64) -> Option<Bytes> {
        if self.pieces.len() != 1
            || self.len as u64 > room
            || !matches!(self.end, End::Coming(None))
        {
            return None;
        }
        match self.pieces.pop_front() {
            Some(Piece { data: Data::Bytes(bytes), ack: None }) => {
                self.len = 0;
                self.end = End::Sent;
                Some(bytes)
            }
            Some(piece) => {
                self.pieces.push_front(piece);
                None
            }
            None => None,
        }
    }

    /// The head said that nothing follows.
    pub(super) fn ended_with_head(&mut self) {
        self.end = End::Sent;
    }

    /// Sends what may be sent. Callers whose piece is on its way are added to `acks`, bytes to
    /// `handed`.
    pub(super) fn send(
        &mut self,
        stream: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
        acks: &mut Vec<H::Caller>,
        handed: &mut u64,
    ) -> Sent {
        let mut progress = false;
        while let Some(piece) = self.pieces.front_mut() {
            let mut room = stream.capacity();
            if room == 0 {
                stream.reserve_capacity(self.len.min(MOST_RESERVED));
                room = stream.capacity();
            }
            if room == 0 {
                match stream.poll_capacity(cx) {
                    Poll::Pending => return Sent::Blocked { progress },
                    Poll::Ready(Some(Ok(granted))) => room = granted,
                    Poll::Ready(Some(Err(_)) | None) => return Sent::Refused,
                }
            }
            let data = piece.data.take(room.min(SLICE));
            let done = piece.data.is_empty();
            let len = data.len();
            let last = len == self.len && matches!(self.end, End::Coming(None));
            if stream.send_data(data, last).is_err() {
                return Sent::Refused;
            }
            progress = true;
            self.len -= len;
            *handed += len as u64;
            if done && let Some(Piece { ack, .. }) = self.pieces.pop_front() {
                acks.extend(ack);
            }
            if last {
                self.end = End::Sent;
                acks.extend(self.end_ack.take());
            }
        }
        let End::Coming(trailers) = &mut self.end else { return Sent::All };
        let sent = match trailers.take() {
            Some(trailers) => stream.send_trailers(trailers),
            None => stream.send_data(Bytes::new(), true),
        };
        if sent.is_err() {
            return Sent::Refused;
        }
        self.end = End::Sent;
        acks.extend(self.end_ack.take());
        Sent::All
    }

    /// Nothing more can be sent: who waited for it.
    pub(super) fn abandon(&mut self) -> Vec<H::Caller> {
        self.len = 0;
        self.end = End::Sent;
        self.pieces.drain(..).filter_map(|piece| piece.ack).chain(self.end_ack.take()).collect()
    }

    /// Forgets a caller that waits; `false` if none is this one.
    pub(super) fn forget(&mut self, target: &H::Caller) -> bool {
        let slots = self.pieces.iter_mut().map(|piece| &mut piece.ack);
        for slot in slots.chain(std::iter::once(&mut self.end_ack)) {
            if let Some(caller) = slot.take_if(|caller| H::same_caller(caller, target)) {
                H::forget(caller);
                return true;
            }
        }
        false
    }
}

impl<P: Payload> Data<P> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Payload { payload, sent } => *sent >= payload.len(),
        }
    }

    /// The next bytes, `most` at most.
    fn take(&mut self, most: usize) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.split_to(most.min(bytes.len())),
            Self::Payload { payload, sent } => {
                let end = sent.saturating_add(most).min(payload.len());
                let slice = payload.with(|bytes| {
                    Bytes::copy_from_slice(bytes.get(*sent..end).unwrap_or_default())
                });
                *sent = end;
                slice
            }
        }
    }
}
