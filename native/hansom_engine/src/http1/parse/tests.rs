use super::{FAST_FIELDS, Head, HeadParser, lenient_fields, strict_fields};
use crate::config::Limits;
use crate::error::{Error, Limit};
use crate::headers::HeaderList;

fn parse_with(input: &[u8], limits: &Limits) -> Result<Option<Head>, Error> {
    HeadParser::new().parse(input, limits)
}

fn parse(input: &[u8]) -> Result<Option<Head>, Error> {
    parse_with(input, &Limits::default())
}

fn head(input: &[u8]) -> Head {
    parse(input).expect("the head is valid").expect("the head is complete")
}

fn fields(input: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head(input).headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_head_leaves_the_body_alone() {
    let head = head(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nbody");
    assert_eq!((head.version, head.status, &head.reason[..]), ((1, 1), 200, &b"OK"[..]));
    assert_eq!(head.length, 30);
}

#[test]
fn rsp_01_lines_end_with_crlf_or_lf_and_may_mix() {
    let expected = pairs(&[("A", "1"), ("B", "2")]);
    for input in [
        &b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\nA: 1\nB: 2\n\n",
        b"HTTP/1.1 200 OK\nA: 1\r\nB: 2\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\n",
    ] {
        assert_eq!(fields(input), expected);
        assert_eq!(head(input).length, input.len());
    }
}

#[test]
fn rsp_02_nine_blank_lines_are_skipped_and_ten_are_refused() {
    for blank in [&b"\r\n"[..], b"\n"] {
        let mut input = blank.repeat(9);
        input.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(head(&input).length, input.len());
        assert_eq!(parse(&blank.repeat(9)), Ok(None));
        assert_eq!(parse(&blank.repeat(10)), Err(Error::BadRequest));
    }
}

#[test]
fn rsp_03_the_reason_may_be_empty_or_absent_and_is_verbatim() {
    for (line, reason) in [
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200  two ", " two "),
        ("HTTP/1.1 200 pas trouv\u{e9}", "pas trouv\u{e9}"),
    ] {
        assert_eq!(head(format!("{line}\r\n\r\n").as_bytes()).reason, reason.as_bytes());
    }
}

#[test]
fn rsp_03_versions_are_any_two_digits() {
    assert_eq!(head(b"HTTP/9.0 200 OK\r\n\r\n").version, (9, 0));
    for line in [
        "HTTP/1 200 OK",
        "HTTP/1.x 200 OK",
        "HTTP/11.1 200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1",
        "http/1.1 200 OK",
        "HTTP/1.1200 OK",
        "ICY 200 OK",
        "\rHTTP/1.1 200 OK",
    ] {
        assert_eq!(parse(format!("{line}\r\n").as_bytes()), Err(Error::BadRequest), "{line:?}");
    }
}

#[test]
fn rsp_04_code_after_dot_is_cut() {
    let head = head(b"HTTP/1.1 401.1 Logon failed\r\n\r\n");
    assert_eq!((head.status, &head.reason[..]), (401, &b"Logon failed"[..]));
}

#[test]
fn rsp_04_codes_are_any_decimal_number_of_16_bits() {
    for (code, status) in [("0", 0), ("7", 7), ("0200", 200), ("999", 999), ("65535", 65_535)] {
        assert_eq!(head(format!("HTTP/1.1 {code} x\n\n").as_bytes()).status, status);
    }
    for code in ["abc", "", ".1", "-1", "+200", "2x0", "65536", "99999999999999999999"] {
        let input = format!("HTTP/1.1 {code} x\r\n");
        assert_eq!(parse(input.as_bytes()), Err(Error::BadRequest), "{code:?}");
    }
}

#[test]
fn rsp_05_status_lines_are_at_most_4096_bytes() {
    let line = |len: usize| {
        let mut line = b"HTTP/1.1 200 ".to_vec();
        line.resize(len, b'x');
        line
    };
    assert_eq!(parse(&line(4096)), Ok(None));
    assert_eq!(parse(&line(4097)), Err(Error::LineTooLong));
    assert_eq!(parse(&[&line(4097)[..], b"\n"].concat()), Err(Error::LineTooLong));
    assert_eq!(head(&[&line(4096)[..], b"\n\n"].concat()).length, 4098);
}

#[test]
fn rsp_06_bytes_that_cannot_become_a_response_fail_without_a_line_end() {
    for input in [&b"h"[..], b"X", b"HTTP-", b"\r\nHTX", b"\0\0\x12\x04", b"\n\r\rH", b" HTTP"] {
        assert_eq!(parse(input), Err(Error::NotHttp), "{input:?}");
    }
}

#[test]
fn rsp_06_the_start_of_a_response_waits() {
    let input = b"\r\n\nHTTP/1.1 200 OK\r";
    for len in 0..=input.len() {
        assert_eq!(parse(&input[..len]), Ok(None), "{len}");
    }
}

#[test]
fn rsp_07_fields_are_limited_in_bytes_and_number() {
    let limits = Limits { header_bytes: 20, headers: 2, ..Limits::default() };
    let line = "HTTP/1.1 200 OK\r\n";
    for (block, result) in [
        ("A: 1\r\nB: 2\r\n\r\n", Ok(())),
        ("A: 1\r\nB: 2\r\nC:\n\r\n", Err(Error::Limit(Limit::Headers))),
        ("A: 1\r\nB\r\nC:\n\r\n", Err(Error::Limit(Limit::Headers))),
        ("A: 1234567890123\r\n\r\n", Ok(())),
        ("A: 12345678901234\r\n\r\n", Err(Error::Limit(Limit::HeaderBytes))),
        ("A: 123456789012345678", Err(Error::Limit(Limit::HeaderBytes))),
    ] {
        let parsed = parse_with(format!("{line}{block}").as_bytes(), &limits);
        assert_eq!(parsed.map(|_| ()), result, "{block:?}");
    }
}

#[test]
fn rsp_07_a_mebibyte_of_fields_byte_by_byte_is_searched_once() {
    let mut input = b"HTTP/1.1 200 OK\r\n".to_vec();
    while input.len() < 1 << 20 {
        input.extend_from_slice(b"X-Some-Field: with some value that is a little longer\r\n");
    }
    input.truncate(1 << 20);
    input.extend_from_slice(b"\r\n\r\n");
    let limits = Limits { header_bytes: 2 << 20, headers: 100_000, ..Limits::default() };
    let mut parser = HeadParser::new();
    for len in 0..input.len() {
        assert_eq!(parser.parse(&input[..len], &limits), Ok(None));
        // A parser that starts over would be here or there again, not at the last byte.
        assert!(len < 17 || parser.scanned == len);
    }
    let head = parser.parse(&input, &limits).expect("valid").expect("complete");
    assert_eq!(head.length, input.len());
}

#[test]
fn rsp_08_fields_are_split_at_the_first_colon() {
    assert_eq!(
        fields(b"HTTP/1.1 200 OK\r\nDate: a:b:c\r\n b d : 1\r\n: empty\r\nno colon\r\n\r\n")[1..],
        pairs(&[("", "empty"), ("no colon", "")])
    );
    assert_eq!(
        fields(b"HTTP/1.1 200 OK\r\n first: 1\r\nKey : 2\r\n(): \0\r\n\r\n"),
        pairs(&[(" first", "1"), ("Key ", "2"), ("()", "\0")])
    );
}

#[test]
fn rsp_08_values_lose_white_space_at_both_ends() {
    assert_eq!(
        fields(b"HTTP/1.1 200 OK\r\nA: \t 1 2\t \r\nB:3\r\nC: \r\nD:\r\r\r\nE: a\rb\r\n\r\n"),
        pairs(&[("A", "1 2"), ("B", "3"), ("C", ""), ("D", ""), ("E", "a\rb")])
    );
}

#[test]
fn rsp_09_folded_lines_become_one() {
    assert_eq!(
        fields(b"HTTP/1.1 200 OK\r\nA: 1\r\n  2\r\n\t3\r\nB:\r\n x\r\n \r\nC\n : y\n\n"),
        pairs(&[("A", "1  2 3"), ("B", "x"), ("C ", "y")])
    );
}

#[test]
fn rsp_10_order_case_and_duplicates_are_kept() {
    assert_eq!(
        fields(b"HTTP/1.1 200 OK\r\nset-COOKIE: b\r\nA: 1\r\nSet-Cookie: a\r\n\r\n"),
        pairs(&[("set-COOKIE", "b"), ("A", "1"), ("Set-Cookie", "a")])
    );
}

#[test]
fn more_fields_than_the_fast_path_takes() {
    for count in [FAST_FIELDS, FAST_FIELDS + 1, 500] {
        let mut input = b"HTTP/1.1 200 OK\r\n".to_vec();
        for index in 0..count {
            input.extend_from_slice(format!("X-{index}: {index}\r\n").as_bytes());
        }
        input.extend_from_slice(b"\r\n");
        let list = head(&input).headers;
        let last = (count - 1).to_string();
        assert_eq!(list.len(), count);
        assert_eq!(list.iter().next_back().map(|(_, value)| value), Some(last.as_bytes()));
    }
}

#[test]
fn both_paths_read_a_strict_block_alike() {
    let block = b"Server: nginx\r\nEmpty:\r\nSpaces: \t a  b \t\nBytes: \xff\xfe\r\n\r\n";
    let (mut strict, mut lenient) = (HeaderList::default(), HeaderList::default());
    let limits = Limits::default();
    assert_eq!(strict_fields(block, &limits, &mut strict), Ok(true));
    assert_eq!(lenient_fields(block, &limits, &mut lenient), Ok(()));
    assert_eq!(strict, lenient);
}

#[test]
fn a_parser_goes_on_to_the_next_head() {
    let input = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let mut parser = HeadParser::new();
    let first = parser.parse(input, &Limits::default()).expect("valid").expect("complete");
    let second = parser.parse(&input[first.length..], &Limits::default());
    let second = second.expect("valid").expect("complete");
    assert_eq!((first.status, second.status), (103, 200));
    assert_eq!(first.length + second.length, input.len());
}

#[test]
fn errors_are_lasting() {
    for input in [&b"HTTP/1.1 x\r\n"[..], b"\n\n\n\n\n\n\n\n\n\n", b"GARBAGE"] {
        let mut parser = HeadParser::new();
        let first = parser.parse(input, &Limits::default());
        assert!(first.is_err());
        assert_eq!(parser.parse(input, &Limits::default()), first);
    }
}

mod agreement {
    use proptest::prelude::{any, prop, proptest};
    use proptest::prop_assert_eq;

    use super::{HeaderList, Limits, lenient_fields, strict_fields};
    use crate::http1::parse::find_block_end;

    /// Text close enough to a header block that both parsers find something to do.
    const BLOCK: &str = "([A-Za-z -]{0,4}[:;]?[ \ta-z\u{e9}:]{0,4}(\r\n|\n|\r|\r\n )){0,6}";

    fn agree(block: &[u8]) -> Result<(), proptest::test_runner::TestCaseError> {
        let limits = Limits::default();
        let block = [block, b"\n\n"].concat();
        let end = find_block_end(&block, &mut 0, &mut 0, &mut 0);
        let block = &block[..end.unwrap_or(block.len())];
        let (mut strict, mut lenient) = (HeaderList::default(), HeaderList::default());
        if strict_fields(block, &limits, &mut strict) == Ok(true) {
            prop_assert_eq!(lenient_fields(block, &limits, &mut lenient), Ok(()));
            prop_assert_eq!(strict, lenient);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_lenient_path_reads_all_that_the_strict_one_does(block in BLOCK) {
            agree(block.as_bytes())?;
        }

        #[test]
        fn the_paths_agree_on_any_bytes(block in prop::collection::vec(any::<u8>(), 0..64)) {
            agree(&block)?;
        }

        #[test]
        fn the_paths_agree_on_tidy_fields(
            fields in prop::collection::vec(("[!-9;-~]{1,8}", "[ \t]{0,2}[ -~]{0,8}[ \t]{0,2}"), 0..8)
        ) {
            let mut block = String::new();
            for (name, value) in &fields {
                block.push_str(&format!("{name}:{value}\r\n"));
            }
            agree(block.as_bytes())?;
        }
    }
}
