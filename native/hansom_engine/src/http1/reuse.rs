//! Whether a connection may carry another exchange.

use crate::headers::HeaderList;

/// The keep-alive decision after a response of `version` with `headers` (RFC 9112, section 9.3).
///
/// `request_close` says that the request carried a `close` token in a `Connection` field. A
/// `close` of either side wins; then HTTP/1.1 keeps the connection, HTTP/1.0 keeps it only with a
/// `keep-alive` token, and any other version does not.
///
/// A message whose framing fields contradict each other is read as [`framing`](super::framing)
/// says, but where the next one begins is then a matter of opinion (RFC 9112, section 11.2), so
/// that it ends the connection.
#[must_use]
pub fn keeps_alive(request_close: bool, version: (u8, u8), headers: &HeaderList) -> bool {
    if request_close || headers.has_token(b"connection", b"close") || is_ambiguous(headers) {
        return false;
    }
    match version {
        (1, 1) => true,
        (1, 0) => headers.has_token(b"connection", b"keep-alive"),
        _ => false,
    }
}

fn is_ambiguous(headers: &HeaderList) -> bool {
    let mut lengths = headers.values(b"content-length");
    let Some(first) = lengths.next() else { return false };
    headers.contains(b"transfer-encoding") || lengths.any(|other| other != first)
}

#[cfg(test)]
mod tests {
    use super::keeps_alive;
    use crate::headers::HeaderList;

    fn connection(values: &[&[u8]]) -> HeaderList {
        let mut list = HeaderList::default();
        for value in values {
            list.push(b"Connection", value);
        }
        list
    }

    #[test]
    fn rsp_27_http_1_1_keeps_unless_either_side_closes() {
        assert!(keeps_alive(false, (1, 1), &connection(&[])));
        assert!(keeps_alive(false, (1, 1), &connection(&[b"closed, close-notify"])));
        assert!(!keeps_alive(true, (1, 1), &connection(&[b"keep-alive"])));
        assert!(!keeps_alive(false, (1, 1), &connection(&[b"Upgrade", b"keep-alive,\t CLOSE "])));
    }

    #[test]
    fn rsp_27_http_1_0_keeps_only_when_told() {
        assert!(!keeps_alive(false, (1, 0), &connection(&[])));
        assert!(keeps_alive(false, (1, 0), &connection(&[b"x, Keep-Alive"])));
        assert!(!keeps_alive(false, (1, 0), &connection(&[b"keep-alive", b"close"])));
    }

    #[test]
    fn rsp_27_other_versions_never_keep() {
        for version in [(0, 9), (1, 2), (2, 0), (9, 9)] {
            assert!(!keeps_alive(false, version, &connection(&[b"keep-alive"])));
        }
    }

    #[test]
    fn contradicting_framing_ends_the_connection() {
        let kept = |fields: &[(&[u8], &[u8])]| {
            let mut list = HeaderList::default();
            for (name, value) in fields {
                list.push(name, value);
            }
            keeps_alive(false, (1, 1), &list)
        };
        assert!(kept(&[(b"Content-Length", b"5"), (b"content-length", b"5")]));
        assert!(!kept(&[(b"Content-Length", b"5"), (b"Content-Length", b"6")]));
        assert!(!kept(&[(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]));
        assert!(kept(&[(b"Transfer-Encoding", b"chunked")]));
    }
}
