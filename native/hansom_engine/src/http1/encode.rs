//! Request heads and chunk frames.

use memchr::memchr2;

use crate::headers::HeaderList;

/// What ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Values of the fields that are added to requests without them.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// The `Host` field.
    pub host: &'a [u8],
    /// The `User-Agent` field.
    pub user_agent: &'a [u8],
}

/// Appends the head of a request whose content, if any, follows as a whole.
///
/// `content_length` is the number of bytes that follow; `None` leaves the length to `headers`.
/// `Host`, `User-Agent` and `Content-Length` are added, in this order after the fields given,
/// where they are absent. An empty content has a `Content-Length` only with POST, PUT and PATCH
/// (RFC 9110, section 8.6). An empty target becomes `/`. CR and LF are deleted wherever they
/// occur, so that no field can smuggle another one.
pub fn request_head(
    out: &mut Vec<u8>,
    method: &[u8],
    target: &[u8],
    headers: &HeaderList,
    content_length: Option<u64>,
    defaults: &Defaults<'_>,
) {
    let added = defaults.host.len() + defaults.user_agent.len() + 64;
    out.reserve(head_size(method, target, headers) + added);
    request_line(out, method, target);

    let (mut host, mut user_agent, mut length) = (false, false, false);
    for (name, value) in headers.iter() {
        let name = field(out, name, value);
        // Lengths differ, so that most names cost one comparison.
        match name.len() {
            4 => host |= name.eq_ignore_ascii_case(b"host"),
            10 => user_agent |= name.eq_ignore_ascii_case(b"user-agent"),
            14 => length |= name.eq_ignore_ascii_case(b"content-length"),
            _ => {}
        }
    }
    if !host {
        field(out, b"Host", defaults.host);
    }
    if !user_agent {
        field(out, b"User-Agent", defaults.user_agent);
    }
    if !length {
        match content_length {
            Some(0) if expects_content(method) => {
                field(out, b"Content-Length", b"0");
            }
            Some(bytes) if bytes > 0 => {
                field(out, b"Content-Length", bytes.to_string().as_bytes());
            }
            Some(_) | None => {}
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a request whose content follows in chunks: the fields given and, where it
/// is absent, `Transfer-Encoding: chunked`. No other field is added. Target and line ends are
/// treated as in [`request_head`].
pub fn streaming_head(out: &mut Vec<u8>, method: &[u8], target: &[u8], headers: &HeaderList) {
    out.reserve(head_size(method, target, headers) + 32);
    request_line(out, method, target);
    let mut transfer_encoding = false;
    for (name, value) in headers.iter() {
        transfer_encoding |= field(out, name, value).eq_ignore_ascii_case(b"transfer-encoding");
    }
    if !transfer_encoding {
        field(out, b"Transfer-Encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the size line of a chunk of `len` bytes, in upper-case hexadecimal. The data and then
/// [`CHUNK_END`] follow. A chunk of 0 bytes would end the body: write nothing for it instead.
pub fn chunk_start(out: &mut Vec<u8>, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let significant = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..significant).rev().map(|place| DIGITS[(len >> (4 * place)) & 0xf]));
    out.extend_from_slice(b"\r\n");
}

/// Appends what ends a chunked body: the last chunk and the trailer section. Line ends are deleted
/// from the fields as in [`request_head`].
pub fn last_chunk(out: &mut Vec<u8>, trailers: &HeaderList) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter() {
        field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn head_size(method: &[u8], target: &[u8], headers: &HeaderList) -> usize {
    // `HeaderList::size` counts 8 bytes a field beyond the text; ": " and CRLF are 4 of them.
    method.len() + target.len() + headers.size() + 16
}

fn request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    text(out, method);
    out.push(b' ');
    text(out, if target.is_empty() { b"/" } else { target });
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends a field and returns its name as written.
fn field<'a>(out: &'a mut Vec<u8>, name: &[u8], value: &[u8]) -> &'a [u8] {
    let start = out.len();
    text(out, name);
    let end = out.len();
    out.extend_from_slice(b": ");
    text(out, value);
    out.extend_from_slice(b"\r\n");
    &out[start..end]
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    if memchr2(b'\r', b'\n', text).is_none() {
        out.extend_from_slice(text);
    } else {
        out.extend(text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    }
}

fn expects_content(method: &[u8]) -> bool {
    [&b"POST"[..], b"PUT", b"PATCH"].iter().any(|name| method.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::{Defaults, chunk_start, request_head, streaming_head};
    use crate::headers::HeaderList;

    const DEFAULTS: Defaults<'_> = Defaults { host: b"example.org:8080", user_agent: b"agent/1" };
    const ADDED: &str = "Host: example.org:8080\r\nUser-Agent: agent/1\r\n";

    fn list(fields: &[(&[u8], &[u8])]) -> HeaderList {
        let mut list = HeaderList::default();
        for (name, value) in fields {
            list.push(name, value);
        }
        list
    }

    fn head(method: &str, fields: &[(&[u8], &[u8])], length: Option<u64>) -> String {
        let mut out = Vec::new();
        request_head(&mut out, method.as_bytes(), b"/a?b", &list(fields), length, &DEFAULTS);
        String::from_utf8(out).expect("the fields of these tests are text")
    }

    fn streamed(fields: &[(&[u8], &[u8])]) -> String {
        let mut out = Vec::new();
        streaming_head(&mut out, b"POST", b"/up", &list(fields));
        String::from_utf8(out).expect("the fields of these tests are text")
    }

    #[test]
    fn req_01_request_line_is_verbatim() {
        assert_eq!(head("gEt", &[], Some(0)), format!("gEt /a?b HTTP/1.1\r\n{ADDED}\r\n"));
    }

    #[test]
    fn req_01_an_empty_target_becomes_a_slash_on_both_paths() {
        let mut out = Vec::new();
        request_head(&mut out, b"GET", b"", &HeaderList::default(), None, &DEFAULTS);
        assert!(out.starts_with(b"GET / HTTP/1.1\r\n"));
        out.clear();
        streaming_head(&mut out, b"POST", b"", &HeaderList::default());
        assert!(out.starts_with(b"POST / HTTP/1.1\r\n"));
    }

    #[test]
    fn req_04_fields_keep_case_order_and_duplicates_and_come_first() {
        let fields: [(&[u8], &[u8]); 3] = [(b"x-B", b"1"), (b"A", b""), (b"x-B", b"2")];
        assert_eq!(
            head("GET", &fields, Some(0)),
            format!("GET /a?b HTTP/1.1\r\nx-B: 1\r\nA: \r\nx-B: 2\r\n{ADDED}\r\n")
        );
    }

    #[test]
    fn req_05_line_ends_are_deleted_and_nul_is_kept() {
        let fields: [(&[u8], &[u8]); 1] = [(b"X\r\n-Y", b"a\r\nB: c\0")];
        assert!(head("GET", &fields, Some(0)).contains("\r\nX-Y: aB: c\0\r\n"));
        assert!(streamed(&fields).contains("\r\nX-Y: aB: c\0\r\n"));
    }

    #[test]
    fn req_05_a_name_counts_as_it_is_written() {
        let head = head("POST", &[(b"Ho\r\nst", b"h"), (b"content-Length\n", b"3")], Some(3));
        assert_eq!(head.matches("Host: ").count(), 1);
        assert_eq!(head.to_ascii_lowercase().matches("content-length: ").count(), 1);
    }

    #[test]
    fn req_06_defaults_are_added_only_if_absent() {
        let fields: [(&[u8], &[u8]); 3] =
            [(b"hOST", b"h"), (b"user-agent", b""), (b"CONTENT-LENGTH", b"9")];
        assert_eq!(
            head("POST", &fields, Some(5)),
            "POST /a?b HTTP/1.1\r\nhOST: h\r\nuser-agent: \r\nCONTENT-LENGTH: 9\r\n\r\n"
        );
    }

    #[test]
    fn req_06_content_has_its_length() {
        assert_eq!(
            head("DELETE", &[], Some(1_234_567)),
            format!("DELETE /a?b HTTP/1.1\r\n{ADDED}Content-Length: 1234567\r\n\r\n")
        );
    }

    #[test]
    fn req_06_empty_content_has_a_length_with_post_put_and_patch_only() {
        for method in ["POST", "put", "Patch"] {
            assert!(head(method, &[], Some(0)).ends_with("\r\nContent-Length: 0\r\n\r\n"));
        }
        for method in ["GET", "DELETE", "QUERY", "POSTER"] {
            assert!(!head(method, &[], Some(0)).contains("Content-Length"));
        }
    }

    #[test]
    fn req_09_content_in_pieces_leaves_the_length_to_the_fields() {
        assert!(!head("POST", &[], None).contains("Content-Length"));
        let fields: [(&[u8], &[u8]); 1] = [(b"Transfer-Encoding", b"chunked")];
        assert!(head("POST", &fields, Some(4)).contains("Content-Length: 4\r\n"));
    }

    #[test]
    fn req_10_the_streaming_head_adds_nothing_but_chunked() {
        assert_eq!(
            streamed(&[(b"Content-Length", b"7")]),
            "POST /up HTTP/1.1\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            streamed(&[(b"transfer-encoding", b"gzip")]),
            "POST /up HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n"
        );
    }

    #[test]
    fn req_10_chunk_sizes_are_upper_case_hexadecimal() {
        for (len, line) in [(0, "0"), (1, "1"), (15, "F"), (16, "10"), (0xabcde, "ABCDE")] {
            let mut out = Vec::new();
            chunk_start(&mut out, len);
            assert_eq!(out, format!("{line}\r\n").as_bytes());
        }
        let mut out = Vec::new();
        chunk_start(&mut out, usize::MAX);
        assert_eq!(out, format!("{:X}\r\n", usize::MAX).as_bytes());
    }

    #[test]
    fn req_14_query_is_an_ordinary_method() {
        assert!(head("QUERY", &[], Some(2)).contains("Content-Length: 2\r\n"));
    }
}
