//! What the peer says of the connection on its control stream (RFC 9114, sections 6.2.1 and 7.2).

use bytes::Bytes;

use super::code::{Code, Violation};
use super::frames::{self, Handling, Item, Reader};
use super::varint;

const MAX_FIELD_SECTION_SIZE: u64 = 0x6;

/// The largest payload of a frame with settings, or about the connection's end.
const LARGEST: u64 = 16 << 10;

/// What the peer has said so far.
pub(super) struct Control {
    reader: Reader,
    /// Its first frame has begun.
    settled: bool,
    /// The largest header section it takes.
    pub(super) max_section: u64,
    /// The first stream it does not act on.
    pub(super) goaway: Option<u64>,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { reader: Reader::new(), settled: false, max_section: u64::MAX, goaway: None }
    }

    /// Frames that carry nothing are no flood if there are requests between them.
    pub(super) fn forgive(&mut self) {
        self.reader.forgive();
    }

    /// Looks at the next bytes.
    pub(super) fn read(&mut self, mut bytes: Bytes) -> Result<(), Violation> {
        loop {
            let settled = &mut self.settled;
            let handle = |kind, length| {
                let is_first = !std::mem::replace(settled, true);
                handling(kind, length, is_first)
            };
            match self.reader.next(&mut bytes, handle)? {
                Some(Item::Frame(frames::SETTINGS, payload)) => self.settle(&payload)?,
                Some(Item::Frame(frames::GOAWAY, payload)) => self.go_away(&payload)?,
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    fn settle(&mut self, mut payload: &[u8]) -> Result<(), Violation> {
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let cut = || Violation::new(Code::FRAME_ERROR, "settings are cut short");
            let (name, used) = varint::read(payload).ok_or_else(cut)?;
            payload = &payload[used..];
            let (value, used) = varint::read(payload).ok_or_else(cut)?;
            payload = &payload[used..];
            // Those of HTTP/2 that have no meaning here (RFC 9114, section 7.2.4.1).
            if matches!(name, 0x0 | 0x2..=0x5) || seen.contains(&name) {
                return Err(Violation::new(Code::SETTINGS_ERROR, "a setting is not allowed"));
            }
            seen.push(name);
            if name == MAX_FIELD_SECTION_SIZE {
                self.max_section = value;
            }
        }
        Ok(())
    }

    fn go_away(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let id = match varint::read(payload) {
            Some((id, used)) if used == payload.len() => id,
            _ => return Err(Violation::new(Code::FRAME_ERROR, "GOAWAY is malformed")),
        };
        // Of a stream that a client opens in both directions, and never a later one than before.
        if id % 4 != 0 || self.goaway.is_some_and(|before| id > before) {
            return Err(Violation::new(Code::ID_ERROR, "GOAWAY names a wrong stream"));
        }
        self.goaway = Some(id);
        Ok(())
    }
}

fn handling(kind: u64, length: u64, is_first: bool) -> Result<Handling, Violation> {
    match (is_first, kind == frames::SETTINGS) {
        (true, false) => {
            return Err(Violation::new(Code::MISSING_SETTINGS, "settings do not come first"));
        }
        (false, true) => return Err(unexpected("settings were sent twice")),
        _ => {}
    }
    match kind {
        frames::SETTINGS | frames::GOAWAY if length > LARGEST => {
            Err(Violation::new(Code::EXCESSIVE_LOAD, "a frame is too large"))
        }
        frames::SETTINGS | frames::GOAWAY => Ok(Handling::Whole),
        frames::CANCEL_PUSH => Err(Violation::new(Code::ID_ERROR, "there are no pushes")),
        frames::DATA | frames::HEADERS | frames::PUSH_PROMISE | frames::MAX_PUSH_ID => {
            Err(unexpected("a frame does not belong on a control stream"))
        }
        kind if frames::is_reserved(kind) => Err(unexpected("a frame of HTTP/2")),
        _ => Ok(Handling::Skip),
    }
}

fn unexpected(text: &'static str) -> Violation {
    Violation::new(Code::FRAME_UNEXPECTED, text)
}

/// Our own control stream: its type, and settings that say how large a header section may be. There
/// is no dynamic table, so that no other stream of ours is needed (RFC 9204, section 4.2).
pub(super) fn greeting(max_section: usize) -> Vec<u8> {
    let mut settings = Vec::new();
    varint::write(MAX_FIELD_SECTION_SIZE, &mut settings);
    varint::write(max_section as u64, &mut settings);
    let mut greeting = vec![super::peer::CONTROL];
    frames::head(frames::SETTINGS, settings.len(), &mut greeting);
    greeting.append(&mut settings);
    greeting
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Control, greeting};
    use crate::http3::code::{Code, Violation};
    use crate::http3::frames::{self, head};

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        head(kind, payload.len(), &mut out);
        out.extend_from_slice(payload);
        out
    }

    fn read(frames: &[Vec<u8>]) -> Result<Control, Violation> {
        let mut control = Control::new();
        for frame in frames {
            for byte in frame {
                control.read(Bytes::copy_from_slice(&[*byte]))?;
            }
        }
        let mut whole = Control::new();
        whole.read(frames.concat().into())?;
        assert_eq!(whole.goaway, control.goaway);
        Ok(control)
    }

    #[test]
    fn what_we_send_is_understood() {
        assert_eq!(read(&[greeting(1 << 20)[1..].to_vec()]).unwrap().max_section, 1 << 20);
    }

    #[test]
    fn the_end_is_announced() {
        let settings = frame(frames::SETTINGS, b"");
        let control = read(&[
            settings.clone(),
            frame(0x21, b"grease"),
            frame(frames::GOAWAY, &[8]),
            settings,
        ])
        .err();
        assert_eq!(control.unwrap().code, Code::FRAME_UNEXPECTED);
        let settings = frame(frames::SETTINGS, b"");
        let twice = [settings, frame(frames::GOAWAY, &[8]), frame(frames::GOAWAY, &[4])];
        assert_eq!(read(&twice).unwrap().goaway, Some(4));
    }

    // Clauses: H3-10, TRAP-27
    #[test]
    fn violations_end_the_connection() {
        let settings = || frame(frames::SETTINGS, b"");
        let cases: [(Vec<Vec<u8>>, Code); 15] = [
            (vec![frame(frames::GOAWAY, &[0])], Code::MISSING_SETTINGS),
            (vec![frame(0x21, b"")], Code::MISSING_SETTINGS),
            (vec![frame(frames::SETTINGS, &[0x2, 1])], Code::SETTINGS_ERROR),
            (vec![frame(frames::SETTINGS, &[0x6, 1, 0x6, 1])], Code::SETTINGS_ERROR),
            (vec![frame(frames::SETTINGS, &[0x6])], Code::FRAME_ERROR),
            (vec![frame(frames::SETTINGS, &[0; 20_000])], Code::EXCESSIVE_LOAD),
            (vec![settings(), frame(frames::DATA, b"x")], Code::FRAME_UNEXPECTED),
            (vec![settings(), frame(frames::HEADERS, b"x")], Code::FRAME_UNEXPECTED),
            (vec![settings(), frame(frames::PUSH_PROMISE, b"x")], Code::FRAME_UNEXPECTED),
            (vec![settings(), frame(frames::MAX_PUSH_ID, b"x")], Code::FRAME_UNEXPECTED),
            (vec![settings(), frame(0x8, b"x")], Code::FRAME_UNEXPECTED),
            (vec![settings(), frame(frames::CANCEL_PUSH, &[1])], Code::ID_ERROR),
            (vec![settings(), frame(frames::GOAWAY, &[2])], Code::ID_ERROR),
            (vec![settings(), frame(frames::GOAWAY, &[4, 4])], Code::FRAME_ERROR),
            (
                vec![settings(), frame(frames::GOAWAY, &[4]), frame(frames::GOAWAY, &[8])],
                Code::ID_ERROR,
            ),
        ];
        for (index, (frames, code)) in cases.into_iter().enumerate() {
            assert_eq!(read(&frames).err().map(|it| it.code), Some(code), "case {index}");
        }
    }
}
