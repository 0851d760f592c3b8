//! Header sections as bytes (QPACK, RFC 9204), without a dynamic table: neither side has to wait
//! for the other, and there is no state that could be lost.

mod huffman;
mod table;

use table::{FIELDS, Place};

/// What a field adds to the size of its section, besides its text (RFC 9114, section 4.2.2).
const FIELD_OVERHEAD: usize = 32;

/// Why a section could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure<E> {
    /// The bytes are no section, or one that needs a dynamic table.
    Malformed,
    /// It is larger than allowed.
    TooLarge,
    /// A field is refused.
    Field(E),
}

/// Begins a section.
pub(super) fn begin(out: &mut Vec<u8>) {
    // No entry of a dynamic table is required, and the base is 0.
    out.extend_from_slice(&[0, 0]);
}

/// Appends a field.
pub(super) fn encode(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match table::find(name, value) {
        Place::Field(index) => encode_integer(0b1100_0000, 6, index, out),
        Place::Name(index) => {
            encode_integer(0b0101_0000, 4, index, out);
            encode_string(0, 7, value, out);
        }
        Place::Nowhere => {
            encode_string(0b0010_0000, 3, name, out);
            encode_string(0, 7, value, out);
        }
    }
}

/// The size of a field as limits count it.
pub(super) fn size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + FIELD_OVERHEAD
}

/// Gives every field of a section of at most `most` bytes, as limits count them, to `field`.
pub(super) fn decode<E>(
    section: &[u8],
    most: usize,
    mut field: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), Failure<E>> {
    let mut input = Input(section);
    let malformed = Failure::Malformed;
    let required = input.integer(8).ok_or(Failure::Malformed)?;
    let _base = input.integer(7).ok_or(Failure::Malformed)?;
    if required != 0 {
        return Err(malformed);
    }
    let (mut name, mut value) = (Vec::new(), Vec::new());
    let mut total = 0_usize;
    while let Some(first) = input.peek() {
        let entry = |input: &mut Input<'_>, prefix| {
            FIELDS.get(input.integer(prefix)?).map(|(name, value)| (*name, *value))
        };
        let (name, value) = match first {
            // An indexed field line; the second bit says that it is of the static table.
            0b1100_0000.. => {
                let (name, value) = entry(&mut input, 6).ok_or(Failure::Malformed)?;
                (name.as_bytes(), value.as_bytes())
            }
            // A literal one with an indexed name; the fourth bit says the same.
            0b0100_0000..0b1000_0000 if first & 0b0001_0000 != 0 => {
                let (name, _) = entry(&mut input, 4).ok_or(Failure::Malformed)?;
                (name.as_bytes(), input.string(7, &mut value).ok_or(Failure::Malformed)?)
            }
            // A literal one with a literal name.
            0b0010_0000..0b0100_0000 => {
                let name = input.string(3, &mut name).ok_or(Failure::Malformed)?;
                (name, input.string(7, &mut value).ok_or(Failure::Malformed)?)
            }
            _ => return Err(malformed),
        };
        total += size(name, value);
        if total > most {
            return Err(Failure::TooLarge);
        }
        field(name, value).map_err(Failure::Field)?;
    }
    Ok(())
}

fn encode_integer(pattern: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if value < most {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A string after a prefix of so many bits, of which one more says that it is Huffman encoded.
fn encode_string(pattern: u8, prefix: u32, text: &[u8], out: &mut Vec<u8>) {
    let encoded = huffman::encoded_len(text);
    if encoded < text.len() {
        encode_integer(pattern | 1 << prefix, prefix, encoded, out);
        huffman::encode(text, out);
    } else {
        encode_integer(pattern, prefix, text.len(), out);
        out.extend_from_slice(text);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An integer after a prefix of so many bits. Those beyond 2^32 are malformed: nothing that is
    /// counted here can be as large.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1_u64 << prefix) - 1;
        let mut value = u64::from(self.next()?) & most;
        if value < most {
            return usize::try_from(value).ok();
        }
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.next()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).ok().map(|value| value as usize);
            }
        }
        None
    }

    /// A string after a prefix of so many bits, where it stands or decoded into `scratch`.
    fn string<'b>(&mut self, prefix: u32, scratch: &'b mut Vec<u8>) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        let encoded = self.peek()? & (1 << prefix) != 0;
        let length = self.integer(prefix)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        if !encoded {
            return Some(text);
        }
        scratch.clear();
        huffman::decode(text, scratch).then_some(&scratch[..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Failure, begin, decode, encode, size};

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn section(fields: &Fields) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out);
        for (name, value) in fields {
            encode(name, value, &mut out);
        }
        out
    }

    fn fields(section: &[u8], most: usize) -> Result<Fields, Failure<()>> {
        let mut fields = Vec::new();
        decode(section, most, |name, value| {
            fields.push((name.to_vec(), value.to_vec()));
            Ok(())
        })
        .map(|()| fields)
    }

    // RFC 9204, appendix B.1.
    #[test]
    fn an_example_of_the_standard() {
        let mut section = vec![0x00, 0x00, 0x51, 0x0b];
        section.extend_from_slice(b"/index.html");
        let expected = vec![(b":path".to_vec(), b"/index.html".to_vec())];
        assert_eq!(fields(&section, 1000), Ok(expected));
    }

    #[test]
    fn common_fields_take_one_byte() {
        let get = vec![
            (b":method".to_vec(), b"GET".to_vec()),
            (b":scheme".to_vec(), b"https".to_vec()),
            (b":path".to_vec(), b"/".to_vec()),
        ];
        assert_eq!(section(&get), [0, 0, 0xd1, 0xd7, 0xc1]);
    }

    #[test]
    fn what_needs_a_dynamic_table_or_is_cut_short_is_malformed() {
        let malformed: [&[u8]; 14] = [
            &[],
            &[0],
            &[1, 0],
            &[0, 0, 0x80],
            &[0, 0, 0x10],
            &[0, 0, 0x00, 0x00],
            &[0, 0, 0x40, 0x00],
            &[0, 0, 0xff, 0x24],
            &[0, 0, 0xff, 0x80],
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0, 0, 0x51],
            &[0, 0, 0x51, 0x05, b'a'],
            &[0, 0, 0x51, 0x81, 0x00],
            &[0, 0, 0x23, b'a', b'b'],
        ];
        for section in malformed {
            assert_eq!(fields(section, 1000), Err(Failure::Malformed), "{section:?}");
        }
    }

    #[test]
    fn the_size_is_limited_as_the_standard_counts() {
        let pair = vec![(b"ab".to_vec(), b"cde".to_vec()); 2];
        let section = section(&pair);
        assert_eq!(size(b"ab", b"cde"), 37);
        assert_eq!(fields(&section, 74), Ok(pair));
        assert_eq!(fields(&section, 73), Err(Failure::TooLarge));
    }

    proptest! {
        #[test]
        fn any_fields_survive(list: Fields) {
            prop_assert_eq!(fields(&section(&list), usize::MAX), Ok(list));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = fields(&bytes, 10_000);
        }
    }
}
