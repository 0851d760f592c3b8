//! The body decoder: never a panic, always progress, and never a byte more than there is. The
//! first byte chooses the framing.
#![no_main]

use hansom_engine::Limits;
use hansom_engine::http1::{BodyDecoder, Framing, Part};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else { return };
    let framing = match choice {
        0 => Framing::None,
        1 => Framing::UntilClose,
        2..=127 => Framing::Length(u64::from(choice)),
        _ => Framing::Chunked,
    };
    let limits = Limits { chunk_extension_bytes: 64, trailer_bytes: 64, ..Limits::default() };
    let mut decoder = BodyDecoder::new(framing);
    if choice % 2 == 0 {
        decoder.keep_trailers();
    }
    loop {
        let contiguous = decoder.contiguous();
        match decoder.next(rest, &limits) {
            Ok(Part::More) => {
                assert!(rest.is_empty());
                break;
            }
            Ok(Part::Skip(len)) => {
                assert!(len > 0);
                rest = &rest[len..];
            }
            Ok(Part::Data { len, ends_piece }) => {
                assert!(len > 0);
                assert_eq!(ends_piece, len as u64 == contiguous);
                rest = &rest[len..];
            }
            Ok(Part::End(len)) => {
                assert!(decoder.is_done() && len <= rest.len());
                assert!(decoder.finish());
                let trailers = decoder.take_trailers(&limits);
                assert!(choice % 2 == 0 || trailers == Ok(None));
                return;
            }
            Err(error) => {
                assert_eq!(decoder.next(rest, &limits), Err(error));
                return;
            }
        }
    }
    assert_eq!(decoder.finish(), decoder.is_done());
});
