//! Header sections: ours checked and made ready, theirs taken over (RFC 9113, section 8).

use http::header::{HeaderMap, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};

use crate::command::Request;
use crate::error::{Error, Limit};
use crate::headers::HeaderList;

/// What a field adds to the size of its section, besides its text (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// What every request of a connection says of its server.
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Option<Authority>,
    /// The size of the pseudo-header fields, those of the method and the path not counted.
    size: usize,
}

impl Origin {
    /// The origin dialled: `host_header` is `host` or `host:port`, of which only the host counts.
    pub(crate) fn new(host_header: &[u8], port: u16, tls: bool) -> Self {
        let scheme = if tls { Scheme::HTTPS } else { Scheme::HTTP };
        let mut authority = without_port(host_header).to_vec();
        let default = if tls { 443 } else { 80 };
        if port != default && port != 0 {
            authority.extend_from_slice(format!(":{port}").as_bytes());
        }
        let size = authority.len() + scheme.as_str().len() + 4 * FIELD_OVERHEAD + 32;
        let authority =
            Authority::try_from(&authority[..]).ok().filter(|it| !it.as_str().contains('@'));
        Self { scheme, authority, size }
    }
}

/// A `Host` field's value without its port, brackets of IPv6 kept.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    }
}

/// The head of a request, ready to be sent, and the size of its header section.
///
/// Names are lower-cased and a `Host` field is left out, `:authority` being in its place. Nothing
/// is added.
///
/// # Errors
/// [`Error::ProtocolError`] for what HTTP/2 does not allow: CONNECT, a target that is not in
/// origin form (or `*` with OPTIONS), fields that are about the connection, malformed names and
/// values, blanks around values.
pub(crate) fn request<P>(
    request: &Request<P>,
    origin: &Origin,
) -> Result<(http::Request<()>, usize), Error> {
    let method = Method::from_bytes(&request.method).map_err(|_| Error::ProtocolError)?;
    if method == Method::CONNECT {
        return Err(Error::ProtocolError);
    }
    let path = path(&request.target, &method)?;
    let mut size = origin.size + method.as_str().len() + path.as_str().len();
    let fields = fields(&request.headers, &mut size)?;
    let uri = Uri::builder()
        .scheme(origin.scheme.clone())
        .authority(origin.authority.clone().ok_or(Error::ProtocolError)?)
        .path_and_query(path)
        .build()
        .map_err(|_| Error::ProtocolError)?;
    let mut head = http::Request::new(());
    *head.method_mut() = method;
    *head.uri_mut() = uri;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = fields;
    Ok((head, size))
}

fn path(target: &[u8], method: &Method) -> Result<PathAndQuery, Error> {
    let allowed = match target {
        b"" => return Ok(PathAndQuery::from_static("/")),
        b"*" => *method == Method::OPTIONS,
        // What follows a number sign would not be sent.
        target => target.starts_with(b"/") && !target.contains(&b'#'),
    };
    if !allowed {
        return Err(Error::ProtocolError);
    }
    PathAndQuery::try_from(target).map_err(|_| Error::ProtocolError)
}

/// A trailer section, ready to be sent; the same errors as for [`request`].
pub(crate) fn trailers(list: &HeaderList) -> Result<HeaderMap, Error> {
    fields(list, &mut 0)
}

fn fields(list: &HeaderList, size: &mut usize) -> Result<HeaderMap, Error> {
    // Only a hint: fields of one name share a place, so that more may fit than it can promise.
    let mut map = HeaderMap::try_with_capacity(list.len()).unwrap_or_default();
    for (name, value) in list.iter() {
        let name = HeaderName::from_bytes(name).map_err(|_| Error::ProtocolError)?;
        if name == http::header::HOST {
            continue;
        }
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if blank(value.first()) || blank(value.last()) || is_about_connection(&name, value) {
            return Err(Error::ProtocolError);
        }
        *size += name.as_str().len() + value.len() + FIELD_OVERHEAD;
        let value = HeaderValue::from_bytes(value).map_err(|_| Error::ProtocolError)?;
        map.try_append(name, value).map_err(|_| Error::HeaderListTooLarge)?;
    }
    Ok(map)
}

fn is_about_connection(name: &HeaderName, value: &[u8]) -> bool {
    match name.as_str() {
        "connection" | "proxy-connection" | "keep-alive" | "transfer-encoding" | "upgrade" => true,
        _ => *name == TE && value != b"trailers",
    }
}

/// A header section of the peer, of which `most` bytes are allowed. Fields of the same name stand
/// together, in order.
///
/// # Errors
/// `limit`, if it is larger.
pub(crate) fn list(map: &HeaderMap, most: usize, limit: Limit) -> Result<HeaderList, Error> {
    let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if bytes + map.len() * FIELD_OVERHEAD > most {
        return Err(Error::Limit(limit));
    }
    let mut list = HeaderList::with_capacity(map.len(), bytes);
    for (name, value) in map {
        list.push(name.as_str().as_bytes(), value.as_bytes());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::{Origin, list, request, trailers};
    use crate::command::{Content, Request};
    use crate::error::{Error, Limit};
    use crate::headers::HeaderList;

    struct NoPayload;

    fn origin() -> Origin {
        Origin::new(b"example.org:8443", 8443, true)
    }

    fn build(
        method: impl Into<Vec<u8>>,
        target: impl Into<Vec<u8>>,
        fields: &[(&str, &str)],
    ) -> Result<http::Request<()>, Error> {
        let mut headers = HeaderList::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        let content: Content<NoPayload> = Content::Empty;
        let (method, target) = (method.into(), target.into());
        request(&Request { method, target, headers, content }, &origin()).map(|(head, _)| head)
    }

    /// The bytes for which `build` gives an error.
    fn refused<T>(build: impl Fn(u8) -> Result<T, Error>) -> Vec<u8> {
        (0..=255)
            .filter(|byte| match build(*byte) {
                Ok(_) => false,
                Err(error) => {
                    assert_eq!(error, Error::ProtocolError, "byte {byte}");
                    true
                }
            })
            .collect()
    }

    fn all_but(allowed: impl Fn(u8) -> bool) -> Vec<u8> {
        (0..=255).filter(|byte| !allowed(*byte)).collect()
    }

    // Clauses: H2-1
    #[test]
    fn names_are_lower_case_and_nothing_is_added() {
        let head = build("GET", "/a?b", &[("X-B", "1"), ("Host", "other"), ("x-b", "2")]).unwrap();
        assert_eq!(head.uri().to_string(), "https://example.org:8443/a?b");
        let fields: Vec<_> = head.headers().iter().collect();
        assert_eq!(fields.len(), 2);
        assert!(fields.iter().all(|(name, _)| name.as_str() == "x-b"));
    }

    // Clauses: H2-1, REQ-1
    #[test]
    fn the_authority_names_ports_other_than_the_default() {
        let name = |host: &str, port, tls| {
            Origin::new(host.as_bytes(), port, tls).authority.map(|it| it.to_string())
        };
        assert_eq!(name("a.test:443", 443, true).as_deref(), Some("a.test"));
        assert_eq!(name("a.test", 80, false).as_deref(), Some("a.test"));
        assert_eq!(name("a.test", 80, true).as_deref(), Some("a.test:80"));
        assert_eq!(name("[::1]:8443", 8443, true).as_deref(), Some("[::1]:8443"));
        assert_eq!(name("[::1]", 443, true).as_deref(), Some("[::1]"));
        assert_eq!(name("u@a.test", 443, true), None);
        assert_eq!(build("GET", "", &[]).unwrap().uri().path(), "/");
    }

    // Clauses: H2-2
    #[test]
    fn what_http_2_does_not_allow_is_refused() {
        let refused = [
            build("CONNECT", "/", &[]),
            build("GET", "relative", &[]),
            build("GET", "http://other.test/", &[]),
            build("GET", "*", &[]),
            build("GET", "/a b", &[]),
            build("GET", "/a#b", &[]),
            build("G T", "/", &[]),
            build("GET", "/", &[("connection", "close")]),
            build("GET", "/", &[("Proxy-Connection", "x")]),
            build("GET", "/", &[("keep-alive", "x")]),
            build("GET", "/", &[("transfer-encoding", "chunked")]),
            build("GET", "/", &[("upgrade", "x")]),
            build("GET", "/", &[("te", "gzip")]),
            build("GET", "/", &[("bad name", "x")]),
            build("GET", "/", &[(":path", "/")]),
            build("GET", "/", &[("x", " a")]),
            build("GET", "/", &[("x", "a\t")]),
            build("GET", "/", &[("x", "a\r\nb: c")]),
            build("GET", "/", &[("x", "a\0")]),
        ];
        for (index, result) in refused.into_iter().enumerate() {
            assert_eq!(result.err(), Some(Error::ProtocolError), "case {index}");
        }
        assert!(build("OPTIONS", "*", &[("te", "trailers"), ("x", "")]).is_ok());
    }

    // Clauses: H2-4
    #[test]
    fn more_fields_than_can_be_held_are_refused() {
        let (mut apart, mut alike) = (HeaderList::default(), HeaderList::default());
        for index in 0..30_000 {
            apart.push(format!("x-{index}").as_bytes(), b"y");
            alike.push(b"x", b"y");
        }
        assert_eq!(trailers(&apart).err(), Some(Error::HeaderListTooLarge));
        assert_eq!(trailers(&alike).map(|map| map.len()), Ok(30_000));
        let ask = |headers| {
            let (method, target) = (b"GET".to_vec(), b"/".to_vec());
            let content: Content<NoPayload> = Content::Empty;
            request(&Request { method, target, headers, content }, &origin()).err()
        };
        assert_eq!(ask(apart), Some(Error::HeaderListTooLarge));
        assert_eq!(ask(alike), None);
    }

    // Clauses: H2-1
    #[test]
    fn fields_keep_their_order_and_those_of_one_name_stand_together() {
        let given = [("z", "1"), ("Accept", "2"), ("b", "3"), ("Z", "4"), ("a", "5"), ("b", "6")];
        let head = build("GET", "/", &given).unwrap();
        let sent: Vec<_> = head
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected =
            [("z", "1"), ("z", "4"), ("accept", "2"), ("b", "3"), ("b", "6"), ("a", "5")];
        assert_eq!(sent, expected);
        let came = list(head.headers(), 1000, Limit::HeaderBytes).unwrap();
        let came: Vec<_> = came.iter().collect();
        assert_eq!(came, expected.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    }

    // Clauses: H2-2
    #[test]
    fn bytes_that_are_refused_in_targets() {
        let around = |before: &[u8], byte| [before, &[byte], b"c"].concat();
        let target = |before: &'static [u8]| {
            move |byte| {
                let target = around(before, byte);
                let head = build("GET", target.as_slice(), &[])?;
                // What is not refused is sent as it is.
                assert_eq!(head.uri().path_and_query().unwrap().as_str().as_bytes(), target);
                Ok(())
            }
        };
        let visible = |byte: u8| byte.is_ascii_graphic();
        let path = all_but(|byte| visible(byte) && !b"#<>`".contains(&byte));
        assert_eq!(refused(target(b"/a")), path);
        let query = all_but(|byte| visible(byte) && !b"#<>\"".contains(&byte));
        assert_eq!(refused(target(b"/a?b")), query);
        // Bytes beyond ASCII only as UTF-8.
        assert!(build("GET", "/\u{e9}?\u{20ac}", &[]).is_ok());
        assert!(build("GET", &b"/\xe9"[..], &[]).is_err());
    }

    // Clauses: H2-2
    #[test]
    fn the_longest_target() {
        let target = |len: usize| [b"/".as_slice(), &vec![b'a'; len - 1]].concat();
        assert!(build("GET", target(65_534), &[]).is_ok());
        assert_eq!(build("GET", target(65_535), &[]).err(), Some(Error::ProtocolError));
    }

    // Clauses: H2-2
    #[test]
    fn bytes_that_are_refused_in_methods_and_fields() {
        // RFC 9110, section 5.6.2
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(refused(|byte| build([b'A', byte], "/", &[])), all_but(token));
        assert_eq!(build("", "/", &[]).err(), Some(Error::ProtocolError));
        let field = |name: &[u8], value: &[u8]| {
            let mut list = HeaderList::default();
            list.push(name, value);
            let map = trailers(&list)?;
            let (sent, as_given) = map.iter().next().unwrap();
            assert_eq!(sent.as_str().as_bytes(), name.to_ascii_lowercase());
            assert_eq!(as_given.as_bytes(), value);
            Ok(())
        };
        assert_eq!(refused(|byte| field(&[b'a', byte], b"")), all_but(token));
        assert_eq!(field(b"", b""), Err(Error::ProtocolError));
        let no_control = |byte| byte == b'\t' || !u8::is_ascii_control(&byte);
        assert_eq!(refused(|byte| field(b"a", &[b'b', byte, b'c'])), all_but(no_control));
        // Not around a value.
        let blank = |byte| byte == b' ' || byte == b'\t';
        let around = all_but(|byte| no_control(byte) && !blank(byte));
        assert_eq!(refused(|byte| field(b"a", &[byte, b'c'])), around);
        assert_eq!(refused(|byte| field(b"a", &[b'b', byte])), around);
    }

    #[test]
    fn trailers_are_held_to_the_same_rules() {
        let mut list = HeaderList::default();
        list.push(b"Grpc-Status", b"0");
        assert_eq!(trailers(&list).unwrap()["grpc-status"], "0");
        list.push(b"connection", b"close");
        assert_eq!(trailers(&list).err(), Some(Error::ProtocolError));
    }
}
