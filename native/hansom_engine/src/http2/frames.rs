//! What passes on a connection, read along: what the peer says of itself in its settings, window
//! updates and GOAWAY (RFC 9113, section 6), and whether it sends more than it may.

use tokio::time::Instant;

use super::flood::{FloodGuard, Parts};
use crate::config::Http2Config;
use crate::error::H2Code;

const FRAME_HEAD: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
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

/// Both directions of a connection.
pub(super) struct Frames {
    pub(super) peer: Peer,
    /// Bytes of content we sent. The protocol library does not tell what became of content whose
    /// stream was reset.
    pub(super) content: u64,
    guard: FloodGuard,
    theirs: Cursor,
    ours: Cursor,
}

impl Frames {
    pub(super) fn new(config: &Http2Config) -> Self {
        Self {
            peer: Peer {
                settled: false,
                max_streams: u32::MAX,
                initial_window: 65_535,
                max_header_list: u32::MAX,
                window: 65_535,
                goaway: None,
            },
            content: 0,
            guard: FloodGuard::new(config, Instant::now()),
            theirs: Cursor::after(0),
            ours: Cursor::after(PREFACE),
        }
    }

    /// Of the messages that came until now, these parts were taken.
    pub(super) fn taken(&mut self, parts: Parts) {
        self.guard.taken(parts);
    }

    /// Whether the peer has sent more than it may.
    pub(super) fn is_flood(&self) -> bool {
        self.guard.is_flood()
    }

    /// Looks at the next bytes from the peer.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let Self { peer, guard, theirs, .. } = self;
        theirs.read(bytes, |found| match found {
            Found::Part(head, part) => peer.says(head, part, guard),
            Found::End(head) => match head.kind {
                CONTINUATION | WINDOW_UPDATE => {}
                HEADERS => guard.came().add_head(),
                DATA if head.len > 0 => guard.came().add(head.len),
                kind => {
                    peer.settled |= kind == SETTINGS && !head.is_ack();
                    guard.received();
                    if kind == RST_STREAM {
                        guard.reset();
                    }
                }
            },
        });
    }

    /// Looks at the next bytes to the peer.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let Self { content, guard, ours, .. } = self;
        ours.read(bytes, |found| match found {
            Found::Part(head, [a, b, c, d, ..]) => {
                let code = H2Code(u32::from_be_bytes([a, b, c, d]));
                // With this one the library answers what comes on a stream that is over.
                if head.kind == RST_STREAM && code != H2Code::STREAM_CLOSED {
                    guard.reset();
                }
            }
            Found::End(head) => match head.kind {
                DATA => {
                    *content += head.len as u64;
                    guard.sent(head.len);
                }
                HEADERS => guard.sent(0),
                SETTINGS | PING if !head.is_ack() => guard.sent(0),
                _ => {}
            },
        });
    }
}

impl Peer {
    /// A part of a frame that is of interest.
    fn says(&mut self, head: Head, part: [u8; 8], guard: &mut FloodGuard) {
        let [a, b, c, d, e, f, g, h] = part;
        let number = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
        match head.kind {
            SETTINGS => {
                let value = u32::from_be_bytes([c, d, e, f]);
                match u16::from_be_bytes([a, b]) {
                    MAX_CONCURRENT_STREAMS => self.max_streams = value,
                    INITIAL_WINDOW_SIZE => self.initial_window = value,
                    MAX_HEADER_LIST_SIZE => self.max_header_list = value,
                    _ => {}
                }
            }
            WINDOW_UPDATE => {
                if head.stream == 0 {
                    self.window += u64::from(number);
                }
                guard.reopened(number);
            }
            GOAWAY => self.goaway = Some((number, u32::from_be_bytes([e, f, g, h]))),
            _ => {}
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy)]
struct Head {
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn parse([a, b, c, kind, flags, stream @ ..]: [u8; FRAME_HEAD]) -> Self {
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        // The first bit is reserved and to be ignored.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Self { len, kind, flags, stream }
    }

    fn is_ack(self) -> bool {
        self.flags & ACK != 0
    }

    /// The size of the parts in which the payload is of interest, 0 if it is not. Of all but SETTINGS
    /// only the first one is.
    fn part_size(self) -> usize {
        match self.kind {
            SETTINGS if !self.is_ack() => 6,
            GOAWAY if self.stream == 0 => 8,
            WINDOW_UPDATE | RST_STREAM => 4,
            _ => 0,
        }
    }
}

/// What is found in a direction.
enum Found {
    /// A part of a payload.
    Part(Head, [u8; 8]),
    /// The end of a frame.
    End(Head),
}

/// Reads frames in whatever pieces they come.
struct Cursor {
    head_bytes: [u8; FRAME_HEAD],
    have: usize,
    head: Head,
    /// Bytes of the payload still to come.
    left: usize,
    /// A part of the payload that is not yet complete, and its size.
    part: [u8; 8],
    part_len: usize,
    part_size: usize,
}

impl Cursor {
    /// For frames that follow so many other bytes.
    fn after(skipped: usize) -> Self {
        Self {
            head_bytes: [0; FRAME_HEAD],
            have: if skipped > 0 { FRAME_HEAD } else { 0 },
            head: Head { len: skipped, kind: u8::MAX, flags: 0, stream: 0 },
            left: skipped,
            part: [0; 8],
            part_len: 0,
            part_size: 0,
        }
    }

    fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Found)) {
        while !bytes.is_empty() {
            if self.have < FRAME_HEAD {
                let (now, rest) = bytes.split_at(bytes.len().min(FRAME_HEAD - self.have));
                self.head_bytes[self.have..self.have + now.len()].copy_from_slice(now);
                self.have += now.len();
                bytes = rest;
                if self.have < FRAME_HEAD {
                    return;
                }
                self.head = Head::parse(self.head_bytes);
                self.left = self.head.len;
                self.part_len = 0;
                self.part_size = self.head.part_size();
            } else {
                let (now, rest) = bytes.split_at(bytes.len().min(self.left));
                self.payload(now, &mut found);
                self.left -= now.len();
                bytes = rest;
            }
            if self.left == 0 {
                found(Found::End(self.head));
                self.have = 0;
            }
        }
    }

    fn payload(&mut self, bytes: &[u8], found: &mut impl FnMut(Found)) {
        for byte in bytes {
            if self.part_size == 0 {
                return;
            }
            self.part[self.part_len] = *byte;
            self.part_len += 1;
            if self.part_len == self.part_size {
                found(Found::Part(self.head, self.part));
                self.part_len = 0;
                if self.head.kind != SETTINGS {
                    self.part_size = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, PREFACE};
    use crate::config::Http2Config;

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
        let mut whole = Frames::new(&Http2Config::default());
        whole.received(&bytes);
        assert!(whole.peer.settled);
        assert_eq!(whole.peer.max_streams, 7);
        assert_eq!(whole.peer.initial_window, 512);
        assert_eq!(whole.peer.max_header_list, 256);
        assert_eq!(whole.peer.window, 65_535 + 9);
        assert_eq!(whole.peer.goaway, Some((5, 11)));
        for size in 1..40 {
            let mut split = Frames::new(&Http2Config::default());
            for piece in bytes.chunks(size) {
                split.received(piece);
            }
            assert_eq!(split.peer, whole.peer, "pieces of {size}");
        }
    }

    // Clauses: H2-11
    #[test]
    fn content_is_counted_however_it_is_written() {
        let mut bytes = vec![b'P'; PREFACE];
        for (kind, len) in
            [(0x4, 18), (0x1, 100), (0x0, 1000), (0x0, 0), (0x6, 8), (0x0, 70_000), (0x3, 4)]
        {
            bytes.extend(frame(kind, 0, 1, &vec![0; len]));
        }
        for size in (1..40).chain([bytes.len()]) {
            let mut frames = Frames::new(&Http2Config::default());
            for piece in bytes.chunks(size) {
                frames.sent(piece);
            }
            assert_eq!(frames.content, 71_000, "pieces of {size}");
        }
    }

    #[test]
    fn an_acknowledgement_is_not_the_peers_settings() {
        let mut frames = Frames::new(&Http2Config::default());
        frames.received(&frame(0x4, 1, 0, &[]));
        assert!(!frames.peer.settled);
    }
}
