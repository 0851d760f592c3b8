//! Integers of variable length (RFC 9000, section 16).

/// The largest integer that can be written.
pub(super) const LARGEST: u64 = (1 << 62) - 1;

/// Appends `value`, at most [`LARGEST`].
pub(super) fn write(value: u64, out: &mut Vec<u8>) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value.min(LARGEST) | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// The integer `bytes` begin with, and its length; `None` if there is more to come.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let value =
        rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, length))
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, read, write};

    // RFC 9000, appendix A.1.
    #[test]
    fn examples_of_the_standard() {
        let examples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in examples {
            assert_eq!(read(bytes), Some((value, bytes.len())));
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(out, bytes);
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), None);
            }
        }
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)));
    }

    #[test]
    fn boundaries() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, LARGEST] {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(read(&out), Some((value, out.len())));
        }
    }
}
