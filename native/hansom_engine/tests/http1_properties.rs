//! What holds for every response, however its bytes arrive.

use hansom_engine::http1::{BodyDecoder, Event, Framing, Head, Part, Response};
use hansom_engine::{Error, Limits};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};

/// What a caller gets to see of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Interim(Head),
    Head(Head, Framing),
    /// A whole piece: an HTTP chunk or a body of known length.
    Piece(Vec<u8>),
    /// What came of a piece before the bytes ended.
    Partial(Vec<u8>),
    End,
    Failed(Error),
}

/// How body bytes get to the caller.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// All through [`Response::next`].
    Buffered,
    /// Past it wherever [`BodyDecoder::contiguous`] allows.
    Direct,
}

/// Reads `input` in parts that end at `cuts`: what was seen, and how many bytes were left over.
fn read(
    head_request: bool,
    input: &[u8],
    cuts: &[usize],
    reading: Reading,
    limits: &Limits,
) -> (Vec<Seen>, usize) {
    let mut response = Response::new(head_request);
    let (mut seen, mut piece) = (Vec::new(), Vec::new());
    let (mut start, mut over) = (0, false);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.push(input.len());
    cuts.sort_unstable();
    for cut in cuts {
        if over {
            break;
        }
        if let (Reading::Direct, Some(body)) = (reading, response.body()) {
            start += direct(body, &input[start..cut], &mut piece, &mut seen);
        }
        loop {
            let shown = &input[start..cut];
            let used = match response.next(shown, limits) {
                Ok(Event::More) => break,
                Ok(Event::Interim(head)) => {
                    let length = head.length;
                    seen.push(Seen::Interim(head));
                    length
                }
                Ok(Event::Head { head, framing }) => {
                    let length = head.length;
                    seen.push(Seen::Head(head, framing));
                    length
                }
                Ok(Event::Part(Part::Data { len, ends_piece })) => {
                    piece.extend_from_slice(&shown[..len]);
                    if ends_piece {
                        seen.push(Seen::Piece(std::mem::take(&mut piece)));
                    }
                    len
                }
                Ok(Event::Part(Part::Skip(len))) => len,
                Ok(Event::Part(Part::End(len))) => {
                    assert!(response.is_done());
                    seen.push(Seen::End);
                    start += len;
                    over = true;
                    break;
                }
                Ok(Event::Part(Part::More)) => panic!("More is an event of its own"),
                Err(error) => {
                    seen.push(Seen::Failed(whatever_the_split(error)));
                    over = true;
                    break;
                }
            };
            assert!(0 < used && used <= shown.len());
            start += used;
        }
    }
    if !piece.is_empty() {
        seen.push(Seen::Partial(piece));
    }
    (seen, input.len() - start)
}

/// Takes what may be read past the decoder and returns how much that was.
fn direct(
    body: &mut BodyDecoder,
    input: &[u8],
    piece: &mut Vec<u8>,
    seen: &mut Vec<Seen>,
) -> usize {
    let contiguous = body.contiguous();
    let len = input.len().min(usize::try_from(contiguous).unwrap_or(usize::MAX));
    body.advance(len as u64);
    piece.extend_from_slice(&input[..len]);
    if len > 0 && len as u64 == contiguous {
        seen.push(Seen::Piece(std::mem::take(piece)));
    }
    len
}

/// Bytes that are not HTTP are `BadRequest` with their line end and `NotHttp` without.
fn whatever_the_split(error: Error) -> Error {
    match error {
        Error::NotHttp => Error::BadRequest,
        error => error,
    }
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("\r\n"), 1 => Just("\n")]
}

fn field() -> impl Strategy<Value = String> {
    let tidy = ("[A-Za-z][A-Za-z-]{0,8}", ": ?", "[ -~]{0,12}", line_end())
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"));
    let folded = ("[A-Za-z]{1,8}", "[a-z]{0,4}", "[ \t][a-z ]{0,4}", line_end())
        .prop_map(|(name, value, fold, end)| format!("{name}: {value}{end}{fold}{end}"));
    let odd = ("[a-z (]{1,8}", "[:]?", "[ \t\r\u{e9}a:]{0,4}", line_end())
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"));
    prop_oneof![4 => tidy, 1 => folded, 1 => odd]
}

fn status_line(codes: impl Strategy<Value = u16>) -> impl Strategy<Value = String> {
    (vec(line_end(), 0..3), codes, "( [ -~]{0,8})?", line_end()).prop_map(
        |(blank, code, reason, end)| format!("{}HTTP/1.1 {code}{reason}{end}", blank.concat()),
    )
}

fn interim() -> impl Strategy<Value = String> {
    (status_line(100_u16..200), vec(field(), 0..3), line_end())
        .prop_map(|(line, fields, end)| format!("{line}{}{end}", fields.concat()))
}

fn chunk() -> impl Strategy<Value = String> {
    ("[ -~]{1,24}", "0{0,3}", "(;[a-z=\" ]{0,8}| )?", line_end()).prop_map(
        |(data, zeros, extension, end)| {
            format!("{zeros}{:x}{extension}{end}{data}\r\n", data.len())
        },
    )
}

/// The field that tells the framing, and the body with whatever follows it.
fn body() -> impl Strategy<Value = (String, String)> {
    let chunked = (vec(chunk(), 0..5), vec(field(), 0..3), line_end(), "[ -~]{0,4}").prop_map(
        |(chunks, trailers, end, rest)| {
            let body = format!("{}0{end}{}{end}{rest}", chunks.concat(), trailers.concat());
            ("Transfer-Encoding: chunked\r\n".to_owned(), body)
        },
    );
    let length = (0_usize..40, "[ -~\r\n]{0,40}")
        .prop_map(|(length, body)| (format!("Content-Length: {length}\r\n"), body));
    let close = "[ -~\r\n]{0,40}".prop_map(|body| (String::new(), body));
    prop_oneof![2 => chunked, 1 => length, 1 => close]
}

/// Responses as servers send them, the odd ones included.
fn response() -> impl Strategy<Value = Vec<u8>> {
    (vec(interim(), 0..3), status_line(200_u16..600), vec(field(), 0..6), body(), line_end())
        .prop_map(|(interims, line, fields, (framing, body), end)| {
            let fields = fields.concat();
            format!("{}{line}{fields}{framing}{end}{body}", interims.concat()).into_bytes()
        })
}

/// Responses with a few bytes changed, and bytes that never were a response.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let spoiled = (response(), vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)).prop_map(
        |(mut response, changes)| {
            for (place, byte) in changes {
                *place.get_mut(&mut response) = byte;
            }
            response
        },
    );
    let headed = vec(any::<u8>(), 0..80).prop_map(|rest| {
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &rest[..]].concat()
    });
    prop_oneof![4 => spoiled, 1 => headed, 1 => vec(any::<u8>(), 0..80)]
}

/// Limits that responses of the size above run into.
fn tight() -> Limits {
    Limits {
        header_bytes: 60,
        headers: 3,
        interim_responses: 1,
        chunk_extension_bytes: 4,
        trailer_bytes: 20,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_split_gives_the_same_events(
        input in response(),
        cuts in vec(any::<usize>(), 0..12),
        head_request in any::<bool>(),
    ) {
        let limits = Limits::default();
        let whole = read(head_request, &input, &[], Reading::Buffered, &limits);
        let every: Vec<usize> = (0..input.len()).collect();
        for reading in [Reading::Buffered, Reading::Direct] {
            for cuts in [&cuts, &every] {
                prop_assert_eq!(&read(head_request, &input, cuts, reading, &limits), &whole);
            }
        }
    }

    #[test]
    fn any_split_gives_the_same_events_and_errors(
        input in prop_oneof![anything(), response()],
        cuts in vec(any::<usize>(), 0..12),
    ) {
        for limits in [Limits::default(), tight()] {
            let (whole, _) = read(false, &input, &[], Reading::Buffered, &limits);
            for reading in [Reading::Buffered, Reading::Direct] {
                let (split, _) = read(false, &input, &cuts, reading, &limits);
                prop_assert_eq!(&split, &whole);
            }
        }
    }

    #[test]
    fn a_cut_at_any_byte_gives_the_beginning_of_the_events(input in response()) {
        let limits = Limits::default();
        let (whole, _) = read(false, &input, &[], Reading::Buffered, &limits);
        for len in 0..input.len() {
            let (mut cut, _) = read(false, &input[..len], &[], Reading::Buffered, &limits);
            if let Some(Seen::Partial(part)) = cut.last().cloned() {
                cut.pop();
                let next = whole.get(cut.len());
                let begins = match next {
                    Some(Seen::Piece(all) | Seen::Partial(all)) => all.starts_with(&part),
                    _ => false,
                };
                prop_assert!(begins, "{part:?} is not the beginning of {next:?}");
            }
            prop_assert!(whole.starts_with(&cut), "{cut:?} is not the beginning of {whole:?}");
        }
    }

    #[test]
    fn a_close_finds_the_response_complete_cut_short_or_without_a_head(
        input in response(),
        cut in any::<prop::sample::Index>(),
    ) {
        let limits = Limits::default();
        let mut rest = &input[..cut.index(input.len())];
        let mut response = Response::new(false);
        loop {
            let used = match response.next(rest, &limits) {
                Ok(Event::Interim(head) | Event::Head { head, .. }) => head.length,
                Ok(Event::Part(Part::Data { len, .. } | Part::Skip(len))) => len,
                Ok(Event::More | Event::Part(Part::End(_) | Part::More)) | Err(_) => break,
            };
            rest = &rest[used..];
        }
        let had_head = response.body().is_some();
        let done = response.is_done();
        match response.finish() {
            Ok(complete) => {
                prop_assert!(had_head);
                prop_assert!(complete || !done);
                prop_assert_eq!(response.is_done(), complete);
            }
            Err(error) => {
                prop_assert!(!had_head);
                prop_assert_eq!(error, Error::Closed);
            }
        }
    }
}
