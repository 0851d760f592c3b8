//! Header sections: requests as they are sent, responses as they are understood (RFC 9114,
//! section 4).

use http::HeaderMap;

use super::code::{Code, Fault, MALFORMED, Violation};
use super::{frames, qpack};
use crate::error::{Error, Limit};
use crate::headers::HeaderList;

/// A header section of the peer.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The status, unless it is a trailer section.
    pub(super) status: Option<u16>,
    pub(super) headers: HeaderList,
    /// The length of the content, if that is told.
    pub(super) length: Option<u64>,
}

/// The HEADERS frame of a request.
pub(super) fn request(head: &http::Request<()>) -> Vec<u8> {
    let uri = head.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let pseudo = [
        (":method", head.method().as_str()),
        (":path", path),
        (":scheme", uri.scheme_str().unwrap_or("https")),
        (":authority", uri.authority().map_or("", |authority| authority.as_str())),
    ];
    section(&pseudo, head.headers())
}

/// The HEADERS frame of a trailer section.
pub(super) fn trailers(fields: &HeaderMap) -> Vec<u8> {
    section(&[], fields)
}

fn section(pseudo: &[(&str, &str)], fields: &HeaderMap) -> Vec<u8> {
    let mut section = Vec::with_capacity(128);
    qpack::begin(&mut section);
    for (name, value) in pseudo {
        qpack::encode(name.as_bytes(), value.as_bytes(), &mut section);
    }
    for (name, value) in fields {
        qpack::encode(name.as_str().as_bytes(), value.as_bytes(), &mut section);
    }
    let mut frame = Vec::with_capacity(section.len() + 8);
    frames::head(frames::HEADERS, section.len(), &mut frame);
    frame.append(&mut section);
    frame
}

/// Reads the head of a response, of which `most` bytes are allowed.
pub(super) fn response(bytes: &[u8], most: usize) -> Result<Section, Fault> {
    let section = read(bytes, most, Limit::HeaderBytes, true)?;
    match section.status {
        // Nothing can be switched to (RFC 9114, section 4.5).
        Some(101) => Err(Fault::Stream(MALFORMED)),
        Some(_) => Ok(section),
        None => Err(Fault::Stream(Error::NoStatus)),
    }
}

/// Reads a trailer section, of which `most` bytes are allowed.
pub(super) fn read_trailers(bytes: &[u8], most: usize) -> Result<HeaderList, Fault> {
    read(bytes, most, Limit::TrailerBytes, false).map(|section| section.headers)
}

fn read(bytes: &[u8], most: usize, limit: Limit, is_head: bool) -> Result<Section, Fault> {
    let mut section = Section::default();
    let read = qpack::decode(bytes, most, |name, value| {
        if name.first() == Some(&b':') {
            // Before all other fields, and only where there is a status to be told.
            let allowed = is_head && name == b":status" && section.headers.is_empty();
            if !allowed || section.status.is_some() {
                return Err(());
            }
            section.status = Some(status(value).ok_or(())?);
            return Ok(());
        }
        if !is_name(name) || !is_value(value) || is_about_connection(name) {
            return Err(());
        }
        if is_head && name == b"content-length" {
            let length = length(value).ok_or(())?;
            if section.length.replace(length).is_some_and(|other| other != length) {
                return Err(());
            }
        }
        section.headers.push(name, value);
        Ok(())
    });
    match read {
        Ok(()) => Ok(section),
        Err(qpack::Failure::Field(())) => Err(Fault::Stream(MALFORMED)),
        Err(qpack::Failure::TooLarge) => Err(Fault::Stream(Error::Limit(limit))),
        Err(qpack::Failure::Malformed) => Err(Fault::Connection(Violation::new(
            Code::QPACK_DECOMPRESSION_FAILED,
            "a header section cannot be decoded",
        ))),
    }
}

fn status(value: &[u8]) -> Option<u16> {
    match value {
        [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            let digit = |byte: &u8| u16::from(*byte - b'0');
            Some(100 * digit(hundreds) + 10 * digit(tens) + digit(ones))
        }
        _ => None,
    }
}

fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether this is a field name (RFC 9110, section 5.1) without upper case.
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| {
        matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*'
            | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
    };
    !name.is_empty() && name.iter().all(is_token)
}

fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..))
}

fn is_about_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] =
        [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::{Fault, MALFORMED, Section, read_trailers, request, response};
    use crate::error::{Error, Limit};
    use crate::http3::{frames, qpack, varint};

    fn section(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut section = Vec::new();
        qpack::begin(&mut section);
        for (name, value) in fields {
            qpack::encode(name.as_bytes(), value.as_bytes(), &mut section);
        }
        section
    }

    fn read(fields: &[(&str, &str)]) -> Result<Section, Fault> {
        response(&section(fields), 10_000)
    }

    // Clauses: H3-1
    #[test]
    fn a_request_begins_with_its_pseudo_header_fields() {
        let head = http::Request::builder()
            .method("POST")
            .uri("https://a.test:8443/path?query")
            .header("b", "1")
            .header("a", "2")
            .header("b", "3")
            .body(())
            .unwrap();
        let frame = request(&head);
        let (kind, at) = varint::read(&frame).unwrap();
        let (length, more) = varint::read(&frame[at..]).unwrap();
        let section = &frame[at + more..];
        assert_eq!((kind, length), (frames::HEADERS, section.len() as u64));
        let mut fields = Vec::new();
        qpack::decode(section, 10_000, |name, value| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.push(format!("{} {}", text(name), text(value)));
            Ok::<_, ()>(())
        })
        .unwrap();
        let expected = [
            ":method POST",
            ":path /path?query",
            ":scheme https",
            ":authority a.test:8443",
            "b 1",
            "b 3",
            "a 2",
        ];
        assert_eq!(fields, expected);
    }

    // Clauses: RSP-10
    #[test]
    fn fields_keep_their_order() {
        let fields =
            [(":status", "200"), ("b", "1"), ("a", "2"), ("b", " 3 "), ("content-length", "7")];
        let section = read(&fields).unwrap();
        assert_eq!((section.status, section.length), (Some(200), Some(7)));
        let read: Vec<_> = section.headers.iter().collect();
        assert_eq!(read[..3], [(&b"b"[..], &b"1"[..]), (b"a", b"2"), (b"b", b" 3 ")]);
    }

    // Clauses: H3-9
    #[test]
    fn malformed_heads_are_told() {
        let malformed: [&[(&str, &str)]; 16] = [
            &[(":status", "2000")],
            &[(":status", "abc")],
            &[(":status", "099")],
            &[(":status", "101")],
            &[(":status", "200"), (":status", "200")],
            &[("a", "b"), (":status", "200")],
            &[(":status", "200"), (":path", "/")],
            &[(":status", "200"), ("Upper", "x")],
            &[(":status", "200"), ("", "x")],
            &[(":status", "200"), ("a b", "x")],
            &[(":status", "200"), ("a", "x\r\ny")],
            &[(":status", "200"), ("a", "\0")],
            &[(":status", "200"), ("connection", "close")],
            &[(":status", "200"), ("transfer-encoding", "chunked")],
            &[(":status", "200"), ("content-length", "+5")],
            &[(":status", "200"), ("content-length", "5"), ("content-length", "6")],
        ];
        for (index, fields) in malformed.into_iter().enumerate() {
            assert_eq!(read(fields).unwrap_err(), Fault::Stream(MALFORMED), "case {index}");
        }
        assert_eq!(read(&[("a", "b")]).unwrap_err(), Fault::Stream(Error::NoStatus));
        assert!(matches!(response(&[0], 10), Err(Fault::Connection(_))));
        assert!(
            read(&[(":status", "200"), ("content-length", "5"), ("content-length", "5")]).is_ok()
        );
    }

    // Clauses: RSP-7
    #[test]
    fn sections_have_a_limit() {
        let large = section(&[(":status", "200"), ("a", &"x".repeat(100))]);
        let refused = Fault::Stream(Error::Limit(Limit::HeaderBytes));
        assert_eq!(response(&large, 100).unwrap_err(), refused);
        let refused = Fault::Stream(Error::Limit(Limit::TrailerBytes));
        assert_eq!(read_trailers(&section(&[("a", &"x".repeat(100))]), 100), Err(refused));
    }

    // Clauses: H3-11
    #[test]
    fn trailers_have_no_status() {
        assert_eq!(read_trailers(&section(&[("a", "b")]), 100).unwrap().len(), 1);
        let refused = read_trailers(&section(&[(":status", "200")]), 100);
        assert_eq!(refused, Err(Fault::Stream(MALFORMED)));
    }
}
