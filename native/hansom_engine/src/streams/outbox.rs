//! What is still to be sent on a stream, as far as the peer's flow control lets it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::session::{Flush, Refused, Session};
use crate::command::Content;
use crate::host::{Host, Payload};

/// The largest piece copied out of the embedder's memory at a time.
const SLICE: usize = 64 << 10;
/// Pieces whose memory is looked after, to be used again.
const SLICES: usize = 4;
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
    /// Those whose pieces the protocol has, but could not yet send.
    handed_over: Vec<H::Caller>,
    slices: Slices,
}

struct Piece<H: Host> {
    data: Data<H::Payload>,
    /// Told when the piece is sent.
    ack: Option<H::Caller>,
}

/// Memory for pieces of large content: that of a piece which is on its way serves for a later one.
#[derive(Default)]
struct Slices(VecDeque<BytesMut>);

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
        let mut outbox = Self {
            pieces: VecDeque::new(),
            len: 0,
            end: End::Open,
            end_ack: None,
            handed_over: Vec::new(),
            slices: Slices::default(),
        };
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

    /// The head, with which the request ended, is to be sent again.
    pub(super) fn begin_again(&mut self) {
        self.end = End::Coming(None);
    }

    /// Sends what may be sent. Callers whose piece is on its way are added to `acks`.
    pub(super) fn send<S: Session>(
        &mut self,
        session: &mut S,
        stream: &mut S::Outgoing,
        cx: &mut Context<'_>,
        acks: &mut Vec<H::Caller>,
    ) -> Sent {
        let mut progress = false;
        loop {
            match session.flush(stream, cx) {
                Flush::Done => acks.append(&mut self.handed_over),
                Flush::Blocked { progress: some } => {
                    return Sent::Blocked { progress: progress || some };
                }
                Flush::Refused => return Sent::Refused,
            }
            let handed_over = if self.pieces.is_empty() {
                let End::Coming(trailers) = &mut self.end else { return Sent::All };
                let end = match trailers.take() {
                    Some(trailers) => S::send_trailers(stream, trailers),
                    None => session.send(stream, Bytes::new(), true),
                };
                self.end = End::Sent;
                self.handed_over.extend(self.end_ack.take());
                end
            } else {
                let room = match session.poll_capacity(stream, self.len, cx) {
                    Poll::Pending => return Sent::Blocked { progress },
                    Poll::Ready(Ok(room)) => room,
                    Poll::Ready(Err(Refused)) => return Sent::Refused,
                };
                let (data, last) = self.take_slice(room.min(SLICE));
                session.send(stream, data, last)
            };
            if handed_over.is_err() {
                return Sent::Refused;
            }
            progress = true;
        }
    }

    /// The next bytes, and whether they are the last thing of the request.
    fn take_slice(&mut self, most: usize) -> (Bytes, bool) {
        let Some(piece) = self.pieces.front_mut() else { return (Bytes::new(), false) };
        let data = piece.data.take(most, &mut self.slices);
        if piece.data.is_empty() {
            self.handed_over.extend(piece.ack.take());
            self.pieces.pop_front();
        }
        self.len -= data.len();
        let last = self.pieces.is_empty() && matches!(self.end, End::Coming(None));
        if last {
            self.end = End::Sent;
            self.handed_over.extend(self.end_ack.take());
        }
        (data, last)
    }

    /// Nothing more can be sent: who waited for it.
    pub(super) fn abandon(&mut self) -> Vec<H::Caller> {
        self.len = 0;
        self.end = End::Sent;
        let mut waiting = std::mem::take(&mut self.handed_over);
        waiting.extend(self.pieces.drain(..).filter_map(|piece| piece.ack));
        waiting.extend(self.end_ack.take());
        waiting
    }

    /// Forgets a caller that waits; `false` if none is this one.
    pub(super) fn forget(&mut self, target: &H::Caller) -> bool {
        let handed_over = &mut self.handed_over;
        if let Some(at) = handed_over.iter().position(|caller| H::same_caller(caller, target)) {
            H::forget(handed_over.remove(at));
            return true;
        }
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
    fn take(&mut self, most: usize, slices: &mut Slices) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.split_to(most.min(bytes.len())),
            Self::Payload { payload, sent } => {
                let end = sent.saturating_add(most).min(payload.len());
                let slice =
                    payload.with(|bytes| slices.copy(bytes.get(*sent..end).unwrap_or_default()));
                *sent = end;
                slice
            }
        }
    }
}

impl Slices {
    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() < SLICE / 4 {
            return Bytes::copy_from_slice(bytes);
        }
        let mut memory = self.memory();
        memory.extend_from_slice(bytes);
        let slice = memory.split().freeze();
        self.0.push_back(memory);
        slice
    }

    fn memory(&mut self) -> BytesMut {
        if let Some(mut oldest) = self.0.pop_front() {
            if oldest.try_reclaim(SLICE) {
                return oldest;
            }
            if self.0.len() + 1 < SLICES {
                self.0.push_front(oldest);
            }
        }
        BytesMut::with_capacity(SLICE)
    }
}

#[cfg(test)]
mod tests {
    use super::{SLICE, SLICES, Slices};

    #[test]
    fn memory_of_pieces_that_are_gone_is_used_again() {
        let mut slices = Slices::default();
        let piece = |value: u8| vec![value; SLICE];
        let first = slices.copy(&piece(1));
        let second = slices.copy(&piece(2));
        assert!(first[..] == piece(1) && second[..] == piece(2));
        let place = first.as_ptr();
        drop(first);
        let third = slices.copy(&piece(3));
        assert_eq!(third.as_ptr(), place);
        let held: Vec<_> = (0..20).map(|value| slices.copy(&piece(value))).collect();
        assert!(held.iter().zip(0..).all(|(slice, value)| slice[..] == piece(value)));
        assert!(second[..] == piece(2) && third[..] == piece(3));
        assert!(slices.0.len() <= SLICES);
        assert_eq!(slices.copy(&[4; 5])[..], [4; 5]);
    }
}
