//! The head parser: never a panic, and the same as httparse for all that httparse takes.
#![no_main]

use hansom_engine::Limits;
use hansom_engine::http1::HeadParser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let ours = HeadParser::new().parse(input, &Limits::default()).ok().flatten();
    if let Some(head) = &ours {
        assert!(head.length <= input.len());
    }
    // httparse skips any number of blank lines, ours only a few.
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return;
    }
    let mut room = [httparse::EMPTY_HEADER; 256];
    let mut theirs = httparse::Response::new(&mut room);
    if let Ok(httparse::Status::Complete(length)) = theirs.parse(input)
        && length < 4096
    {
        let ours = ours.expect("httparse takes this head");
        assert_eq!(ours.length, length);
        assert_eq!(Some(ours.status), theirs.code);
        assert!(
            ours.headers
                .iter()
                .eq(theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)))
        );
    }
});
