//! Body bytes on their way into the receiver's memory.

use crate::error::Error;
use crate::host::BodyBuffer;

/// Memory asked for at once for a body of known length. A peer that announces more has to send
/// it before more memory is taken.
const EAGER: usize = 64 << 20;

/// A buffer that is filled from the front.
pub(crate) struct Gather<B> {
    buffer: Option<B>,
    filled: usize,
}

impl<B: BodyBuffer> Gather<B> {
    pub(crate) fn new() -> Self {
        Self { buffer: None, filled: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Makes room for `more` bytes; `expected` is the length of the whole, if the peer announced
    /// it.
    pub(crate) fn reserve(&mut self, more: usize, expected: Option<u64>) -> Result<(), Error> {
        let needed = self.filled.checked_add(more).ok_or(Error::OutOfMemory)?;
        let Some(buffer) = &mut self.buffer else {
            let size = needed.max(announced(expected).unwrap_or(0).min(EAGER));
            self.buffer = Some(B::allocate(size).ok_or(Error::OutOfMemory)?);
            return Ok(());
        };
        let capacity = buffer.as_slice().len();
        if needed <= capacity {
            return Ok(());
        }
        let total = announced(expected).unwrap_or(usize::MAX).max(needed);
        let size = capacity.saturating_mul(2).clamp(needed, total);
        if buffer.resize(size) { Ok(()) } else { Err(Error::OutOfMemory) }
    }

    /// Appends bytes for which there is room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        let room = self.buffer.as_mut().and_then(|b| b.as_mut_slice().get_mut(self.filled..end));
        if let Some(room) = room {
            room.copy_from_slice(bytes);
            self.filled = end;
        }
    }

    /// The memory behind what is filled.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => buffer.as_mut_slice().get_mut(self.filled..).unwrap_or_default(),
            None => &mut [],
        }
    }

    /// So many bytes of [`Self::room`] were filled.
    pub(crate) fn filled(&mut self, len: usize) {
        self.filled += len;
    }

    /// Hands over what is filled and begins anew.
    pub(crate) fn take(&mut self) -> Result<B, Error> {
        let filled = std::mem::take(&mut self.filled);
        let mut buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => B::allocate(0).ok_or(Error::OutOfMemory)?,
        };
        if buffer.as_slice().len() == filled || buffer.resize(filled) {
            Ok(buffer)
        } else {
            Err(Error::OutOfMemory)
        }
    }
}

fn announced(expected: Option<u64>) -> Option<usize> {
    expected.map(|len| usize::try_from(len).unwrap_or(usize::MAX))
}
