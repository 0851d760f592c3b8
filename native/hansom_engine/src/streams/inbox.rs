//! Body data that came and was not yet asked for.

use std::collections::VecDeque;

use crate::error::{Error, Limit};
use crate::host::BodyBuffer;
use crate::http1::Gather;

/// The size from which a piece is not added to any more.
pub(super) const PIECE: usize = 64 << 10;
/// Where pieces are asked for one by one, data of this size is one, for a reader that looks for what
/// the peer sent at a time. Less than that is joined all the same: pieces must not take more memory
/// than what is in them.
const APART: usize = 4 << 10;

/// A queue of pieces. What is to be handed over as a whole is one piece, however large; the rest
/// is joined to pieces of at least [`PIECE`] bytes where a peer sends smaller ones.
pub(super) struct Inbox<B> {
    pieces: VecDeque<B>,
    tail: Gather<B>,
    len: usize,
}

impl<B: BodyBuffer> Inbox<B> {
    pub(super) fn new() -> Self {
        Self { pieces: VecDeque::new(), tail: Gather::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds data to what is to be handed over as a whole.
    pub(super) fn extend(
        &mut self,
        data: &[u8],
        expected: Option<u64>,
        limit: u64,
    ) -> Result<(), Error> {
        let total = (self.len as u64).saturating_add(data.len() as u64);
        if total > limit {
            return Err(Error::Limit(Limit::BodyBytes));
        }
        self.tail.reserve(data.len(), expected)?;
        self.tail.extend(data);
        self.len += data.len();
        Ok(())
    }

    /// Adds data to what is handed over piece by piece; `asked` for one by one.
    pub(super) fn push(&mut self, data: &[u8], asked: bool) -> Result<(), Error> {
        let apart = asked && data.len() >= APART;
        if apart && !self.tail.is_empty() {
            self.pieces.push_back(self.tail.take()?);
        }
        self.extend(data, None, u64::MAX)?;
        if apart || self.tail.len() >= PIECE {
            self.pieces.push_back(self.tail.take()?);
        }
        Ok(())
    }

    /// The next piece, if there is any data.
    pub(super) fn take_piece(&mut self) -> Result<Option<B>, Error> {
        let piece = match self.pieces.pop_front() {
            Some(piece) => piece,
            None if self.tail.is_empty() => return Ok(None),
            None => self.tail.take()?,
        };
        self.len -= piece.as_slice().len();
        Ok(Some(piece))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Everything.
    pub(super) fn take_whole(&mut self) -> Result<B, Error> {
        let mut whole = Gather::new();
        if self.pieces.is_empty() {
            std::mem::swap(&mut whole, &mut self.tail);
        } else {
            let mut last = self.tail.take()?;
            whole.reserve(self.len, None)?;
            for piece in &self.pieces {
                whole.extend(piece.as_slice());
            }
            whole.extend(last.as_mut_slice());
            self.pieces.clear();
        }
        self.len = 0;
        whole.take()
    }
}
