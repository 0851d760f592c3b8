//! Whole responses: the same events whether the bytes come at once, one by one, or cut where the
//! first byte says.
#![no_main]

use hansom_engine::http1::{Event, Head, Part, Response};
use hansom_engine::{Error, Limits};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, PartialEq)]
enum Seen {
    Head(Head),
    Data { byte: u8, ends_piece: bool },
    End { left: usize },
    Failed(Error),
}

/// What a caller sees of `input` when it comes in parts of `step` bytes.
fn read(input: &[u8], step: usize, limits: &Limits) -> Vec<Seen> {
    let mut response = Response::new(false);
    let mut seen = Vec::new();
    let (mut start, mut received) = (0, 0);
    while received < input.len() {
        received = input.len().min(received + step);
        loop {
            let shown = &input[start..received];
            start += match response.next(shown, limits) {
                Ok(Event::More) => break,
                Ok(Event::Interim(head) | Event::Head { head, .. }) => {
                    let length = head.length;
                    seen.push(Seen::Head(head));
                    length
                }
                Ok(Event::Part(Part::Data { len, ends_piece })) => {
                    seen.extend(shown[..len].iter().enumerate().map(|(index, &byte)| Seen::Data {
                        byte,
                        ends_piece: ends_piece && index + 1 == len,
                    }));
                    len
                }
                Ok(Event::Part(Part::Skip(len))) => len,
                Ok(Event::Part(Part::End(len))) => {
                    seen.push(Seen::End { left: input.len() - start - len });
                    return seen;
                }
                Ok(Event::Part(Part::More)) => unreachable!("More is an event of its own"),
                Err(error) => {
                    // Bytes that are not HTTP are told before their line ends, if that comes late.
                    let error = if error == Error::NotHttp { Error::BadRequest } else { error };
                    seen.push(Seen::Failed(error));
                    return seen;
                }
            };
        }
    }
    seen
}

fuzz_target!(|input: &[u8]| {
    let Some((&step, input)) = input.split_first() else { return };
    let tight = Limits {
        header_bytes: 256,
        headers: 8,
        interim_responses: 2,
        chunk_extension_bytes: 16,
        trailer_bytes: 64,
        ..Limits::default()
    };
    // A long line of anything but HTTP is `LineTooLong` at once and `BadRequest` in parts.
    if input.len() > 4096 {
        return;
    }
    for limits in [Limits::default(), tight] {
        let whole = read(input, usize::MAX, &limits);
        assert_eq!(read(input, 1, &limits), whole);
        assert_eq!(read(input, usize::from(step).max(1), &limits), whole);
    }
});
