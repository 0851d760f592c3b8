//! Frames of HTTP/2 (RFC 9113, 4), right or wrong, and their steps as text.

use bytes::{BufMut, Bytes, BytesMut};

use super::Step;
use super::parse::{number, string};

/// Names of frame types; the value is the place in the list (RFC 9113, 6).
const KINDS: [&str; 10] = [
    "data",
    "headers",
    "priority",
    "rst_stream",
    "settings",
    "push_promise",
    "ping",
    "goaway",
    "window_update",
    "continuation",
];

const FLAGS: [(&str, u8); 5] =
    [("end_stream", 0x1), ("ack", 0x1), ("end_headers", 0x4), ("padded", 0x8), ("priority", 0x20)];

/// Type of SETTINGS frames.
pub(super) const SETTINGS: u8 = 4;

/// Longest payload a frame can have, in bytes.
const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// One frame of HTTP/2. Nothing keeps it from breaking the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream identifier, and the reserved bit.
    pub stream: u32,
    /// What follows the head; at most 16777215 bytes, the rest is left out.
    pub payload: Bytes,
}

impl Frame {
    /// The frame as it is sent.
    pub fn encode(&self) -> Bytes {
        let payload = &self.payload[..self.payload.len().min(MAX_PAYLOAD)];
        let mut bytes = BytesMut::with_capacity(9 + payload.len());
        bytes.put_uint(payload.len() as u64, 3);
        bytes.put_u8(self.kind);
        bytes.put_u8(self.flags);
        bytes.put_u32(self.stream);
        bytes.put_slice(payload);
        bytes.freeze()
    }
}

/// A field block of literal fields that change no state of the decoder (RFC 7541, 6.2.2), without Huffman coding.
pub fn field_block<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in fields {
        block.put_u8(0);
        put_string(&mut block, name);
        put_string(&mut block, value);
    }
    block.freeze()
}

fn put_string(block: &mut BytesMut, text: &[u8]) {
    const PREFIX: usize = 0x7f;
    if text.len() < PREFIX {
        block.put_u8(text.len() as u8);
    } else {
        block.put_u8(PREFIX as u8);
        let mut left = text.len() - PREFIX;
        while left >= 0x80 {
            block.put_u8(0x80 | (left % 0x80) as u8);
            left /= 0x80;
        }
        block.put_u8(left as u8);
    }
    block.put_slice(text);
}

/// Reads `TYPE FLAGS STREAM "payload"`, or with `"payload"*N` a payload repeated.
pub(super) fn frame(argument: &str) -> Result<Frame, &'static str> {
    let (mut frame, rest) = head(argument)?;
    let (piece, rest) = string(rest)?;
    let times = match rest.trim().strip_prefix('*') {
        Some(times) => number(times.trim())?,
        None if rest.trim().is_empty() => 1,
        None => return Err("something follows the string"),
    };
    if piece.len().saturating_mul(times) > MAX_PAYLOAD {
        return Err("a payload has at most 16777215 bytes");
    }
    frame.payload = piece.repeat(times).into();
    Ok(frame)
}

/// Reads `TYPE FLAGS STREAM "name: value"...`.
pub(super) fn fields(argument: &str) -> Result<Frame, &'static str> {
    let (mut frame, mut rest) = head(argument)?;
    let mut lines = Vec::new();
    while !rest.trim().is_empty() {
        let line;
        (line, rest) = string(rest.trim())?;
        lines.push(line);
    }
    let fields: Option<Vec<_>> = lines.iter().map(|line| split_field(line)).collect();
    frame.payload = field_block(fields.ok_or("a field is \"name: value\"")?);
    Ok(frame)
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.windows(2).position(|seen| seen == b": ")?;
    Some((&line[..colon], &line[colon + 2..]))
}

/// Reads `TYPE [STREAM ["payload"]]`.
pub(super) fn expected(argument: &str) -> Result<Step, &'static str> {
    let (name, rest) = word(argument);
    let (stream, rest) = word(rest);
    let payload = match rest {
        "" => None,
        rest => match string(rest)? {
            (payload, "") => Some(payload),
            _ => return Err("something follows the string"),
        },
    };
    let stream = if stream.is_empty() { None } else { Some(number(stream)?) };
    Ok(Step::ExpectFrame { kind: kind(name)?, stream, payload })
}

fn head(argument: &str) -> Result<(Frame, &str), &'static str> {
    let (name, rest) = word(argument);
    let (set, rest) = word(rest);
    let (stream, rest) = word(rest);
    let stream = number(stream)?;
    Ok((Frame { kind: kind(name)?, flags: flags(set)?, stream, payload: Bytes::new() }, rest))
}

fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn kind(name: &str) -> Result<u8, &'static str> {
    match KINDS.iter().position(|known| *known == name) {
        Some(at) => Ok(at as u8),
        None => number(name).map_err(|_| "no such type of frame"),
    }
}

/// A number, or names joined by `|`.
fn flags(set: &str) -> Result<u8, &'static str> {
    if let Ok(flags) = set.parse() {
        return Ok(flags);
    }
    set.split('|').try_fold(0, |flags, name| {
        let (_, flag) = FLAGS.iter().find(|(known, _)| *known == name).ok_or("no such flag")?;
        Ok(flags | flag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_encoded_as_they_are() {
        let ping = frame(r#"ping ack 0 "12345678""#).expect("a frame");
        assert_eq!(ping.encode(), [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], b"12345678"].concat());
        let unknown = frame(r#"238 255 4294967295 "a"*300"#).expect("a frame");
        assert_eq!(unknown.encode()[..10], [0, 1, 44, 238, 255, 255, 255, 255, 255, b'a']);
        assert_eq!(unknown.payload.len(), 300);
    }

    #[test]
    fn fields_are_literals() {
        let value = "v".repeat(300);
        let text = format!(r#"headers end_stream|end_headers 1 ":status: 200" "a: {value}""#);
        let frame = fields(&text).expect("a frame");
        assert_eq!((frame.kind, frame.flags, frame.stream), (1, 5, 1));
        // 300 is 127 + 45 + 1 * 128 (RFC 7541, 5.1).
        let start = b"\0\x07:status\x03200\0\x01a\x7f\xad\x01vv";
        assert_eq!(frame.payload[..start.len()], start[..]);
        assert_eq!(frame.payload.len(), start.len() - 2 + 300);
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(frame("pong 0 0 \"\""), Err("no such type of frame"));
        assert_eq!(frame("ping ok 0 \"\""), Err("no such flag"));
        assert_eq!(frame("ping 0 x \"\""), Err("a number is needed"));
        assert_eq!(frame("data 0 1 \"ab\"*9000000"), Err("a payload has at most 16777215 bytes"));
        assert_eq!(frame("data 0 1 \"ab\" c"), Err("something follows the string"));
        assert_eq!(fields("headers 4 1 \"status\""), Err("a field is \"name: value\""));
        assert_eq!(expected("goaway 0 \"\" x"), Err("something follows the string"));
    }
}
