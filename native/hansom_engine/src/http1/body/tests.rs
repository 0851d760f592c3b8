use super::{BodyDecoder, Framing, Part, framing};
use crate::config::Limits;
use crate::error::{Error, Limit};
use crate::headers::HeaderList;
use crate::http1::Head;

fn head(status: u16, fields: &[(&str, &str)]) -> Head {
    let mut headers = HeaderList::default();
    for (name, value) in fields {
        headers.push(name.as_bytes(), value.as_bytes());
    }
    Head { version: (1, 1), status, reason: Vec::new(), headers, length: 0 }
}

fn framed(fields: &[(&str, &str)]) -> Result<Framing, Error> {
    framing(false, &head(200, fields))
}

/// Every piece of a body, cut where `ends_piece` says, and the bytes left over after its end.
fn decode_with(
    decoder: &mut BodyDecoder,
    mut input: &[u8],
    limits: &Limits,
) -> Result<(Vec<Vec<u8>>, Option<usize>), Error> {
    let (mut pieces, mut open) = (Vec::new(), false);
    loop {
        match decoder.next(input, limits)? {
            Part::More => return Ok((pieces, None)),
            Part::Skip(len) => input = &input[len..],
            Part::Data { len, ends_piece } => {
                if !open {
                    pieces.push(Vec::new());
                }
                if let Some(piece) = pieces.last_mut() {
                    piece.extend_from_slice(&input[..len]);
                }
                open = !ends_piece;
                input = &input[len..];
            }
            Part::End(len) => return Ok((pieces, Some(input.len() - len))),
        }
    }
}

fn chunked(input: &str) -> Result<(Vec<String>, Option<usize>), Error> {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (pieces, left) = decode_with(&mut decoder, input.as_bytes(), &Limits::default())?;
    let text = |piece: Vec<u8>| String::from_utf8_lossy(&piece).into_owned();
    Ok((pieces.into_iter().map(text).collect(), left))
}

fn pieces(pieces: &[&str]) -> Vec<String> {
    pieces.iter().map(|piece| (*piece).to_owned()).collect()
}

#[test]
fn rsp_16_the_answer_to_head_has_no_body() {
    let head = head(200, &[("Transfer-Encoding", "chunked"), ("Content-Length", "-1")]);
    assert_eq!(framing(true, &head), Ok(Framing::None));
}

#[test]
fn rsp_17_204_and_304_have_no_body() {
    for (status, expected) in
        [(204, Framing::None), (304, Framing::None), (205, Framing::Length(3))]
    {
        let head = head(status, &[("Content-Length", "3")]);
        assert_eq!(framing(false, &head), Ok(expected));
    }
}

#[test]
fn rsp_18_chunked_is_the_last_transfer_encoding_and_nothing_else() {
    let length = ("Content-Length", "3");
    for (value, expected) in [
        ("chunked", Framing::Chunked),
        (" CHUNKED\t", Framing::Chunked),
        ("gzip, chunked", Framing::Length(3)),
        ("identity", Framing::Length(3)),
    ] {
        assert_eq!(framed(&[("transfer-ENCODING", value), length]), Ok(expected), "{value:?}");
    }
    let (chunked, gzip) = (("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip"));
    assert_eq!(framed(&[gzip, chunked]), Ok(Framing::Chunked));
    assert_eq!(framed(&[chunked, gzip]), Ok(Framing::UntilClose));
}

#[test]
fn rsp_19_a_length_of_zero_or_no_integer_means_an_empty_body() {
    for value in ["0", "000", "-0", "", "x", "3x", "3, 3", "3 3", "0x3", "+", "-", "3.0"] {
        let framing = framed(&[("Content-Length", value)]);
        assert_eq!(framing, Ok(Framing::Length(0)), "{value:?}");
    }
    assert!(BodyDecoder::new(Framing::Length(0)).is_done());
}

#[test]
fn rsp_19_a_negative_or_endless_length_is_refused() {
    for value in ["-1", "-99999999999999999999", "18446744073709551616"] {
        assert_eq!(framed(&[("Content-Length", value)]), Err(Error::BadRequest), "{value:?}");
    }
}

#[test]
fn rsp_20_the_last_length_wins_and_without_one_the_close_ends() {
    let lengths = [("Content-Length", "5"), ("content-length", "+7")];
    assert_eq!(framed(&lengths), Ok(Framing::Length(7)));
    assert_eq!(
        framed(&[("Content-Length", "18446744073709551615")]),
        Ok(Framing::Length(u64::MAX))
    );
    assert_eq!(framed(&[]), Ok(Framing::UntilClose));
}

#[test]
fn rsp_20_excess_is_left_over() {
    let mut decoder = BodyDecoder::new(Framing::Length(3));
    let limits = Limits::default();
    assert_eq!(decoder.next(b"ab", &limits), Ok(Part::Data { len: 2, ends_piece: false }));
    assert_eq!(decoder.next(b"", &limits), Ok(Part::More));
    assert!(!decoder.is_done());
    assert_eq!(decoder.next(b"cde", &limits), Ok(Part::Data { len: 1, ends_piece: true }));
    assert!(decoder.is_done());
    assert_eq!(decoder.next(b"de", &limits), Ok(Part::End(0)));
}

#[test]
fn until_close_everything_is_body() {
    let mut decoder = BodyDecoder::new(Framing::UntilClose);
    let part = decoder.next(b"HTTP/1.1 200 OK\r\n\r\n", &Limits::default());
    assert_eq!(part, Ok(Part::Data { len: 19, ends_piece: false }));
    assert_eq!(decoder.contiguous(), u64::MAX);
    decoder.advance(1 << 40);
    assert!(!decoder.is_done());
    assert!(decoder.finish());
    assert!(decoder.is_done());
}

#[test]
fn chunks_are_pieces() {
    assert_eq!(
        chunked("5\r\nhello\r\n00B\r\n there worl\r\n1\r\nd\r\n0\r\n\r\nrest"),
        Ok((pieces(&["hello", " there worl", "d"]), Some(4)))
    );
}

#[test]
fn chunk_sizes_have_any_case_and_length() {
    let body = "x".repeat(0xab);
    for size in ["ab", "AB", "aB", "0000000000000000000000000000000ab"] {
        assert_eq!(
            chunked(&format!("{size}\r\n{body}\r\n0\r\n\r\n")),
            Ok((pieces(&[&body]), Some(0))),
            "{size}"
        );
    }
}

#[test]
fn chunk_size_lines_end_with_crlf_or_lf_and_may_have_extensions() {
    for line in ["2\n", "2;a=b\r\n", "2 ; a=\"b\"\n", "2 \r\n", "2;\r\n", "2;a\rb\n"] {
        let input = format!("{line}hi\r\n0;last\r\n\r\n");
        assert_eq!(chunked(&input), Ok((pieces(&["hi"]), Some(0))), "{line:?}");
    }
}

#[test]
fn trap_34_a_split_size_line_waits() {
    let limits = Limits::default();
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    assert_eq!(decoder.next(b"2", &limits), Ok(Part::Skip(1)));
    assert_eq!(decoder.next(b"\r", &limits), Ok(Part::Skip(1)));
    assert_eq!(decoder.next(b"", &limits), Ok(Part::More));
    assert_eq!(decoder.next(b"\nhi", &limits), Ok(Part::Skip(1)));
    assert_eq!(decoder.next(b"hi", &limits), Ok(Part::Data { len: 2, ends_piece: true }));
}

#[test]
fn trap_35_malformed_sizes_and_chunk_ends_are_told_apart() {
    for input in ["x\r\n", "2x\r\n", "-1\r\n", "2\rx", "2\t\r\n", "\r\n", ";x\r\n", " 2\r\n"] {
        assert_eq!(chunked(input), Err(Error::InvalidChunkSize), "{input:?}");
    }
    for input in ["2\r\nhix", "2\r\nhi\n", "2\r\nhi\r\r", "2\r\nhi2\r\n"] {
        assert_eq!(chunked(input), Err(Error::BadChunkEnd), "{input:?}");
    }
}

#[test]
fn a_chunk_size_beyond_64_bits_is_refused() {
    assert_eq!(chunked("10000000000000000\r\n"), Err(Error::InvalidChunkSize));
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let skipped = decoder.next(b"ffffffffffffffff\r\n", &Limits::default());
    assert_eq!(skipped, Ok(Part::Skip(18)));
    assert_eq!(decoder.contiguous(), u64::MAX);
}

#[test]
fn chunk_extensions_are_limited() {
    let limits = Limits { chunk_extension_bytes: 4, ..Limits::default() };
    let run = |input: &[u8]| {
        decode_with(&mut BodyDecoder::new(Framing::Chunked), input, &limits).map(|_| ())
    };
    let refused = Err(Error::Limit(Limit::ChunkExtensionBytes));
    assert_eq!(run(b"1;abc\n"), Ok(()));
    assert_eq!(run(b"1;abcd\n"), refused);
    assert_eq!(run(b"1;abcd"), refused);
    assert_eq!(run(&b"0".repeat(20)), Ok(()));
    assert_eq!(run(&b"0".repeat(21)), refused);
}

#[test]
fn trailers_are_dropped_and_limited() {
    assert_eq!(
        chunked("1\r\na\r\n0\r\nX: y\r\n folded\nno colon\r\n\rcr\r\n\nnext"),
        Ok((pieces(&["a"]), Some(4)))
    );
    let limits = Limits { trailer_bytes: 8, ..Limits::default() };
    let run = |input: &[u8]| decode_with(&mut BodyDecoder::new(Framing::Chunked), input, &limits);
    assert_eq!(run(b"0\r\nA: b\r\n\r\n"), Ok((Vec::new(), Some(0))));
    assert_eq!(run(b"0\r\nA: bc\r\n\r\n"), Err(Error::Limit(Limit::TrailerBytes)));
    assert_eq!(run(b"0\r\nA: bcdefg"), Err(Error::Limit(Limit::TrailerBytes)));
}

#[test]
fn trailers_are_kept_on_demand() {
    let read = |input: &[u8], split: usize, limits: &Limits| {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        decoder.keep_trailers();
        let (first, rest) = input.split_at(split);
        decode_with(&mut decoder, first, limits).unwrap();
        decode_with(&mut decoder, rest, limits).unwrap();
        decoder.finish();
        decoder.take_trailers(limits)
    };
    let list = |fields: &[(&str, &str)]| {
        let mut list = HeaderList::default();
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        Ok(Some(list))
    };
    let limits = Limits::default();
    let input = b"0\r\nA: b\r\nno colon\nX: y\r\n folded\r\n\r\n";
    for split in 0..input.len() {
        let expected = list(&[("A", "b"), ("no colon", ""), ("X", "y folded")]);
        assert_eq!(read(input, split, &limits), expected, "{split}");
    }
    for none in ["0\r\n\r\n", "0\n\n", "0\r\n", "0\r\nA: b\r\n", "0\r\nA: b\r\n\r"] {
        assert_eq!(read(none.as_bytes(), 0, &limits), Ok(None), "{none:?}");
    }
    let limits = Limits { headers: 1, ..limits };
    assert_eq!(read(b"0\r\nA: b\r\n\r\n", 0, &limits), list(&[("A", "b")]));
    let many = read(b"0\r\nA: b\r\nB: c\r\n\r\n", 0, &limits);
    assert_eq!(many, Err(Error::Limit(Limit::Headers)));
}

#[test]
fn a_close_inside_trailers_ends_the_body_and_elsewhere_cuts_it_short() {
    for (input, complete) in [
        ("", false),
        ("5\r\nhel", false),
        ("5\r\nhello", false),
        ("5\r\nhello\r\n", false),
        ("0", false),
        ("0\r", false),
        ("0;ext", false),
        ("0\r\n", true),
        ("0\r\n\r", true),
        ("0\r\nA: b\r\n", true),
        ("0\r\n\r\n", true),
    ] {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let decoded = decode_with(&mut decoder, input.as_bytes(), &Limits::default());
        assert!(decoded.is_ok());
        assert_eq!(decoder.finish(), complete, "{input:?}");
    }
}

#[test]
fn a_padded_chunk_size_has_no_limit_but_that_of_extensions() {
    let decode = |digits: usize, chunk_extension_bytes| {
        let limits = Limits { chunk_extension_bytes, ..Limits::default() };
        let input = format!("{:0>digits$}\r\n", "5");
        BodyDecoder::new(Framing::Chunked).next(input.as_bytes(), &limits)
    };
    assert_eq!(decode(16, usize::MAX), Ok(Part::Skip(18)));
    assert_eq!(decode(1000, usize::MAX), Ok(Part::Skip(1002)));
    assert_eq!(decode(16, 0), Ok(Part::Skip(18)));
    assert_eq!(decode(17, 0), Err(Error::Limit(Limit::ChunkExtensionBytes)));
}

#[test]
fn body_bytes_may_be_read_elsewhere() {
    let limits = Limits::default();
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    assert_eq!(decoder.contiguous(), 0);
    assert_eq!(decoder.next(b"a\r\n123", &limits), Ok(Part::Skip(3)));
    assert_eq!(decoder.contiguous(), 10);
    assert_eq!(decoder.next(b"123", &limits), Ok(Part::Data { len: 3, ends_piece: false }));
    decoder.advance(7);
    assert_eq!(decoder.contiguous(), 0);
    assert_eq!(decoder.next(b"\r\n0\r\n\r\nx", &limits), Ok(Part::End(7)));

    let mut decoder = BodyDecoder::new(Framing::Length(9));
    decoder.advance(4);
    assert_eq!((decoder.contiguous(), decoder.is_done()), (5, false));
    decoder.advance(5);
    assert_eq!((decoder.contiguous(), decoder.is_done()), (0, true));
}

#[test]
fn errors_are_lasting() {
    let limits = Limits::default();
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    for _ in 0..2 {
        assert_eq!(decoder.next(b"12g", &limits), Err(Error::InvalidChunkSize));
    }
}
