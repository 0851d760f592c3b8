//! How much the peer may send that leads to nothing, before it is told to calm down (RFC 9113,
//! section 10.5).
//!
//! What is no part of a message is either an answer to something we sent, and paid for by that, or one
//! of the frames any peer is free to send, of which there may be so many in a time. Parts of messages
//! that nobody takes may have been on their way when a stream was reset, or count like the others. So
//! there is no limit to what a correct peer sends over the life of a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Http2Config, LEAST_STREAM_WINDOW};

/// Frames nobody asked for that may come within [`PERIOD`].
const UNASKED: u32 = 10_000;
const PERIOD: Duration = Duration::from_secs(10);
/// Frames with which the peer may answer one of ours: by a reset, a PING that measures the path, an
/// acknowledgement, an empty frame at the end.
const ANSWERS: u32 = 4;
/// Answers that may be outstanding, so that a connection that is old may not be flooded either.
const MOST_ANSWERS: u32 = 1 << 20;
/// The same of bytes for which windows may be reopened: no two windows are larger.
const MOST_ROOM: u64 = 1 << 32;

/// Weighs what the peer sends against what it was sent.
#[derive(Debug)]
pub(super) struct FloodGuard {
    /// Frames the peer may still answer with.
    answers: u32,
    /// Bytes sent for which the peer may still reopen windows, that of the stream and that of the
    /// connection.
    room: u64,
    /// What may be on its way on a stream, and on all of them, when one is reset.
    stream_window: u64,
    connection_window: u64,
    /// Bytes that may still come on streams that were reset.
    late: u64,
    /// Parts of messages that came and that nobody took yet.
    came: Parts,
    /// Frames nobody asked for, since the period began.
    unasked: u32,
    began: Instant,
    is_flood: bool,
}

/// Parts of messages: frames of DATA and HEADERS, and the bytes in them. A header block counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    frames: u64,
    bytes: u64,
}

impl Parts {
    pub(super) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn add_head(&mut self) {
        self.add(1);
    }
}

impl FloodGuard {
    pub(super) fn new(config: &Http2Config, now: Instant) -> Self {
        Self {
            answers: 0,
            room: 0,
            stream_window: config.stream_window.max(LEAST_STREAM_WINDOW).into(),
            connection_window: config.connection_window.max(65_535).into(),
            late: 0,
            came: Parts::default(),
            unasked: 0,
            began: now,
            is_flood: false,
        }
    }

    /// Whether the peer has sent more than it may.
    pub(super) fn is_flood(&self) -> bool {
        self.is_flood
    }

    /// We sent a frame that the peer may answer, with so many bytes of content.
    pub(super) fn sent(&mut self, content: usize) {
        self.answers = self.answers.saturating_add(ANSWERS).min(MOST_ANSWERS);
        self.room = self.room.saturating_add(2 * content as u64).min(MOST_ROOM);
    }

    /// A stream was reset, by one side or the other.
    pub(super) fn reset(&mut self) {
        let most = 2 * self.connection_window;
        self.late = self.late.saturating_add(self.stream_window + 1).min(most);
    }

    /// The peer reopened a window by so many bytes. One at a time will do.
    pub(super) fn reopened(&mut self, bytes: u32) {
        match self.room {
            0 => self.received(),
            _ => self.room = self.room.saturating_sub(bytes.into()),
        }
    }

    /// A part of a message came.
    pub(super) fn came(&mut self) -> &mut Parts {
        &mut self.came
    }

    /// Of what came until now, these parts were taken. Nobody will take the others.
    pub(super) fn taken(&mut self, taken: Parts) {
        let came = std::mem::take(&mut self.came);
        let frames = came.frames.saturating_sub(taken.frames);
        if frames == 0 {
            return;
        }
        match self.late.checked_sub(came.bytes.saturating_sub(taken.bytes)) {
            Some(rest) => self.late = rest,
            None => {
                self.late = 0;
                for _ in 0..frames {
                    self.received();
                }
            }
        }
    }

    /// The peer sent a frame that is no part of a message.
    pub(super) fn received(&mut self) {
        match self.answers.checked_sub(1) {
            Some(rest) => self.answers = rest,
            None => {
                self.unasked += 1;
                // The clock is looked at only then.
                if self.unasked > UNASKED {
                    self.begin(Instant::now());
                }
            }
        }
    }

    /// Begins the next period, unless too much has come in this one.
    fn begin(&mut self, now: Instant) {
        self.is_flood |= now.saturating_duration_since(self.began) < PERIOD;
        self.began = now;
        self.unasked = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> FloodGuard {
        FloodGuard::new(&Http2Config::default(), Instant::now())
    }

    fn receive(guard: &mut FloodGuard, frames: u32) -> bool {
        for _ in 0..frames {
            guard.received();
        }
        guard.is_flood()
    }

    // Clauses: H2-9
    #[tokio::test(start_paused = true)]
    async fn too_many_in_a_time_are_a_flood() {
        let mut guard = guard();
        assert!(!receive(&mut guard, UNASKED));
        assert!(receive(&mut guard, 1));
    }

    // Clauses: H2-9
    #[tokio::test(start_paused = true)]
    async fn no_total_is_a_flood() {
        let mut guard = guard();
        for _ in 0..100 {
            assert!(!receive(&mut guard, UNASKED));
            tokio::time::advance(PERIOD).await;
        }
        assert!(receive(&mut guard, 2 * UNASKED));
    }

    // Clauses: H2-9, H2-12
    #[tokio::test(start_paused = true)]
    async fn answers_are_no_flood() {
        let mut guard = guard();
        for _ in 0..3 * UNASKED {
            guard.sent(100);
            for _ in 0..ANSWERS {
                guard.received();
            }
            for _ in 0..100 {
                guard.reopened(1);
                guard.reopened(1);
            }
        }
        assert!(!guard.is_flood());
        assert_eq!((guard.room, guard.answers, guard.unasked), (0, 0, 0));
        for _ in 0..=UNASKED {
            guard.reopened(1);
        }
        assert!(guard.is_flood(), "what was sent pays once");
    }

    /// Frames of ten bytes each come, of which some are taken.
    fn parts(guard: &mut FloodGuard, came: u32, taken: u32) -> bool {
        let mut those = Parts::default();
        for index in 0..came {
            guard.came().add(10);
            if index < taken {
                those.add(10);
            }
        }
        guard.taken(those);
        guard.is_flood()
    }

    // Clauses: H2-9
    #[tokio::test(start_paused = true)]
    async fn what_is_taken_is_no_flood() {
        let mut guard = guard();
        for _ in 0..10 {
            assert!(!parts(&mut guard, UNASKED, UNASKED));
        }
        assert!(!parts(&mut guard, UNASKED, 0));
        assert!(parts(&mut guard, 2, 1));
    }

    // Clauses: H2-9
    #[tokio::test(start_paused = true)]
    async fn what_was_on_its_way_when_a_stream_was_reset_is_no_flood() {
        let mut guard = guard();
        guard.reset();
        let frames = Http2Config::default().stream_window / 10;
        assert!(!parts(&mut guard, frames, 0));
        assert_eq!(guard.unasked, 0);
        assert!(parts(&mut guard, UNASKED + 1, 0));
    }

    // Clauses: H2-9
    #[tokio::test(start_paused = true)]
    async fn an_old_connection_may_not_be_flooded_either() {
        let mut guard = guard();
        for _ in 0..MOST_ANSWERS {
            guard.sent(1 << 20);
            guard.reset();
        }
        assert_eq!((guard.answers, guard.room), (MOST_ANSWERS, MOST_ROOM));
        assert_eq!(guard.late, 2 * guard.connection_window);
        assert!(receive(&mut guard, MOST_ANSWERS + UNASKED + 1));
    }
}
