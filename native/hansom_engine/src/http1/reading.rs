//! What is read from the link, and into which memory.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::body::Framing;
use super::connection::{Http1, Idle};
use super::exchange::{Demand, Exchange};
use super::input::Input;
use super::transfer::{PIECE, TURN};
use crate::error::Error;
use crate::host::Host;
use crate::port::Port;
use crate::transport::Link;

/// What may be received before anybody asks for it.
const READ_AHEAD: usize = 64 << 10;
/// Memory made ready for a read of a body of unknown length.
const STEP: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AHEAD].into_boxed_slice());
}

/// What an attempt to read led to.
pub(super) enum Filled {
    /// So many bytes, or the end, or an error.
    Some(usize),
    /// Nothing came, or nothing may be read now.
    Nothing,
}

impl<H: Host> Http1<H> {
    /// Whether bytes may be taken from the link now.
    pub(super) fn may_read(&self) -> bool {
        if self.unread.is_empty() && (self.eof || self.read_error.is_some()) {
            return false;
        }
        if self.raw.is_some() || self.waits_for_input() {
            return true;
        }
        let watched = !matches!(self.exchange, Exchange::None) || self.idle != Idle::Unwatched;
        watched && self.input.len() < READ_AHEAD
    }

    /// Why nothing more will come, if so.
    pub(super) fn no_more(&self) -> Option<Error> {
        self.read_error.clone().or(self.eof.then_some(Error::Closed))
    }

    /// Reads once, if anything may be read.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>, port: &mut Port<'_, H>) -> Filled {
        self.read_registered = false;
        if !self.may_read() {
            return Filled::Nothing;
        }
        let put_back = self.unread.len();
        let result = match self.fill_directly(cx, port) {
            Some(result) => result,
            None => self.fill_input(cx),
        };
        match result {
            Poll::Pending => {
                self.read_registered = self.link.is_some();
                Filled::Nothing
            }
            Poll::Ready(result) => {
                self.progress = true;
                match result {
                    Ok(0) => self.eof = true,
                    Ok(read) => {
                        if put_back == 0 {
                            port.status.count_received(read);
                        }
                        return Filled::Some(read);
                    }
                    Err(Error::Closed) => self.eof = true,
                    Err(error) => self.read_error = Some(error),
                }
                self.end_raw(port);
                Filled::Some(1)
            }
        }
    }

    fn fill_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let Some(link) = &mut self.link else { return Poll::Pending };
        SCRATCH.with_borrow_mut(|scratch| {
            let result = read(&mut self.unread, link, scratch, cx);
            if let Poll::Ready(Ok(read)) = &result {
                self.input.extend(scratch.get(..*read).unwrap_or_default());
            }
            result
        })
    }

    /// Reads into the memory of whoever wants the bytes, if they need not be looked at first.
    fn fill_directly(
        &mut self,
        cx: &mut Context<'_>,
        port: &mut Port<'_, H>,
    ) -> Option<Poll<Result<usize, Error>>> {
        let link = self.link.as_mut()?;
        if let Some(raw) = &mut self.raw {
            let wanted = match raw.length {
                0 => STEP,
                length => length.saturating_sub(raw.gather.len()).min(STEP),
            };
            if let Err(error) = raw.gather.reserve(wanted, None) {
                return Some(Poll::Ready(Err(error)));
            }
            let result = read(&mut self.unread, link, raw.gather.room().get_mut(..wanted)?, cx);
            if let Poll::Ready(Ok(read)) = &result
                && *read > 0
            {
                raw.gather.filled(*read);
                let enough = raw.gather.len() >= raw.length;
                if enough {
                    self.end_raw(port);
                }
            }
            return Some(result);
        }
        let Exchange::Active(active) = &mut self.exchange else { return None };
        let demand = active.demand();
        let facts = active.head.as_ref()?;
        if !self.input.is_empty() || facts.coded.is_some() || active.ended.is_some() {
            return None;
        }
        let framing = facts.framing;
        let limits = &port.config.limits;
        let expected = facts.expected(limits);
        let body = active.response.body()?;
        let contiguous = usize::try_from(body.contiguous()).unwrap_or(usize::MAX);
        if contiguous == 0 {
            return None;
        }
        let (step, expected, most) = match demand {
            Demand::Whole => {
                // One byte more tells a body that ends at the limit from a longer one.
                let most =
                    limits.body_bytes.saturating_sub(active.gather.len() as u64).saturating_add(1);
                (STEP, expected, usize::try_from(most).unwrap_or(usize::MAX))
            }
            Demand::Piece => (PIECE.saturating_sub(active.gather.len()).max(1), None, usize::MAX),
            Demand::Nothing | Demand::Drop => return None,
        };
        let most = most.min(contiguous);
        if let Err(error) = active.gather.reserve(step.min(most), expected) {
            return Some(Poll::Ready(Err(error)));
        }
        let room = active.gather.room();
        let len = room.len().min(most).min(TURN);
        let result = read(&mut self.unread, link, room.get_mut(..len)?, cx);
        if let Poll::Ready(Ok(read)) = &result {
            active.gather.filled(*read);
            body.advance(*read as u64);
            let chunk_ends = framing == Framing::Chunked && body.contiguous() == 0;
            let full = active.gather.len() >= PIECE || chunk_ends;
            if demand == Demand::Piece
                && full
                && *read > 0
                && let Err(error) = self.emit(port)
            {
                return Some(Poll::Ready(Err(error)));
            }
        }
        Some(result)
    }
}

/// Reads what was put back, or else from the link.
fn read(
    unread: &mut Input,
    link: &mut Link,
    memory: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Error>> {
    if !unread.is_empty() {
        return Poll::Ready(Ok(unread.take(memory)));
    }
    let mut buffer = ReadBuf::new(memory);
    Pin::new(link)
        .poll_read(cx, &mut buffer)
        .map(|result| result.map(|()| buffer.filled().len()).map_err(Error::from))
}
