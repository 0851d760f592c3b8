//! Scripts as text.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::{Script, Step, frame};

/// A line of a script that says nothing known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ParseError {}

impl Script {
    /// Reads a script from its [text form](super).
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut script = Script::new();
        let mut reads = false;
        for (index, line) in text.lines().enumerate() {
            let failed = |reason| ParseError { line: index + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "connection" {
                reads = false;
                script = script.connection();
                continue;
            }
            let step = step(line).map_err(failed)?;
            reads |= matches!(
                step,
                Step::ExpectHead
                    | Step::Expect(_)
                    | Step::ExpectUntil(_)
                    | Step::ExpectBytes(1..)
                    | Step::Http2Preface
                    | Step::ExpectFrame { .. }
            );
            if step == Step::Again && !reads {
                // Without it the loop would not notice that the peer has gone.
                return Err(failed("`again` needs a step that reads before it"));
            }
            script = script.step(step);
        }
        Ok(script)
    }
}

fn step(line: &str) -> Result<Step, &'static str> {
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let bare = |step| if argument.is_empty() { Ok(step) } else { Err("this step takes nothing") };
    match name {
        "expect-head" => bare(Step::ExpectHead),
        "expect-eof" => bare(Step::ExpectEof),
        "reply-head" => bare(Step::ReplyHead),
        "echo" => bare(Step::Echo),
        "half-close" => bare(Step::HalfClose),
        "close" => bare(Step::Close),
        "cut" => bare(Step::Cut),
        "reset" => bare(Step::Reset),
        "again" => bare(Step::Again),
        "h2-preface" => bare(Step::Http2Preface),
        "frame" => Ok(Step::Frames(1, frame::frame(argument)?)),
        "frames" => {
            let (count, rest) = argument
                .split_once(char::is_whitespace)
                .ok_or("a number and a frame are needed")?;
            Ok(Step::Frames(number(count)?, frame::frame(rest.trim_start())?))
        }
        "fields" => Ok(Step::Frames(1, frame::fields(argument)?)),
        "expect-frame" => frame::expected(argument),
        "expect" if argument.starts_with('"') => Ok(Step::Expect(whole(argument)?)),
        "expect" => Ok(Step::ExpectBytes(number(argument)?)),
        "expect-until" => match whole(argument)? {
            end if end.is_empty() => Err("these bytes cannot be empty"),
            end => Ok(Step::ExpectUntil(end)),
        },
        "send" => Ok(Step::Send(whole(argument)?)),
        "split" => match counted(argument)? {
            (0, _) => Err("the pieces cannot be empty"),
            (size, bytes) => Ok(Step::Split(size, bytes)),
        },
        "repeat" => counted(argument).map(|(count, bytes)| Step::Repeat(count, bytes)),
        "wait" => Ok(Step::Wait(number(argument)?)),
        _ => Err("no such step"),
    }
}

fn counted<T: FromStr>(argument: &str) -> Result<(T, Bytes), &'static str> {
    let (count, bytes) =
        argument.split_once(char::is_whitespace).ok_or("a number and a string are needed")?;
    Ok((number(count)?, whole(bytes.trim_start())?))
}

pub(super) fn number<T: FromStr>(argument: &str) -> Result<T, &'static str> {
    argument.parse().map_err(|_| "a number is needed")
}

/// A string and nothing else.
fn whole(argument: &str) -> Result<Bytes, &'static str> {
    match string(argument)? {
        (bytes, "") => Ok(bytes),
        _ => Err("something follows the string"),
    }
}

/// A string, and what follows it.
pub(super) fn string(argument: &str) -> Result<(Bytes, &str), &'static str> {
    let inner = argument.strip_prefix('"').ok_or("a string in double quotes is needed")?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes();
    loop {
        match rest.next() {
            None => return Err("the string has no end"),
            Some(b'"') => return Ok((bytes.into(), &inner[inner.len() - rest.len()..])),
            Some(b'\\') => bytes.push(match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(same @ (b'\\' | b'"')) => same,
                Some(b'x') => match (rest.next().and_then(hex), rest.next().and_then(hex)) {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err("\\x needs two hexadecimal digits"),
                },
                _ => return Err("no such escape"),
            }),
            Some(byte) => bytes.push(byte),
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> (usize, &'static str) {
        let error = Script::parse(text).expect_err("a broken script");
        (error.line, error.reason)
    }

    #[test]
    fn reads_every_step() {
        let text = r#"
            # a comment
            expect-head
            expect 3
            expect "a\x00\"\\"
            expect-until "0\r\n\r\n"
            reply-head
            send "\t\0"
            split 2 "abc"
            repeat 4 "x"
            wait 5
            h2-preface
            frames 3 settings ack 0 ""
            expect-frame rst_stream 1 "\x00"
            half-close
            expect-eof
            again
            connection
            echo
            cut
            connection
            reset
            connection
            close
        "#;
        let expected = Script::new()
            .expect_head()
            .step(Step::ExpectBytes(3))
            .step(Step::Expect(Bytes::from_static(b"a\0\"\\")))
            .step(Step::ExpectUntil(Bytes::from_static(b"0\r\n\r\n")))
            .step(Step::ReplyHead)
            .send(&b"\t\0"[..])
            .split(2, "abc")
            .step(Step::Repeat(4, Bytes::from_static(b"x")))
            .wait(5)
            .step(Step::Http2Preface)
            .step(Step::Frames(
                3,
                frame::Frame { kind: 4, flags: 1, stream: 0, payload: Bytes::new() },
            ))
            .step(Step::ExpectFrame {
                kind: 3,
                stream: Some(1),
                payload: Some(Bytes::from_static(b"\0")),
            })
            .step(Step::HalfClose)
            .step(Step::ExpectEof)
            .step(Step::Again)
            .connection()
            .step(Step::Echo)
            .step(Step::Cut)
            .connection()
            .step(Step::Reset)
            .connection()
            .step(Step::Close);
        assert_eq!(Script::parse(text), Ok(expected));
    }

    #[test]
    fn names_the_broken_line() {
        assert_eq!(reason("close\nclose now"), (2, "this step takes nothing"));
        assert_eq!(reason("send hello"), (1, "a string in double quotes is needed"));
        assert_eq!(reason("send \"hello"), (1, "the string has no end"));
        assert_eq!(reason("send \"a\" b"), (1, "something follows the string"));
        assert_eq!(reason("send \"\\q\""), (1, "no such escape"));
        assert_eq!(reason("send \"\\x4\""), (1, "\\x needs two hexadecimal digits"));
        assert_eq!(reason("split 0 \"a\""), (1, "the pieces cannot be empty"));
        assert_eq!(reason("split \"a\""), (1, "a number and a string are needed"));
        assert_eq!(reason("expect -1"), (1, "a number is needed"));
        assert_eq!(reason("expect-until \"\""), (1, "these bytes cannot be empty"));
        assert_eq!(reason("dance"), (1, "no such step"));
        assert_eq!(
            reason("expect-head\nconnection\nsend \"a\"\nagain"),
            (4, "`again` needs a step that reads before it")
        );
    }
}
