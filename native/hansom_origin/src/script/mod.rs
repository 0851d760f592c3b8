//! A raw server that plays a script to each connection: exact bytes, split points, pauses, and every way to end.
//!
//! A script is made of sections, one for each connection in turn; the last one serves all further connections.
//! As text, one step a line; blank lines and lines that start with `#` are skipped. A string is in double quotes, with
//! the escapes `\r \n \t \0 \\ \"` and `\xHH`.
//!
//! | Line | Step |
//! |---|---|
//! | `expect-head` | read up to and with the empty line that ends a request head |
//! | `expect N` | read N bytes |
//! | `expect "..."` | read as many bytes, which have to be these |
//! | `expect-until "..."` | read up to and with these bytes |
//! | `expect-eof` | read until the peer closes its side |
//! | `send "..."` | write |
//! | `split N "..."` | write N bytes at a time, a millisecond apart |
//! | `repeat COUNT "..."` | write COUNT times |
//! | `reply-head` | answer 200 with the last head as the body, byte for byte |
//! | `echo` | write back whatever comes, until the peer closes its side |
//! | `wait MS` | pause |
//! | `half-close` | FIN, and go on reading |
//! | `close` | TLS `close_notify` and FIN |
//! | `cut` | FIN without TLS `close_notify` |
//! | `reset` | TCP RST |
//! | `h2-preface` | read the preface of HTTP/2 and the first SETTINGS, send SETTINGS and acknowledge |
//! | `frame TYPE FLAGS STREAM "..."` | write a frame of HTTP/2; `"..."*N` repeats the payload |
//! | `frames COUNT TYPE FLAGS STREAM "..."` | write it COUNT times |
//! | `fields TYPE FLAGS STREAM "name: value"...` | write a frame with these fields in HPACK |
//! | `expect-frame TYPE [STREAM ["..."]]` | read up to and with a frame of this type and stream, with this payload |
//! | `again` | go back to the first step of the section |
//! | `connection` | the section of the next connection begins |
//!
//! TYPE is a name in lower case, such as `rst_stream`, or a number; FLAGS are names joined by `|` (`end_stream`, `ack`,
//! `end_headers`, `padded`, `priority`), or a number.
//!
//! A section that ends without an ending closes. What the peer sent is kept, see [`Played`].

mod frame;
mod parse;
mod play;

use bytes::Bytes;

pub use frame::{Frame, field_block};
pub use parse::ParseError;
pub use play::{Outcome, Played, Server};

/// One step; see the [table](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read a request head.
    ExpectHead,
    /// Read this many bytes.
    ExpectBytes(usize),
    /// Read exactly these bytes.
    Expect(Bytes),
    /// Read up to and with these bytes.
    ExpectUntil(Bytes),
    /// Read until the peer closes its side.
    ExpectEof,
    /// Write.
    Send(Bytes),
    /// Write in pieces of this many bytes.
    Split(usize, Bytes),
    /// Write this often.
    Repeat(u64, Bytes),
    /// Answer with the last head as the body.
    ReplyHead,
    /// Write back whatever comes.
    Echo,
    /// Pause, in milliseconds.
    Wait(u64),
    /// FIN, and go on reading.
    HalfClose,
    /// End in order.
    Close,
    /// FIN without TLS `close_notify`.
    Cut,
    /// TCP RST.
    Reset,
    /// Read the preface of HTTP/2 and the first SETTINGS, send SETTINGS and acknowledge.
    Http2Preface,
    /// Write a frame of HTTP/2 this often.
    Frames(u64, Frame),
    /// Read frames of HTTP/2 up to and with this one.
    ExpectFrame {
        /// Its type.
        kind: u8,
        /// Its stream; any if `None`.
        stream: Option<u32>,
        /// What it has to carry; anything if `None`.
        payload: Option<Bytes>,
    },
    /// Back to the first step of the section.
    Again,
}

/// What is played, section by section. Build one with [`Script::parse`], or step by step:
///
/// ```
/// use hansom_origin::script::{Script, Step};
///
/// let script = Script::new()
///     .expect_head()
///     .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
///     .split(1, "hello")
///     .step(Step::Reset);
/// # assert_eq!(script, Script::parse(r#"
/// # expect-head
/// # send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
/// # split 1 "hello"
/// # reset
/// # "#).unwrap());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    sections: Vec<Vec<Step>>,
}

impl Default for Script {
    fn default() -> Self {
        Script::new()
    }
}

impl Script {
    /// A script with one empty section, which closes every connection.
    pub fn new() -> Self {
        Script { sections: vec![Vec::new()] }
    }

    /// Adds a step to the current section.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        if let Some(section) = self.sections.last_mut() {
            section.push(step);
        }
        self
    }

    /// Begins the section of the next connection.
    #[must_use]
    pub fn connection(mut self) -> Self {
        self.sections.push(Vec::new());
        self
    }

    /// Adds [`Step::ExpectHead`].
    #[must_use]
    pub fn expect_head(self) -> Self {
        self.step(Step::ExpectHead)
    }

    /// Adds [`Step::Send`].
    #[must_use]
    pub fn send(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Send(bytes.into()))
    }

    /// Adds [`Step::Split`]. A size of 0 counts as 1.
    #[must_use]
    pub fn split(self, size: usize, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Split(size, bytes.into()))
    }

    /// Adds [`Step::Wait`].
    #[must_use]
    pub fn wait(self, milliseconds: u64) -> Self {
        self.step(Step::Wait(milliseconds))
    }

    /// Adds [`Step::Frames`] for one frame.
    #[must_use]
    pub fn frame(self, kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        self.step(Step::Frames(1, Frame { kind, flags, stream, payload: payload.into() }))
    }

    fn section(&self, connection: usize) -> &[Step] {
        self.sections.get(connection).or(self.sections.last()).map_or(&[], Vec::as_slice)
    }
}
