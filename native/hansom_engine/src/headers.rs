//! Header fields in one block of memory.

/// An ordered list of header fields, duplicates and case kept. Names and values share one
/// allocation; a list never changes once it left the parser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderList {
    bytes: Vec<u8>,
    /// The end of each name and of the value that follows it.
    ends: Vec<(u32, u32)>,
}

impl HeaderList {
    /// An empty list with room for `fields` fields of `bytes` bytes altogether.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(fields) }
    }

    /// Appends a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        let name_end = self.offset();
        self.bytes.extend_from_slice(value);
        self.ends.push((name_end, self.offset()));
    }

    /// Appends a field whose name and value `write` produces: it gets the buffer twice, for the
    /// name and then for the value, and must only append to it.
    pub fn push_with<E>(
        &mut self,
        write_name: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        write_value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let written = write_name(&mut self.bytes).and_then(|()| {
            let name_end = self.offset();
            write_value(&mut self.bytes).map(|()| name_end)
        });
        match written {
            Ok(name_end) => {
                self.ends.push((name_end, self.offset()));
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// The fields in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        (0..self.ends.len()).map(|index| self.field(index))
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The values of every field called `name`, compared without regard to ASCII case, in order.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether a field called `name` is present.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether any field called `name` holds `token` in its comma separated list, compared without
    /// regard to ASCII case (RFC 9110, section 5.6.1).
    #[must_use]
    pub fn has_token(&self, name: &[u8], token: &[u8]) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
    }

    /// The memory the list takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<(u32, u32)>()
    }

    fn field(&self, index: usize) -> (&[u8], &[u8]) {
        let start = match index.checked_sub(1) {
            Some(previous) => self.ends[previous].1 as usize,
            None => 0,
        };
        let (name_end, value_end) = self.ends[index];
        (&self.bytes[start..name_end as usize], &self.bytes[name_end as usize..value_end as usize])
    }

    /// Blocks of 4 GiB and more are refused long before by the limits on a message head.
    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderList;

    fn list() -> HeaderList {
        let mut list = HeaderList::default();
        list.push(b"Connection", b"keep-alive, Close");
        list.push(b"X", b"");
        list.push(b"x", b"2");
        list
    }

    #[test]
    fn keeps_order_case_and_duplicates() {
        let list = list();
        let fields: Vec<_> = list.iter().collect();
        assert_eq!(
            fields,
            [(&b"Connection"[..], &b"keep-alive, Close"[..]), (b"X", b""), (b"x", b"2")]
        );
        assert_eq!(list.values(b"X").collect::<Vec<_>>(), [&b""[..], b"2"]);
    }

    #[test]
    fn tokens_are_found_in_any_position_and_case() {
        assert!(list().has_token(b"connection", b"close"));
        assert!(!list().has_token(b"connection", b"clos"));
    }

    #[test]
    fn a_refused_field_leaves_no_trace() {
        let mut list = list();
        let before = list.clone();
        let refused = list.push_with(
            |name| {
                name.extend_from_slice(b"half");
                Ok(())
            },
            |_| Err(()),
        );
        assert_eq!(refused, Err(()));
        assert_eq!(list, before);
    }
}
