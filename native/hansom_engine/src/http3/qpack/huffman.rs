//! The Huffman code of header strings (RFC 7541, appendix B).
//!
//! The code is canonical: the lengths of its words say everything.

use std::sync::LazyLock;

/// The longest word, in bits.
const LONGEST: u32 = 30;
/// The word for the end of a string, which never stands in one.
const END: usize = 256;

/// The lengths of the words, in bits, of all bytes and [`END`].
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

static CODE: LazyLock<Code> = LazyLock::new(Code::new);

struct Code {
    words: [u32; 257],
    /// For each length the first word that is longer, as the first bits of [`LONGEST`]; the word of
    /// that length that comes first; and where its symbol is in `symbols`.
    lengths: Vec<(u32, u32, u32, usize)>,
    /// Symbols in the order of their words.
    symbols: Vec<u16>,
}

impl Code {
    fn new() -> Self {
        let mut symbols: Vec<u16> = (0..=256).collect();
        symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
        let mut words = [0; 257];
        let mut lengths: Vec<(u32, u32, u32, usize)> = Vec::new();
        let (mut word, mut length) = (0_u32, 0);
        for (at, symbol) in symbols.iter().enumerate() {
            let own = u32::from(LENGTHS[usize::from(*symbol)]);
            word <<= own - length;
            if own != length {
                length = own;
                lengths.push((length, 0, word, at));
            }
            words[usize::from(*symbol)] = word;
            word += 1;
            if let Some((_, end, ..)) = lengths.last_mut() {
                *end = word << (LONGEST - length);
            }
        }
        Self { words, lengths, symbols }
    }

    /// The symbol whose word `window` of [`LONGEST`] bits begins with, and the word's length.
    fn first(&self, window: u32) -> Option<(usize, u32)> {
        let (length, _, first, at) = self.lengths.iter().find(|(_, end, ..)| window < *end)?;
        let offset = (window >> (LONGEST - length)) - first;
        let symbol = self.symbols.get(at + offset as usize)?;
        Some((usize::from(*symbol), *length))
    }
}

/// The number of bytes `text` takes in this code.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum::<usize>().div_ceil(8)
}

pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let code = &*CODE;
    let (mut bits, mut have) = (0_u64, 0_u32);
    for byte in text {
        let symbol = usize::from(*byte);
        let length = u32::from(LENGTHS[symbol]);
        bits = bits << length | u64::from(code.words[symbol]);
        have += length;
        while have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    if have > 0 {
        // Padded with the first bits of the word for the end, which are ones.
        out.push((bits << (8 - have)) as u8 | (0xff >> have));
    }
}

/// Appends what `encoded` stands for; `false` if it is malformed.
#[must_use]
pub(super) fn decode(encoded: &[u8], out: &mut Vec<u8>) -> bool {
    let code = &*CODE;
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut rest = encoded.iter();
    loop {
        while have < LONGEST
            && let Some(byte) = rest.next()
        {
            bits = bits << 8 | u64::from(*byte);
            have += 8;
        }
        let window = if have >= LONGEST {
            bits >> (have - LONGEST)
        } else {
            let missing = LONGEST - have;
            bits << missing | ((1 << missing) - 1)
        };
        let window = (window & ((1 << LONGEST) - 1)) as u32;
        match code.first(window) {
            Some((symbol, length)) if length <= have && symbol != END => {
                out.push(symbol as u8);
                have -= length;
            }
            // What is left can only be padding: fewer than eight bits, all of them ones.
            _ => return have < 8 && window == (1 << LONGEST) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode, encoded_len};

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        out
    }

    // RFC 7541, appendix C.4.1 and C.6.1.
    #[test]
    fn examples_of_the_standard() {
        let examples: [(&[u8], &[u8]); 3] = [
            (
                b"www.example.com",
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
            ),
            (b"no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            (b"private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
        ];
        for (text, code) in examples {
            assert_eq!(encoded(text), code);
            assert_eq!(encoded_len(text), code.len());
            let mut out = Vec::new();
            assert!(decode(code, &mut out));
            assert_eq!(out, text);
        }
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        let mut out = Vec::new();
        assert!(decode(&[], &mut out));
        for malformed in [&[0xff][..], &[0xff, 0xff, 0xff, 0xff], &[0x07, 0xff], &[0x00]] {
            assert!(!decode(malformed, &mut out), "{malformed:?}");
        }
        out.clear();
        assert!(decode(&[0x07], &mut out));
        assert_eq!(out, b"0");
    }

    proptest! {
        #[test]
        fn any_text_survives(text: Vec<u8>) {
            let code = encoded(&text);
            prop_assert_eq!(encoded_len(&text), code.len());
            let mut out = Vec::new();
            prop_assert!(decode(&code, &mut out));
            prop_assert_eq!(out, text);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let mut out = Vec::new();
            let _ = decode(&bytes, &mut out);
            prop_assert!(out.len() <= bytes.len() * 8 / 5);
        }
    }
}
