//! Where a response body ends, and what of the bytes received belongs to it.

use memchr::memchr;

use super::parse::{Head, trailer_section};
use crate::config::Limits;
use crate::error::{Error, Limit};
use crate::headers::HeaderList;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none whatever the header fields say: the answer to HEAD, 204, 304.
    None,
    /// So many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked` (RFC 9112, section 7.1).
    Chunked,
    /// Everything until the peer closes.
    UntilClose,
}

/// Decides the framing of a final response.
///
/// The rules of RFC 9112, section 6.3, in their order, but as lenient as clients are in practice:
/// the last `Transfer-Encoding` counts when it is exactly `chunked`; the last `Content-Length`
/// counts, and one that is no integer means an empty body.
///
/// # Errors
/// [`Error::BadRequest`] for a `Content-Length` that is negative or beyond 64 bits.
pub fn framing(head_request: bool, head: &Head) -> Result<Framing, Error> {
    if head_request || matches!(head.status, 204 | 304) {
        return Ok(Framing::None);
    }
    // One pass over the fields; the length of a name rules out almost all of them.
    let (mut coding, mut length) = (None, None);
    for (name, value) in head.headers.iter() {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => length = Some(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => coding = Some(value),
            _ => {}
        }
    }
    if coding.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        return Ok(Framing::Chunked);
    }
    length.map_or(Ok(Framing::UntilClose), content_length)
}

fn content_length(value: &[u8]) -> Result<Framing, Error> {
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Ok(Framing::Length(0));
    }
    let length = digits
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    match length {
        Some(length) if !negative || length == 0 => Ok(Framing::Length(length)),
        _ => Err(Error::BadRequest),
    }
}

/// What the next bytes of input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Not enough of them, or none: more input, or its end, is needed.
    More,
    /// So many bytes (> 0) of framing, to be dropped.
    Skip(usize),
    /// So many bytes of the body.
    Data {
        /// How many (> 0).
        len: usize,
        /// The last of them is the last of an HTTP chunk or of a body of known length.
        ends_piece: bool,
    },
    /// The message is over; so many bytes of input (possibly 0) belonged to it still.
    End(usize),
}

/// Tells the bytes of a body from those of its framing.
///
/// ```text
///   Length(n), UntilClose ─────────────────────────────────────────> Done
///
///   Size ──digits──> Size ──CR──> SizeLf ──LF──> Data(n) ──n bytes──> DataCr ──CR──> DataLf
///    ^                 └──";"──> Extension ──LF───^  │ n = 0                           │ LF
///    │                                              v                                 │
///    │                                           Trailer ──empty line──> Done         │
///    └────────────────────────────────────────────────────────────────────────────────┘
/// ```
///
/// Framing is consumed byte by byte as it comes, so nothing is looked at twice and no line is ever
/// buffered, except for a trailer section that is asked for.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// What came of the trailer section, if anybody wants it.
    trailers: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Length(u64),
    UntilClose,
    /// In the digits of a chunk's size.
    Size {
        size: u64,
        digits: u64,
    },
    /// The LF of a size line is due.
    SizeLf {
        size: u64,
    },
    /// In what follows the digits of a size line, `seen` bytes so far.
    Extension {
        size: u64,
        seen: u64,
    },
    /// So many bytes of the chunk are still to come; never 0.
    Data(u64),
    DataCr,
    DataLf,
    /// In the trailer section, `seen` bytes so far.
    Trailer {
        seen: u64,
        line: Line,
    },
    Done,
}

/// What a line of the trailer section holds so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Nothing,
    Cr,
    Text,
}

/// A chunk size of more digits is either padded with zeros or too large.
const SIZE_DIGITS: u64 = 16;

impl BodyDecoder {
    /// A decoder at the first byte of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::CHUNK,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, trailers: None }
    }

    /// Keeps the trailer section for [`take_trailers`](Self::take_trailers). To be called before
    /// it begins.
    pub fn keep_trailers(&mut self) {
        self.trailers = Some(Vec::new());
    }

    /// The fields of the trailer section, once the message is over; `None` if it had none or they
    /// were not kept. Read as the header fields are.
    ///
    /// # Errors
    /// [`Limit::Headers`].
    pub fn take_trailers(&mut self, limits: &Limits) -> Result<Option<HeaderList>, Error> {
        match self.trailers.take() {
            Some(section) if self.is_done() => trailer_section(&section, limits),
            _ => Ok(None),
        }
    }

    /// Says what the first bytes of `input` are and advances as if the caller then dropped them.
    ///
    /// # Errors
    /// [`Error::InvalidChunkSize`], [`Error::BadChunkEnd`], or the [`Error::Limit`] that chunk
    /// extensions or trailers exceed. The decoder stays where it was.
    pub fn next(&mut self, input: &[u8], limits: &Limits) -> Result<Part, Error> {
        let mut state = self.state;
        let mut used = 0;
        let part = loop {
            let rest = &input[used..];
            let remaining = match state {
                State::Done => break Part::End(used),
                State::UntilClose => u64::MAX,
                State::Length(remaining) | State::Data(remaining) => remaining,
                _ => {
                    let kept = match state {
                        State::Trailer { .. } => self.trailers.as_mut(),
                        _ => None,
                    };
                    let taken = state.framing(rest, limits)?;
                    if let Some(kept) = kept {
                        kept.extend_from_slice(&rest[..taken]);
                    }
                    used += taken;
                    if taken == 0 {
                        break if used == 0 { Part::More } else { Part::Skip(used) };
                    }
                    continue;
                }
            };
            if used > 0 {
                break Part::Skip(used);
            }
            let len = rest.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
            if len == 0 {
                break Part::More;
            }
            state.take(len as u64);
            let ends_piece =
                !matches!(state, State::Length(_) | State::Data(_) | State::UntilClose);
            break Part::Data { len, ends_piece };
        };
        self.state = state;
        Ok(part)
    }

    /// Body bytes that certainly come next, without framing in between: the rest of a body of
    /// known length or of the current chunk, `u64::MAX` until the peer closes, 0 if unknown. So
    /// many may be read past [`next`](Self::next) and are then reported to
    /// [`advance`](Self::advance).
    #[must_use]
    pub fn contiguous(&self) -> u64 {
        match self.state {
            State::Length(remaining) | State::Data(remaining) => remaining,
            State::UntilClose => u64::MAX,
            _ => 0,
        }
    }

    /// Reports `len` body bytes, at most [`contiguous`](Self::contiguous), that were read
    /// elsewhere.
    pub fn advance(&mut self, len: u64) {
        debug_assert!(len <= self.contiguous());
        self.state.take(len);
    }

    /// Whether the message is over. A body of known length is over with its last byte, before
    /// [`Part::End`] says so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The peer closed: whether the message was complete. A body that lasts until then is; so is
    /// a chunked one that lacks only (part of) its trailer section, which then counts as none.
    pub fn finish(&mut self) -> bool {
        if matches!(self.state, State::UntilClose | State::Trailer { .. }) {
            self.state = State::Done;
            self.trailers = None;
        }
        self.is_done()
    }
}

impl State {
    const CHUNK: Self = Self::Size { size: 0, digits: 0 };

    /// Moves past `len` body bytes.
    fn take(&mut self, len: u64) {
        *self = match *self {
            Self::Length(remaining) if len >= remaining => Self::Done,
            Self::Length(remaining) => Self::Length(remaining - len),
            Self::Data(remaining) if len >= remaining => Self::DataCr,
            Self::Data(remaining) => Self::Data(remaining - len),
            other => other,
        }
    }

    /// The size line is over.
    fn data(size: u64) -> Self {
        match size {
            0 => Self::Trailer { seen: 0, line: Line::Nothing },
            size => Self::Data(size),
        }
    }

    /// Moves past some bytes of framing and returns how many, 0 only for empty input.
    fn framing(&mut self, input: &[u8], limits: &Limits) -> Result<usize, Error> {
        let Some(&byte) = input.first() else { return Ok(0) };
        let mut taken = 1;
        *self = match *self {
            Self::Size { size, digits } => size_byte(size, digits, byte, limits)?,
            Self::SizeLf { size } if byte == b'\n' => Self::data(size),
            Self::SizeLf { .. } => return Err(Error::InvalidChunkSize),
            Self::Extension { size, seen } => {
                let end = memchr(b'\n', input);
                let seen = seen + end.unwrap_or(input.len()) as u64;
                if seen > limits.chunk_extension_bytes as u64 {
                    return Err(Error::Limit(Limit::ChunkExtensionBytes));
                }
                taken = end.map_or(input.len(), |end| end + 1);
                if end.is_some() { Self::data(size) } else { Self::Extension { size, seen } }
            }
            Self::DataCr if byte == b'\r' => Self::DataLf,
            Self::DataLf if byte == b'\n' => Self::CHUNK,
            Self::DataCr | Self::DataLf => return Err(Error::BadChunkEnd),
            Self::Trailer { seen, line } => {
                let end = memchr(b'\n', input);
                taken = end.map_or(input.len(), |end| end + 1);
                let seen = seen + taken as u64;
                if seen > limits.trailer_bytes as u64 {
                    return Err(Error::Limit(Limit::TrailerBytes));
                }
                let line = line.append(&input[..end.unwrap_or(taken)]);
                match (end, line) {
                    (None, line) => Self::Trailer { seen, line },
                    (Some(_), Line::Text) => Self::Trailer { seen, line: Line::Nothing },
                    (Some(_), Line::Nothing | Line::Cr) => Self::Done,
                }
            }
            Self::Length(_) | Self::UntilClose | Self::Data(_) | Self::Done => return Ok(0),
        };
        Ok(taken)
    }
}

/// The state after one more byte of a size line.
fn size_byte(size: u64, digits: u64, byte: u8, limits: &Limits) -> Result<State, Error> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        // Without a digit hackney waits for ever; a line that can never become a size is refused.
        _ if digits == 0 => return Err(Error::InvalidChunkSize),
        b'\r' => return Ok(State::SizeLf { size }),
        b'\n' => return Ok(State::data(size)),
        b';' | b' ' => return Ok(State::Extension { size, seen: 1 }),
        _ => return Err(Error::InvalidChunkSize),
    };
    if size >> 60 != 0 {
        return Err(Error::InvalidChunkSize);
    }
    // Any number of leading zeros is legal; beyond reason they count as an extension does.
    if digits >= SIZE_DIGITS.saturating_add(limits.chunk_extension_bytes as u64) {
        return Err(Error::Limit(Limit::ChunkExtensionBytes));
    }
    Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
}

impl Line {
    fn append(self, bytes: &[u8]) -> Self {
        match (self, bytes) {
            (line, []) => line,
            (Self::Nothing, [b'\r']) => Self::Cr,
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests;
