//! The query of a request: `name=value` pairs, percent-encoded.

use http::Request;

use super::{Refusal, bad_request};

/// The decoded value of the first pair with this name.
pub(super) fn text<B>(request: &Request<B>, name: &str) -> Option<String> {
    pairs(request).find(|(key, _)| *key == name).map(|(_, value)| decode(value))
}

/// The number under this name, or `default` when the name is absent.
pub(super) fn number<B>(request: &Request<B>, name: &str, default: u64) -> Result<u64, Refusal> {
    match pairs(request).find(|(key, _)| *key == name) {
        None => Ok(default),
        Some((_, value)) => value.parse().map_err(|_| bad_request("a query value is not a number")),
    }
}

/// All pairs in order, undecoded.
pub(super) fn pairs<B>(request: &Request<B>) -> impl Iterator<Item = (&str, &str)> {
    request
        .uri()
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(value: &str) -> String {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let escaped = match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => Some(high << 4 | low),
            _ => None,
        };
        if escaped.is_some() {
            rest = ahead;
        }
        decoded.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse().expect("a valid URI");
        request
    }

    #[test]
    fn decodes_escapes_and_leaves_broken_ones() {
        assert_eq!(text(&request("/?url=http%3a%2F%2Fx%2"), "url").as_deref(), Some("http://x%2"));
        assert_eq!(text(&request("/?a&b=%"), "b").as_deref(), Some("%"));
        assert_eq!(text(&request("/?a&b=1"), "a").as_deref(), Some(""));
        assert_eq!(text(&request("/"), "a"), None);
    }

    #[test]
    fn refuses_what_is_no_number() {
        assert_eq!(number(&request("/?n=7"), "n", 1).ok(), Some(7));
        assert_eq!(number(&request("/"), "n", 1).ok(), Some(1));
        assert!(number(&request("/?n=-7"), "n", 1).is_err());
    }
}
