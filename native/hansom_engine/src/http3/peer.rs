//! The streams a server opens (RFC 9114, section 6.2; RFC 9204, section 4.2).

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use quinn::{ReadError, RecvStream, VarInt};

use super::code::{Code, Violation};
use super::control::Control;
use super::varint;

pub(super) const CONTROL: u8 = 0x0;
const PUSH: u64 = 0x1;
const ENCODER: u64 = 0x2;
const DECODER: u64 = 0x3;

/// What is taken from one stream before the others get their turn.
const TURN: usize = 64 << 10;

/// The streams of one server.
#[derive(Default)]
pub(super) struct PeerStreams {
    /// Their types have not come yet.
    unknown: Vec<(RecvStream, Vec<u8>)>,
    control: Option<RecvStream>,
    encoder: Option<RecvStream>,
    decoder: Option<(RecvStream, Cancellations)>,
}

impl PeerStreams {
    pub(super) fn add(&mut self, stream: RecvStream) {
        self.unknown.push((stream, Vec::new()));
    }

    /// Reads what has come.
    pub(super) fn poll(
        &mut self,
        control: &mut Control,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        for (mut stream, mut head) in std::mem::take(&mut self.unknown) {
            match read_type(&mut stream, &mut head, cx) {
                Poll::Pending => self.unknown.push((stream, head)),
                Poll::Ready(Some(kind)) => self.sort(kind, stream)?,
                Poll::Ready(None) => {}
            }
        }
        if let Some(stream) = &mut self.control {
            read(stream, cx, |bytes| control.read(bytes))?;
        }
        if let Some(stream) = &mut self.encoder {
            // The dynamic table has no room for anything: all that can be said is that it has none.
            read(stream, cx, |bytes| {
                let allowed = bytes.iter().all(|byte| *byte == 0x20);
                let code = Code::QPACK_ENCODER_STREAM_ERROR;
                allowed.then_some(()).ok_or(Violation::new(code, "there is no dynamic table"))
            })?;
        }
        if let Some((stream, cancellations)) = &mut self.decoder {
            read(stream, cx, |bytes| cancellations.read(&bytes))?;
        }
        Ok(())
    }

    fn sort(&mut self, kind: u64, mut stream: RecvStream) -> Result<(), Violation> {
        let before = match kind {
            0 => self.control.replace(stream).is_some(),
            ENCODER => self.encoder.replace(stream).is_some(),
            DECODER => self.decoder.replace((stream, Cancellations::default())).is_some(),
            PUSH => return Err(Violation::new(Code::ID_ERROR, "there are no pushes")),
            _ => {
                // Refused only if it is over.
                let _ = stream.stop(VarInt::from_u32(Code::STREAM_CREATION_ERROR.0));
                false
            }
        };
        if before {
            return Err(Violation::new(Code::STREAM_CREATION_ERROR, "a second stream of its type"));
        }
        Ok(())
    }
}

/// What a decoder can say to an encoder without a dynamic table: that it does not read a stream.
#[derive(Default)]
struct Cancellations {
    inside: bool,
}

impl Cancellations {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        for byte in bytes {
            if self.inside {
                self.inside = byte & 0x80 != 0;
            } else if byte & 0xc0 == 0x40 {
                self.inside = byte & 0x3f == 0x3f;
            } else {
                let code = Code::QPACK_DECODER_STREAM_ERROR;
                return Err(Violation::new(code, "there is no dynamic table"));
            }
        }
        Ok(())
    }
}

/// The type of a stream; `None` if it ended before.
fn read_type(
    stream: &mut RecvStream,
    head: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Option<u64>> {
    loop {
        if let Some((kind, _)) = varint::read(head) {
            return Poll::Ready(Some(kind));
        }
        // No more than the type is taken.
        match pin!(stream.read_chunk(1, true)).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Some(mut chunk))) => {
                while chunk.bytes.has_remaining() {
                    head.push(chunk.bytes.get_u8());
                }
            }
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(None),
        }
    }
}

/// Reads what has come on a stream that may not end.
fn read(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
    mut look: impl FnMut(Bytes) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut left = TURN;
    loop {
        if left == 0 {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        match pin!(stream.read_chunk(left, true)).poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(Some(chunk))) => {
                left -= chunk.bytes.len();
                look(chunk.bytes)?;
            }
            Poll::Ready(Ok(None) | Err(ReadError::Reset(_))) => {
                let text = "a stream ended that the connection needs";
                return Err(Violation::new(Code::CLOSED_CRITICAL_STREAM, text));
            }
            // Why the connection is lost, is told elsewhere.
            Poll::Ready(Err(_)) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cancellations;

    #[test]
    fn a_decoder_may_say_that_it_does_not_read_a_stream() {
        let mut cancellations = Cancellations::default();
        for bytes in [&[0x44][..], &[0x7f, 0x80], &[0xff, 0x01, 0x40]] {
            assert!(cancellations.read(bytes).is_ok(), "{bytes:?}");
        }
        for bytes in [&[0x80][..], &[0x01]] {
            assert!(cancellations.read(bytes).is_err(), "{bytes:?}");
        }
    }
}
