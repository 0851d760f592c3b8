use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::Decompressor;
use crate::config::Limits;
use crate::error::{Coding, Error};

const TEXT: &[u8] = b"hello hello hello hello\n";
const MEBIBYTE: usize = 1 << 20;

/// [`TEXT`] as written by the reference encoder of Brotli.
const BROTLI_TEXT: [u8; 23] = [
    0x1b, 0x17, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0xd6, 0x0a, 0x20, 0x6c, 0x6f,
    0x4a, 0x11, 0x79, 0xe2, 0x80, 0xae, 0x16,
];
/// 4 MiB of zeros, by the same.
const BROTLI_BOMB: [u8; 14] =
    [0x9b, 0xff, 0xff, 0x3f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x07];
/// 32 KiB of `a`, as much as one step yields, by the same.
const BROTLI_STEP: [u8; 13] =
    [0x1b, 0xff, 0x7f, 0xf8, 0x25, 0xc2, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0x0e, 0x00];

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("a vector takes all")
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("a vector takes all")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(data, 3).expect("a vector takes all")
}

/// [`TEXT`] in each coding.
fn samples() -> [(Coding, Vec<u8>); 4] {
    [
        (Coding::Gzip, gzip(TEXT)),
        (Coding::Deflate, deflate(TEXT)),
        (Coding::Brotli, BROTLI_TEXT.to_vec()),
        (Coding::Zstd, zstd(TEXT)),
    ]
}

/// As much as a step is to yield.
const STEP: usize = 32 << 10;

/// Appends to `out` what `input` stands for.
fn write(
    decompressor: &mut Decompressor,
    mut input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    loop {
        let start = out.len();
        out.resize(start + STEP, 0);
        let progress = decompressor.decode(input, &mut out[start..]);
        out.truncate(start + progress.as_ref().map_or(0, |progress| progress.written));
        input = &input[progress?.read..];
        if input.is_empty() && !decompressor.has_more() {
            return Ok(());
        }
    }
}

fn decode_with(
    coding: Coding,
    input: &[u8],
    step: usize,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut decompressor = Decompressor::new(coding, limits);
    for part in input.chunks(step) {
        write(&mut decompressor, part, &mut out)?;
    }
    decompressor.finish()?;
    Ok(out)
}

fn decode(coding: Coding, input: &[u8]) -> Result<Vec<u8>, Error> {
    decode_with(coding, input, usize::MAX, &Limits::default())
}

fn data_error<T>(coding: Coding) -> Result<T, Error> {
    Err(Error::Decompress { coding, reason: "data_error" })
}

fn too_large<T>(coding: Coding) -> Result<T, Error> {
    Err(Error::Decompress { coding, reason: "too_large" })
}

#[test]
fn rsp_21_codings_are_named_in_any_case_and_alone() {
    for (value, coding) in [
        ("gzip", Some(Coding::Gzip)),
        ("X-GZip", Some(Coding::Gzip)),
        ("DEFLATE", Some(Coding::Deflate)),
        ("br", Some(Coding::Brotli)),
        ("zstd", Some(Coding::Zstd)),
        ("identity", None),
        ("gzip, br", None),
        ("", None),
    ] {
        assert_eq!(Decompressor::coding(value.as_bytes()), coding, "{value:?}");
    }
}

#[test]
fn every_coding_is_undone_however_it_is_split() {
    for (coding, input) in samples() {
        for step in [1, 2, 7, usize::MAX] {
            let decoded = decode_with(coding, &input, step, &Limits::default());
            assert_eq!(decoded.as_deref(), Ok(TEXT), "{coding:?} by {step}");
        }
    }
}

#[test]
fn rsp_21_input_cut_short_or_empty_is_a_data_error() {
    for (coding, input) in samples() {
        for len in 0..input.len() {
            assert_eq!(decode(coding, &input[..len]), data_error(coding), "{coding:?} {len}");
        }
    }
}

#[test]
fn rsp_21_malformed_input_is_a_lasting_data_error() {
    for (coding, _) in samples() {
        let mut decompressor = Decompressor::new(coding, &Limits::default());
        let mut out = Vec::new();
        assert_eq!(write(&mut decompressor, &[0xff; 64], &mut out), data_error(coding));
        assert_eq!(write(&mut decompressor, b"", &mut out), data_error(coding));
        assert_eq!(decompressor.finish(), data_error(coding));
    }
}

#[test]
fn rsp_21_gzip_has_any_number_of_members_and_nothing_else() {
    let members = [gzip(TEXT), gzip(b""), gzip(TEXT)].concat();
    for step in [1, usize::MAX] {
        let decoded = decode_with(Coding::Gzip, &members, step, &Limits::default());
        assert_eq!(decoded, Ok([TEXT, TEXT].concat()));
    }
    for rest in [&b"x"[..], b"garbage", &[0; 4], &[0x1f], &members[..12]] {
        let input = [&members[..], rest].concat();
        assert_eq!(decode(Coding::Gzip, &input), data_error(Coding::Gzip), "{rest:?}");
    }
}

#[test]
fn rsp_21_deflate_is_the_zlib_format_and_what_follows_it_is_ignored() {
    let input = [&deflate(TEXT)[..], b"rest"].concat();
    for step in [1, usize::MAX] {
        let decoded = decode_with(Coding::Deflate, &input, step, &Limits::default());
        assert_eq!(decoded.as_deref(), Ok(TEXT));
    }
    let raw = &input[2..];
    assert_eq!(decode(Coding::Deflate, raw), data_error(Coding::Deflate));
}

#[test]
fn zstd_has_any_number_of_frames_and_nothing_else() {
    let frames = [zstd(TEXT), zstd(b""), zstd(TEXT)].concat();
    for step in [1, usize::MAX] {
        let decoded = decode_with(Coding::Zstd, &frames, step, &Limits::default());
        assert_eq!(decoded, Ok([TEXT, TEXT].concat()));
    }
    let input = [&frames[..], b"rest"].concat();
    assert_eq!(decode(Coding::Zstd, &input), data_error(Coding::Zstd));
}

#[test]
fn brotli_is_one_stream() {
    let input = [&BROTLI_TEXT[..], b"x"].concat();
    for step in [1, usize::MAX] {
        let decoded = decode_with(Coding::Brotli, &input, step, &Limits::default());
        assert_eq!(decoded, data_error(Coding::Brotli));
    }
}

#[test]
fn output_may_end_with_a_step() {
    let data = vec![b'a'; STEP];
    for (coding, input) in [
        (Coding::Gzip, gzip(&data)),
        (Coding::Deflate, deflate(&data)),
        (Coding::Brotli, BROTLI_STEP.to_vec()),
        (Coding::Zstd, zstd(&data)),
    ] {
        for step in [1, usize::MAX] {
            let decoded = decode_with(coding, &input, step, &Limits::default());
            assert!(decoded.as_deref() == Ok(&data), "{coding:?}");
        }
    }
}

#[test]
fn a_zstd_window_beyond_8_mib_is_refused() {
    let encode = |window_log| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1)?;
        encoder.window_log(window_log)?;
        encoder.write_all(TEXT)?;
        encoder.finish()
    };
    let (small, large) = (encode(23), encode(24));
    assert_eq!(decode(Coding::Zstd, &small.expect("a vector takes all")).as_deref(), Ok(TEXT));
    let refused = decode(Coding::Zstd, &large.expect("a vector takes all"));
    assert_eq!(refused, data_error(Coding::Zstd));
}

#[test]
fn output_is_limited() {
    let zeros = vec![0; 4 * MEBIBYTE];
    let limits =
        Limits { decompressed_bytes: 100_000, decompress_ratio: u64::MAX, ..Limits::default() };
    for (coding, input) in [
        (Coding::Gzip, gzip(&zeros)),
        (Coding::Deflate, deflate(&zeros)),
        (Coding::Brotli, BROTLI_BOMB.to_vec()),
        (Coding::Zstd, zstd(&zeros)),
    ] {
        let mut out = Vec::new();
        let mut decompressor = Decompressor::new(coding, &limits);
        assert_eq!(write(&mut decompressor, &input, &mut out), too_large(coding));
        assert!(out.len() <= 100_000, "{coding:?}");
        assert_eq!(decompressor.finish(), too_large(coding));

        let limits = Limits { decompressed_bytes: 4 << 20, ..limits.clone() };
        let all = decode_with(coding, &input, usize::MAX, &limits);
        assert!(all.as_deref() == Ok(&zeros), "{coding:?}");
    }
}

#[test]
fn growth_is_limited_beyond_a_mebibyte() {
    let limits = Limits::default();
    for (coding, input) in [
        (Coding::Gzip, gzip(&vec![0; 4 * MEBIBYTE])),
        (Coding::Deflate, deflate(&vec![0; 4 * MEBIBYTE])),
        (Coding::Brotli, BROTLI_BOMB.to_vec()),
        (Coding::Zstd, zstd(&vec![0; 4 * MEBIBYTE])),
    ] {
        let mut out = Vec::new();
        let written = write(&mut Decompressor::new(coding, &limits), &input, &mut out);
        assert_eq!(written, too_large(coding));
        assert!(out.len() <= MEBIBYTE + STEP, "{coding:?} {}", out.len());
    }
    let data = vec![0; MEBIBYTE];
    for (coding, input) in [
        (Coding::Gzip, gzip(&data)),
        (Coding::Deflate, deflate(&data)),
        (Coding::Zstd, zstd(&data)),
    ] {
        assert!(decode(coding, &input).as_deref() == Ok(&data), "{coding:?}");
    }
}

#[test]
fn a_decompressor_may_move_between_threads() {
    fn movable<T: Send>() {}
    movable::<Decompressor>();
}
