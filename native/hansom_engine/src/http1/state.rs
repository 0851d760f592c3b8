//! One response, from its first byte to its last.

use super::body::{BodyDecoder, Framing, Part, framing};
use super::parse::{Head, HeadParser};
use crate::config::Limits;
use crate::error::{Error, Limit};

/// What the next bytes of input are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More input, or its end, is needed.
    More,
    /// An interim (1xx) response; the first [`Head::length`] bytes are used.
    Interim(Head),
    /// The head of the final response; the first [`Head::length`] bytes are used.
    Head {
        /// The head.
        head: Head,
        /// Where the body ends.
        framing: Framing,
    },
    /// A part of the body, never [`Part::More`].
    Part(Part),
}

/// Reads one response and the interim responses before it.
///
/// ```text
///          1xx
///         ┌───┐
///         v   │   final head            last byte, or EOF where it ends the body
///   new ──> Head ─────────────> Body ────────────────────────────────────────────> is_done
///             │                  │
///             │ EOF              │ EOF elsewhere
///             v                  v
///        Err(Closed)         Ok(false)
/// ```
///
/// Show it the bytes received with [`next`](Self::next), drop what the event says was used, and
/// repeat until [`Event::More`] asks for input or [`is_done`](Self::is_done) holds. Bytes left
/// then are not part of the response.
#[derive(Clone, Debug)]
pub struct Response {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Head { parser: HeadParser, head_request: bool, interims: usize },
    Body(BodyDecoder),
}

impl Response {
    /// A reader of the response to a request, `head_request` if its method was HEAD.
    #[must_use]
    pub fn new(head_request: bool) -> Self {
        Self { state: State::Head { parser: HeadParser::new(), head_request, interims: 0 } }
    }

    /// Says what the first bytes of `input` are. After [`Event::More`] the same bytes must be
    /// shown again with more behind them.
    ///
    /// # Errors
    /// Those of [`HeadParser::parse`], [`framing`] and [`BodyDecoder::next`], and
    /// [`Limit::InterimResponses`]. After an error the connection is of no further use.
    pub fn next(&mut self, input: &[u8], limits: &Limits) -> Result<Event, Error> {
        match &mut self.state {
            State::Head { parser, head_request, interims } => {
                let Some(head) = parser.parse(input, limits)? else { return Ok(Event::More) };
                if matches!(head.status, 100..=199) {
                    if *interims >= limits.interim_responses {
                        return Err(Error::Limit(Limit::InterimResponses));
                    }
                    *interims += 1;
                    return Ok(Event::Interim(head));
                }
                let framing = framing(*head_request, &head)?;
                self.state = State::Body(BodyDecoder::new(framing));
                Ok(Event::Head { head, framing })
            }
            State::Body(body) => Ok(match body.next(input, limits)? {
                Part::More => Event::More,
                part => Event::Part(part),
            }),
        }
    }

    /// The body, once the final head was seen.
    pub fn body(&mut self) -> Option<&mut BodyDecoder> {
        match &mut self.state {
            State::Head { .. } => None,
            State::Body(body) => Some(body),
        }
    }

    /// Whether the response is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Head { .. } => false,
            State::Body(body) => body.is_done(),
        }
    }

    /// The peer closed: whether the response was complete, `false` when its body was cut short.
    ///
    /// # Errors
    /// [`Error::Closed`] when the final head had not ended.
    pub fn finish(&mut self) -> Result<bool, Error> {
        match &mut self.state {
            State::Head { .. } => Err(Error::Closed),
            State::Body(body) => Ok(body.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Part, Response};
    use crate::config::Limits;
    use crate::error::{Error, Limit};
    use crate::http1::Framing;

    /// Everything `input` holds: statuses of heads, and the body.
    fn read(response: &mut Response, mut input: &[u8]) -> Result<(Vec<u16>, Vec<u8>), Error> {
        let (mut statuses, mut body) = (Vec::new(), Vec::new());
        loop {
            let used = match response.next(input, &Limits::default())? {
                Event::More => break,
                Event::Interim(head) | Event::Head { head, .. } => {
                    statuses.push(head.status);
                    head.length
                }
                Event::Part(Part::Data { len, .. }) => {
                    body.extend_from_slice(&input[..len]);
                    len
                }
                Event::Part(Part::Skip(len) | Part::End(len)) => len,
                Event::Part(Part::More) => panic!("More is an event of its own"),
            };
            input = &input[used..];
            if response.is_done() {
                break;
            }
        }
        Ok((statuses, body))
    }

    #[test]
    fn rsp_12_every_1xx_is_interim_and_101_too() {
        let input = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\
            HTTP/1.1 199 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let mut response = Response::new(false);
        assert_eq!(read(&mut response, input), Ok((vec![100, 101, 199, 200], b"hi".to_vec())));
        assert!(response.is_done());
    }

    #[test]
    fn rsp_12_interim_responses_are_limited() {
        let input = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(101);
        let refused = read(&mut Response::new(false), &input);
        assert_eq!(refused, Err(Error::Limit(Limit::InterimResponses)));
        let allowed = read(&mut Response::new(false), &input[..input.len() - 5]);
        assert_eq!(allowed.map(|(statuses, _)| statuses.len()), Ok(100));
    }

    #[test]
    fn rsp_16_head_responses_end_with_their_head() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let mut response = Response::new(true);
        let event = response.next(input, &Limits::default());
        assert!(matches!(event, Ok(Event::Head { framing: Framing::None, .. })));
        assert!(response.is_done());
        assert_eq!(response.next(b"", &Limits::default()), Ok(Event::Part(Part::End(0))));
    }

    #[test]
    fn rsp_11_a_close_before_the_head_ended_is_an_error() {
        let mut response = Response::new(false);
        assert_eq!(response.finish(), Err(Error::Closed));
        assert!(read(&mut response, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20").is_ok());
        assert_eq!(response.finish(), Err(Error::Closed));
        assert!(response.body().is_none());
    }

    #[test]
    fn rsp_22_a_close_inside_the_body_is_told_from_its_end() {
        for (rest, complete) in [
            ("Content-Length: 3\r\n\r\nab", false),
            ("Content-Length: 2\r\n\r\nab", true),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", false),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", true),
            ("\r\nab", true),
        ] {
            let mut response = Response::new(false);
            let read = read(&mut response, format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes());
            assert_eq!(read, Ok((vec![200], b"ab".to_vec())), "{rest:?}");
            assert_eq!(response.finish(), Ok(complete), "{rest:?}");
            assert_eq!(response.is_done(), complete, "{rest:?}");
        }
    }

    #[test]
    fn rsp_24_bytes_beyond_the_end_stay_with_the_caller() {
        let mut response = Response::new(false);
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n";
        assert_eq!(read(&mut response, input), Ok((vec![200], b"hi".to_vec())));
        let end = response.next(b"HTTP/1.1 200 OK\r\n", &Limits::default());
        assert_eq!(end, Ok(Event::Part(Part::End(0))));
    }
}
