//! What the peer says of itself, read along from the bytes it sends: the settings and window
//! updates that decide what may be sent to it, and its GOAWAY (RFC 9113, section 6).

const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const ACK: u8 = 0x1;

const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// What the peer has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// It has sent its settings.
    pub(super) settled: bool,
    /// Streams it allows at a time.
    pub(super) max_streams: u32,
    /// Bytes it takes on a new stream.
    pub(super) initial_window: u32,
    /// The largest header section it takes.
    pub(super) max_header_list: u32,
    /// Bytes it ever took on all streams together.
    pub(super) window: u64,
    /// The last stream it may act on, and why there will be no others.
    pub(super) goaway: Option<(u32, u32)>,
}

/// Reads frames in whatever pieces they come.
pub(super) struct Frames {
    pub(super) peer: Peer,
    head: [u8; FRAME_HEAD],
    have: usize,
    /// Bytes of the payload still to come.
    left: usize,
    /// A part of the payload that is not yet complete.
    part: [u8; 8],
    part_len: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            peer: Peer {
                settled: false,
                max_streams: u32::MAX,
                initial_window: 65_535,
                max_header_list: u32::MAX,
                window: 65_535,
                goaway: None,
            },
            head: [0; FRAME_HEAD],
            have: 0,
            left: 0,
            part: [0; 8],
            part_len: 0,
        }
    }

    /// Looks at the next bytes from the peer.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.have < FRAME_HEAD {
                let (now, rest) = bytes.split_at(bytes.len().min(FRAME_HEAD - self.have));
                self.head[self.have..self.have + now.len()].copy_from_slice(now);
                self.have += now.len();
                bytes = rest;
                if self.have < FRAME_HEAD {
                    return;
                }
                let [a, b, c, ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.part_len = 0;
            } else {
                let (now, rest) = bytes.split_at(bytes.len().min(self.left));
                self.payload(now);
                self.left -= now.len();
                bytes = rest;
            }
            if self.left == 0 {
                self.end();
                self.have = 0;
            }
        }
    }

    /// The size of the parts in which the frame's payload is of interest.
    fn part_size(&self) -> Option<usize> {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        match kind {
            SETTINGS if flags & ACK == 0 => Some(6),
            GOAWAY if stream == [0; 4] => Some(8),
            WINDOW_UPDATE if stream == [0; 4] => Some(4),
            _ => None,
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        let Some(size) = self.part_size() else { return };
        for byte in bytes {
            // Only the first part of a GOAWAY is not free text.
            if let Some(place) = self.part.get_mut(self.part_len) {
                *place = *byte;
                self.part_len += 1;
            }
            if self.part_len == size {
                self.part_complete();
            }
        }
    }

    fn part_complete(&mut self) {
        let [a, b, c, d, e, f, g, h] = self.part;
        match self.head[3] {
            SETTINGS => {
                self.part_len = 0;
                let value = u32::from_be_bytes([c, d, e, f]);
                match u16::from_be_bytes([a, b]) {
                    MAX_CONCURRENT_STREAMS => self.peer.max_streams = value,
                    INITIAL_WINDOW_SIZE => self.peer.initial_window = value,
                    MAX_HEADER_LIST_SIZE => self.peer.max_header_list = value,
                    _ => {}
                }
            }
            WINDOW_UPDATE => {
                self.part_len = 0;
                self.peer.window += u64::from(u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1));
            }
            _ => {
                let last = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
                self.peer.goaway = Some((last, u32::from_be_bytes([e, f, g, h])));
            }
        }
    }

    fn end(&mut self) {
        if self.head[3] == SETTINGS && self.head[4] & ACK == 0 {
            self.peer.settled = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
        frame.extend_from_slice(payload);
        frame
    }

    // Clauses: H2-4, H2-8
    #[test]
    fn any_split_reads_the_same() {
        let mut bytes = frame(0x4, 0, 0, &[0, 3, 0, 0, 0, 7, 0, 9, 1, 1, 1, 1, 0, 6, 0, 0, 1, 0]);
        bytes.extend(frame(0x0, 0, 1, &[4; 300]));
        bytes.extend(frame(0x4, 1, 0, &[]));
        bytes.extend(frame(0x8, 0, 1, &[0, 0, 1, 0]));
        bytes.extend(frame(0x8, 0, 0, &[0, 0, 0, 9]));
        bytes.extend(frame(0x4, 0, 0, &[0, 4, 0, 0, 2, 0]));
        bytes.extend(frame(0x7, 0, 0, b"\0\0\0\x05\0\0\0\x0bcalm down"));
        let mut whole = Frames::new();
        whole.read(&bytes);
        assert!(whole.peer.settled);
        assert_eq!(whole.peer.max_streams, 7);
        assert_eq!(whole.peer.initial_window, 512);
        assert_eq!(whole.peer.max_header_list, 256);
        assert_eq!(whole.peer.window, 65_535 + 9);
        assert_eq!(whole.peer.goaway, Some((5, 11)));
        for size in 1..40 {
            let mut split = Frames::new();
            for piece in bytes.chunks(size) {
                split.read(piece);
            }
            assert_eq!(split.peer, whole.peer, "pieces of {size}");
        }
    }

    #[test]
    fn an_acknowledgement_is_not_the_peers_settings() {
        let mut frames = Frames::new();
        frames.read(&frame(0x4, 1, 0, &[]));
        assert!(!frames.peer.settled);
    }
}
