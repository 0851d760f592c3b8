//! Heads of responses: status line and header fields (RFC 9112, sections 4 and 5).

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::config::Limits;
use crate::error::{Error, Limit};
use crate::headers::HeaderList;

/// Blank lines skipped before a status line.
const BLANK_LINES: u8 = 9;
/// Bytes of a status line without its LF.
const STATUS_LINE_BYTES: usize = 4096;
/// Fields the fast path has room for; longer lists are rare enough for the lenient one.
const FAST_FIELDS: usize = 48;

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The HTTP version, e.g. `(1, 1)`.
    pub version: (u8, u8),
    /// The status code. Its range is not checked.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: Vec<u8>,
    /// The header fields: names as they came, values without surrounding white space.
    pub headers: HeaderList,
    /// Bytes of input the head took.
    pub length: usize,
}

/// Reads the head of a response, leniently.
///
/// Lines end with CRLF or LF, up to 9 blank lines may come first, names are taken as they are, a
/// line without a colon is a field without a value, and folded lines are unfolded. It remembers
/// how far it got, so that each byte is searched once however the input is split.
#[derive(Clone, Debug, Default)]
pub struct HeadParser {
    stage: Stage,
    /// Where the line begins whose end is looked for.
    line: usize,
    /// There is no LF between `line` and here.
    scanned: usize,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Before the end of the status line.
    Start { blank_lines: u8 },
    /// In the header block.
    Fields { status: Status, block: usize, lines: usize },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Start { blank_lines: 0 }
    }
}

/// A status line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    version: (u8, u8),
    code: u16,
    /// Where the reason phrase is in the input.
    reason: Range<usize>,
}

impl HeadParser {
    /// A parser at the first byte of a head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the head at the beginning of `input`; `None` when more input is needed. Until a head
    /// is returned `input` must begin at the same byte with each call, and may only grow; after
    /// that the parser expects the next head.
    ///
    /// # Errors
    /// [`Error::NotHttp`] for bytes that cannot begin a response, even without a line end;
    /// [`Error::BadRequest`] for a malformed status line, a code beyond 65535 or a tenth blank
    /// line; [`Error::LineTooLong`]; [`Limit::HeaderBytes`] and [`Limit::Headers`] for the header
    /// block.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Head>, Error> {
        loop {
            match &mut self.stage {
                Stage::Start { blank_lines } => {
                    let Some(end) = find_line_end(input, self.line, &mut self.scanned) else {
                        return check_start(&input[self.line.min(input.len())..]).map(|()| None);
                    };
                    let line = strip_cr(&input[self.line..end]);
                    if line.is_empty() {
                        if *blank_lines == BLANK_LINES {
                            return Err(Error::BadRequest);
                        }
                        *blank_lines += 1;
                    } else {
                        if end - self.line > STATUS_LINE_BYTES {
                            return Err(Error::LineTooLong);
                        }
                        let status = status_line(line, self.line)?;
                        self.stage = Stage::Fields { status, block: end + 1, lines: 0 };
                    }
                    self.line = end + 1;
                    self.scanned = end + 1;
                }
                Stage::Fields { status, block, lines } => {
                    let max = limits.header_bytes.min(u32::MAX as usize);
                    let Some(end) = find_block_end(input, &mut self.line, &mut self.scanned, lines)
                    else {
                        return if input.len().saturating_sub(*block) > max {
                            Err(Error::Limit(Limit::HeaderBytes))
                        } else {
                            Ok(None)
                        };
                    };
                    if end - *block > max {
                        return Err(Error::Limit(Limit::HeaderBytes));
                    }
                    let headers = fields(&input[*block..end], *lines, limits)?;
                    let head = Head {
                        version: status.version,
                        status: status.code,
                        reason: input[status.reason.clone()].to_vec(),
                        headers,
                        length: end,
                    };
                    *self = Self::new();
                    return Ok(Some(head));
                }
            }
        }
    }
}

/// The position of the first LF from `line` on; bytes before `scanned` are known to hold none.
fn find_line_end(input: &[u8], line: usize, scanned: &mut usize) -> Option<usize> {
    let from = line.max(*scanned);
    let found = memchr(b'\n', input.get(from..)?);
    *scanned = found.map_or(input.len(), |offset| from + offset);
    found.map(|offset| from + offset)
}

/// The end of the header block whose next line begins at `line`, its blank line included; counts
/// the lines before that one.
fn find_block_end(
    input: &[u8],
    line: &mut usize,
    scanned: &mut usize,
    lines: &mut usize,
) -> Option<usize> {
    loop {
        let end = find_line_end(input, *line, scanned)?;
        if matches!(&input[*line..end], [] | [b'\r']) {
            return Some(end + 1);
        }
        *lines += 1;
        *line = end + 1;
    }
}

fn strip_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line that has not ended yet can become a status line.
fn check_start(line: &[u8]) -> Result<(), Error> {
    const START: &[u8] = b"HTTP/";
    if line.len() > STATUS_LINE_BYTES {
        return Err(Error::LineTooLong);
    }
    let line = line.strip_prefix(b"\r").unwrap_or(line);
    let known = line.len().min(START.len());
    if line[..known] == START[..known] { Ok(()) } else { Err(Error::NotHttp) }
}

/// Reads a status line, without its line end, that begins at byte `start` of the input.
fn status_line(line: &[u8], start: usize) -> Result<Status, Error> {
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b' ', rest @ ..] = line else {
        return Err(Error::BadRequest);
    };
    if !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return Err(Error::BadRequest);
    }
    let code_end = memchr(b' ', rest).unwrap_or(rest.len());
    let code = &rest[..code_end];
    // Some servers refine codes, e.g. 401.1.
    let code = memchr(b'.', code).map_or(code, |dot| &code[..dot]);
    let reason_start = (line.len() - rest.len() + code_end + 1).min(line.len());
    Ok(Status {
        version: (major - b'0', minor - b'0'),
        code: status_code(code).ok_or(Error::BadRequest)?,
        reason: start + reason_start..start + line.len(),
    })
}

fn status_code(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u16, |code, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        code.checked_mul(10)?.checked_add(u16::from(digit))
    })
}

/// Reads a complete trailer section, the blank line at its end included; `None` if it is empty.
///
/// # Errors
/// [`Limit::Headers`].
pub(super) fn trailer_section(
    section: &[u8],
    limits: &Limits,
) -> Result<Option<HeaderList>, Error> {
    let lines = memchr_iter(b'\n', section).count().saturating_sub(1);
    if lines == 0 { Ok(None) } else { fields(section, lines, limits).map(Some) }
}

/// Reads a complete header block of `lines` lines and the blank one that ends it.
fn fields(block: &[u8], lines: usize, limits: &Limits) -> Result<HeaderList, Error> {
    // A field is at least two bytes shorter in the list than on the wire.
    let mut list = HeaderList::with_capacity(
        lines.min(limits.headers),
        block.len() - 2 * lines.min(block.len() / 2),
    );
    if lines <= FAST_FIELDS && strict_fields(block, limits, &mut list)? {
        return Ok(list);
    }
    lenient_fields(block, limits, &mut list)?;
    Ok(list)
}

/// Reads a block that follows the grammar of RFC 9112; `false`, and an empty list, for others.
fn strict_fields(block: &[u8], limits: &Limits, list: &mut HeaderList) -> Result<bool, Error> {
    let mut room = [httparse::EMPTY_HEADER; FAST_FIELDS];
    let Ok(httparse::Status::Complete((_, headers))) = httparse::parse_headers(block, &mut room)
    else {
        return Ok(false);
    };
    if headers.len() > limits.headers {
        return Err(Error::Limit(Limit::Headers));
    }
    for header in headers {
        list.push(header.name.as_bytes(), header.value);
    }
    Ok(true)
}

/// Reads any block.
fn lenient_fields(block: &[u8], limits: &Limits, list: &mut HeaderList) -> Result<(), Error> {
    let mut rest = block;
    let mut unfolded = Vec::new();
    while let Some((line, mut after)) = split_line(rest) {
        if line.is_empty() {
            break;
        }
        if list.len() >= limits.headers {
            return Err(Error::Limit(Limit::Headers));
        }
        let mut line = line;
        if matches!(after, [b' ' | b'\t', ..]) {
            unfolded.clear();
            unfolded.extend_from_slice(line);
            while let [b' ' | b'\t', folded @ ..] = after {
                let Some((continuation, next)) = split_line(folded) else { break };
                unfolded.push(b' ');
                unfolded.extend_from_slice(continuation);
                after = next;
            }
            line = &unfolded;
        }
        match memchr(b':', line) {
            Some(colon) => list.push(&line[..colon], trim(&line[colon + 1..])),
            None => list.push(line, b""),
        }
        rest = after;
    }
    Ok(())
}

/// Splits off the first line, without its line end.
fn split_line(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', block)?;
    Some((strip_cr(&block[..end]), &block[end + 1..]))
}

/// Without SP, HT, CR and LF at both ends.
fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests;
