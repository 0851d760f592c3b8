//! A buffer that is filled at one end and emptied at the other.

/// What was received and not yet used.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.start += len;
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts bytes back, before all others.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.bytes.splice(..self.start, bytes.iter().copied());
        self.start = 0;
    }

    /// Moves bytes from the front to `memory`, and says how many.
    pub(super) fn take(&mut self, memory: &mut [u8]) -> usize {
        let len = self.len().min(memory.len());
        if let (Some(to), Some(from)) = (memory.get_mut(..len), self.bytes().get(..len)) {
            to.copy_from_slice(from);
        }
        self.consume(len);
        len
    }

    /// Gives memory back that a connection between exchanges has no use for.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 4 << 10;
        if self.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Input;

    #[test]
    fn bytes_leave_in_their_order_also_when_some_are_put_back() {
        let mut input = Input::default();
        input.extend(b"cdef");
        let mut memory = [0; 2];
        assert_eq!((input.take(&mut memory), &memory), (2, b"cd"));
        input.put_back(b"abcd");
        assert_eq!(input.bytes(), b"abcdef");
        let mut memory = [0; 9];
        assert_eq!(input.take(&mut memory), 6);
        assert_eq!(memory.get(..6), Some(&b"abcdef"[..]));
        assert_eq!((input.take(&mut memory), input.is_empty()), (0, true));
    }
}
