//! Bytes past HTTP. What a read takes and does not hand over is there for the next one, or for
//! HTTP.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Http1, Idle};
use super::exchange::Exchange;
use super::gather::Gather;
use crate::command::Content;
use crate::event::Answer;
use crate::host::{BodyBuffer, Host};
use crate::port::Port;

/// A read that waits.
pub(super) struct RawRead<H: Host> {
    pub(super) caller: H::Caller,
    /// So many bytes; 0 for any.
    pub(super) length: usize,
    pub(super) deadline: Option<Instant>,
    pub(super) gather: Gather<H::Buffer>,
}

impl<H: Host> Http1<H> {
    pub(super) fn send_raw(
        &mut self,
        caller: H::Caller,
        data: Content<H::Payload>,
        port: &mut Port<'_, H>,
    ) {
        self.idle = Idle::Unwatched;
        self.output.push(data);
        self.acknowledge(caller, port);
        self.restart_idle_timer();
    }

    pub(super) fn receive(
        &mut self,
        caller: H::Caller,
        length: usize,
        timeout: Option<Duration>,
        port: &mut Port<'_, H>,
    ) {
        if self.raw.is_some() {
            return port.refuse(caller);
        }
        if matches!(self.exchange, Exchange::None) {
            self.idle = Idle::Unwatched;
        }
        if self.unread.len() < length.max(1)
            && let Some(error) = self.no_more()
        {
            return port.sink.reply(caller, Answer::Error(error));
        }
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        self.raw = Some(RawRead { caller, length, deadline, gather: Gather::new() });
        self.restart_idle_timer();
    }

    /// Answers a read with what it has, or with why it does not get more.
    pub(super) fn end_raw(&mut self, port: &mut Port<'_, H>) {
        let Some(raw) = &self.raw else { return };
        let enough = !raw.gather.is_empty() && raw.gather.len() >= raw.length;
        if let Some(error) = self.no_more().filter(|_| !enough) {
            if let Some(caller) = self.give_up_raw() {
                port.sink.reply(caller, Answer::Error(error));
            }
        } else if let Some(mut raw) = self.raw.take() {
            self.restart_idle_timer();
            let answer = raw.gather.take().map_or_else(Answer::Error, Answer::Data);
            port.sink.reply(raw.caller, answer);
        }
    }

    /// Ends a read without an answer; who waits for one is returned.
    pub(super) fn give_up_raw(&mut self) -> Option<H::Caller> {
        let mut raw = self.raw.take()?;
        if !raw.gather.is_empty()
            && let Ok(bytes) = raw.gather.take()
        {
            self.unread.put_back(bytes.as_slice());
            // No socket reports these.
            self.read_registered = false;
        }
        self.restart_idle_timer();
        Some(raw.caller)
    }
}
