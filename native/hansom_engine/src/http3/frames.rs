//! Frames as they come on a stream (RFC 9114, section 7).

use bytes::{Buf, Bytes};

use super::code::{Code, Violation};
use super::varint;

pub(super) const DATA: u64 = 0x0;
pub(super) const HEADERS: u64 = 0x1;
pub(super) const CANCEL_PUSH: u64 = 0x3;
pub(super) const SETTINGS: u64 = 0x4;
pub(super) const PUSH_PROMISE: u64 = 0x5;
pub(super) const GOAWAY: u64 = 0x7;
pub(super) const MAX_PUSH_ID: u64 = 0xd;

/// Frames in a row that carry nothing, before the peer is said to send them for their own sake.
const MOST_IDLE: usize = 10_000;

/// What a frame is to be taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// Its payload is handed on in pieces.
    Pieces,
    /// Its payload is handed on as a whole.
    Whole,
    /// It is passed over.
    Skip,
}

/// Something complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A piece of the payload of a frame.
    Piece(Bytes),
    /// A frame of this type, with its payload.
    Frame(u64, Bytes),
}

/// Reads frames in whatever pieces they come.
pub(super) struct Reader {
    /// The type and length of the next frame, as far as they have come.
    head: [u8; 16],
    have: usize,
    state: State,
    /// Frames since the last one that carried something.
    idle: usize,
}

enum State {
    Head,
    Pieces { left: u64 },
    Whole { kind: u64, length: usize, payload: Vec<u8> },
    Skip { left: u64 },
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { head: [0; 16], have: 0, state: State::Head, idle: 0 }
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_frames(&self) -> bool {
        match self.state {
            State::Head => self.have == 0,
            State::Pieces { left } | State::Skip { left } => left == 0,
            State::Whole { .. } => false,
        }
    }

    /// Forgets how many frames carried nothing.
    pub(super) fn forgive(&mut self) {
        self.idle = 0;
    }

    /// The next thing that is complete in `input`; `None` if more has to come. `handle` is asked
    /// about the type and the length of each frame.
    pub(super) fn next<E: From<Violation>>(
        &mut self,
        input: &mut Bytes,
        mut handle: impl FnMut(u64, u64) -> Result<Handling, E>,
    ) -> Result<Option<Item>, E> {
        loop {
            match &mut self.state {
                State::Head => {
                    let Some((kind, length)) = self.take_head(input) else { return Ok(None) };
                    self.state = match handle(kind, length)? {
                        Handling::Pieces => State::Pieces { left: length },
                        Handling::Skip => State::Skip { left: length },
                        Handling::Whole => State::Whole {
                            kind,
                            length: usize::try_from(length).unwrap_or(usize::MAX),
                            payload: Vec::new(),
                        },
                    };
                    self.count(length)?;
                }
                State::Pieces { left } => {
                    if *left == 0 {
                        self.state = State::Head;
                    } else if input.is_empty() {
                        return Ok(None);
                    } else {
                        let piece = input.split_to(at_most(*left, input.len()));
                        *left -= piece.len() as u64;
                        return Ok(Some(Item::Piece(piece)));
                    }
                }
                State::Skip { left } => {
                    let skipped = at_most(*left, input.len());
                    input.advance(skipped);
                    *left -= skipped as u64;
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
                State::Whole { kind, length, payload } => {
                    let now = input.split_to((*length - payload.len()).min(input.len()));
                    let payload = if payload.is_empty() && now.len() == *length {
                        now
                    } else {
                        payload.extend_from_slice(&now);
                        if payload.len() < *length {
                            return Ok(None);
                        }
                        std::mem::take(payload).into()
                    };
                    let kind = *kind;
                    self.state = State::Head;
                    return Ok(Some(Item::Frame(kind, payload)));
                }
            }
        }
    }

    /// The type and length of a frame, once they are complete.
    fn take_head(&mut self, input: &mut Bytes) -> Option<(u64, u64)> {
        loop {
            let head = &self.head[..self.have];
            if let Some((kind, used)) = varint::read(head)
                && let Some((length, _)) = varint::read(&head[used..])
            {
                self.have = 0;
                return Some((kind, length));
            }
            // Two integers never take more than there is room for.
            let place = self.head.get_mut(self.have)?;
            if input.is_empty() {
                return None;
            }
            *place = input.get_u8();
            self.have += 1;
        }
    }

    fn count(&mut self, length: u64) -> Result<(), Violation> {
        let carries = length > 0 && !matches!(self.state, State::Skip { .. });
        self.idle = if carries { 0 } else { self.idle + 1 };
        if self.idle > MOST_IDLE {
            return Err(Violation::new(Code::EXCESSIVE_LOAD, "too many frames without content"));
        }
        Ok(())
    }
}

fn at_most(left: u64, here: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(here)
}

/// Whether HTTP/2 has a frame of this type that HTTP/3 has not (RFC 9114, section 7.2.8).
pub(super) fn is_reserved(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// The head of a frame.
pub(super) fn head(kind: u64, length: usize, out: &mut Vec<u8>) {
    varint::write(kind, out);
    varint::write(length as u64, out);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{DATA, GOAWAY, HEADERS, Handling, Item, Reader, head};
    use crate::http3::code::{Code, Violation};

    const UNKNOWN: u64 = 0x21;

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        head(kind, payload.len(), &mut out);
        out.extend_from_slice(payload);
        out
    }

    fn handle(kind: u64, _: u64) -> Result<Handling, Violation> {
        Ok(match kind {
            DATA => Handling::Pieces,
            UNKNOWN => Handling::Skip,
            _ => Handling::Whole,
        })
    }

    /// What comes of `bytes` in pieces of `size`: whole frames, and the pieces of others joined.
    fn read(bytes: &[u8], size: usize) -> (Vec<Item>, bool) {
        let (mut reader, mut items) = (Reader::new(), Vec::new());
        for piece in bytes.chunks(size) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(item) = reader.next(&mut input, handle).unwrap() {
                match (items.last_mut(), item) {
                    (Some(Item::Piece(before)), Item::Piece(more)) => {
                        *before = [&before[..], &more[..]].concat().into();
                    }
                    (_, item) => items.push(item),
                }
            }
            assert!(input.is_empty());
        }
        (items, reader.is_between_frames())
    }

    #[test]
    fn any_split_reads_the_same() {
        let mut bytes = frame(HEADERS, b"section");
        bytes.extend(frame(UNKNOWN, &[7; 100]));
        bytes.extend(frame(DATA, &[1; 70]));
        bytes.extend(frame(DATA, b""));
        bytes.extend(frame(GOAWAY, b""));
        let expected = vec![
            Item::Frame(HEADERS, Bytes::from_static(b"section")),
            Item::Piece(vec![1; 70].into()),
            Item::Frame(GOAWAY, Bytes::new()),
        ];
        for size in 1..bytes.len() + 1 {
            assert_eq!(read(&bytes, size), (expected.clone(), true), "pieces of {size}");
        }
    }

    #[test]
    fn the_end_inside_a_frame_is_noticed() {
        for bytes in [&frame(HEADERS, b"section")[..], &frame(DATA, b"data"), &frame(UNKNOWN, b"x")]
        {
            for cut in 1..bytes.len() {
                assert!(!read(&bytes[..cut], 1).1, "{cut}");
            }
        }
    }

    #[test]
    fn a_flood_of_frames_without_content_is_refused() {
        for kind in [DATA, UNKNOWN] {
            let mut reader = Reader::new();
            let mut input = Bytes::from(frame(kind, b"").repeat(10_001));
            let refused = reader.next(&mut input, handle).unwrap_err();
            assert_eq!(refused.code, Code::EXCESSIVE_LOAD);
        }
        let mut reader = Reader::new();
        let some = [frame(DATA, b"").repeat(10_000), frame(DATA, b"x")].concat().repeat(2);
        let mut input = Bytes::from(some);
        while reader.next(&mut input, handle).unwrap().is_some() {}
        assert!(input.is_empty());
    }
}
