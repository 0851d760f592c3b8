//! Whatever `httparse` takes for the head of a response is read the same by ours.

use hansom_engine::Limits;
use hansom_engine::http1::{Head, HeadParser};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseError, TestRunner};
use proptest::{prop_assert, prop_assert_eq};

/// Blank lines before a status line that are still skipped.
const BLANK_LINES: usize = 9;

fn ours(input: &[u8]) -> Option<Head> {
    HeadParser::new().parse(input, &Limits::default()).ok().flatten()
}

/// Whether `httparse` took the head, which then reads the same.
fn compare(input: &[u8]) -> Result<bool, TestCaseError> {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut room);
    let Ok(httparse::Status::Complete(length)) = theirs.parse(input) else { return Ok(false) };
    let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    if blank.filter(|byte| **byte == b'\n').count() > BLANK_LINES {
        prop_assert!(ours(input).is_none());
        return Ok(true);
    }
    let Some(ours) = ours(input) else {
        return Err(TestCaseError::fail("httparse takes what we refuse"));
    };
    prop_assert_eq!(ours.length, length);
    prop_assert_eq!(Some(ours.status), theirs.code);
    prop_assert_eq!((ours.version.0, Some(ours.version.1)), (1, theirs.version));
    // httparse drops reasons that are not ASCII.
    if ours.reason.is_ascii() {
        prop_assert_eq!(Some(&ours.reason[..]), theirs.reason.map(str::as_bytes));
    }
    let theirs: Vec<_> =
        theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    prop_assert_eq!(ours.headers.iter().collect::<Vec<_>>(), theirs);
    Ok(true)
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let line_end = || prop_oneof![Just("\r\n"), Just("\n")];
    let field = ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,6}", "[ \t]{0,2}[ -~]{0,8}\u{e9}?[ \t]{0,2}");
    let field = (field, line_end()).prop_map(|((name, value), end)| format!("{name}:{value}{end}"));
    let line = "HTTP/1\\.[01] [0-9]{3}( [ -~]{0,6}\u{e9}?)?";
    (vec(line_end(), 0..12), line, line_end(), vec(field, 0..100), line_end(), "[ -~]{0,4}")
        .prop_map(|(blank, line, line_end, fields, end, rest)| {
            format!("{}{line}{line_end}{}{end}{rest}", blank.concat(), fields.concat()).into_bytes()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn heads_are_read_alike(head in head()) {
        compare(&head)?;
    }

    #[test]
    fn spoiled_heads_are_read_alike(
        mut head in head(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (place, byte) in changes {
            *place.get_mut(&mut head) = byte;
        }
        compare(&head)?;
    }
}

/// The properties above would hold idly if `httparse` refused what is generated.
#[test]
fn httparse_takes_the_heads_generated() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..64 {
        let tree = head().new_tree(&mut runner).expect("nothing is filtered out");
        assert!(matches!(compare(&tree.current()), Ok(true)));
    }
}
