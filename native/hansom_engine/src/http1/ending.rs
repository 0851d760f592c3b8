//! How exchanges and connections end. The connection's process is told first, then the socket is
//! closed if it is to be, and only then the caller or receiver hears of it.

use super::body::Framing;
use super::connection::Http1;
use super::exchange::{Active, BodyEnd, Consumer, Delivery, Exchange, Last, Wait};
use crate::error::Error;
use crate::event::{Answer, Message, Notice, State};
use crate::host::Host;
use crate::port::Port;

impl<H: Host> Http1<H> {
    /// The response was read to its end.
    pub(super) fn finish(&mut self, end: BodyEnd, port: &mut Port<'_, H>) -> Result<(), Error> {
        let Exchange::Active(active) = &mut self.exchange else { return Ok(()) };
        let redirected = active.is_redirect();
        let trailers = match active.response.body() {
            Some(body) => body.take_trailers(&port.config.limits)?,
            None => None,
        };
        let last = active.last_word(end, port)?;
        let Exchange::Active(active) = std::mem::replace(&mut self.exchange, Exchange::None) else {
            return Ok(());
        };
        self.settle(&active, redirected, end, port);
        match (active.consumer, last) {
            (Consumer::Sync(Wait::Body(caller) | Wait::Piece(caller)), Last::Answer(answer)) => {
                port.sink.reply(caller, answer);
            }
            (Consumer::Async(delivery), Last::Message(message)) => {
                // A dead receiver changes nothing any more.
                if let Some(trailers) = trailers {
                    let _ = port.sink.send(&delivery.receiver, Message::Trailers(trailers));
                }
                let _ = port.sink.send(&delivery.receiver, message);
            }
            _ => {}
        }
        Ok(())
    }

    /// Decides what becomes of the connection after an exchange.
    fn settle(
        &mut self,
        active: &Active<H>,
        redirected: bool,
        end: BodyEnd,
        port: &mut Port<'_, H>,
    ) {
        let Some(head) = &active.head else { return };
        // What the link has taken need not be flushed: a carried one may learn that after the response.
        let clean = end == BodyEnd::Framed
            && head.framing != Framing::UntilClose
            && !active.unfinished
            && self.input.is_empty()
            && self.output.is_written()
            && !self.eof
            && self.read_error.is_none()
            && !self.write_failed;
        let reusable = clean && head.keeps_alive && !port.config.no_reuse;
        let bodyless = matches!(head.status, 204 | 304);
        let keep = match &active.consumer {
            Consumer::Sync(_) => reusable && !bodyless,
            Consumer::Async(_) => {
                let short = head.framing == Framing::None || redirected;
                reusable && (port.config.pooled || short)
            }
        };
        if keep {
            port.status.count_reuse();
            self.input.shrink();
            self.restart_idle_timer();
            port.set_state(State::Connected);
            if port.config.pooled {
                port.sink.notify(Notice::Released);
            }
        } else {
            let is_sync = matches!(active.consumer, Consumer::Sync(_));
            let by_peer = end != BodyEnd::Framed || self.eof;
            let failed = end == BodyEnd::Cut && !is_sync && !port.config.truncated_body_ok;
            let notice = if failed || (redirected && by_peer) {
                // An error or a redirect, after which the connection stays to be asked.
                Notice::Closed
            } else if by_peer || (bodyless && is_sync) {
                port.dead_exchange()
            } else {
                Notice::Finished
            };
            self.close(port, notice);
        }
    }

    /// The exchange cannot go on.
    pub(super) fn fail(&mut self, error: Error, port: &mut Port<'_, H>) {
        let in_body = match &self.exchange {
            Exchange::Active(active) => {
                active.head.is_some() && matches!(active.consumer, Consumer::Sync(_))
            }
            _ => false,
        };
        let notice = if in_body { port.dead_exchange() } else { Notice::Closed };
        self.end_all(error, notice, port);
    }

    /// Closes on a command: what is under way ends with `closed`, of which a receiver that gave
    /// the command itself need not be told.
    pub(crate) fn close_by_user(&mut self, by: &H::Caller, port: &mut Port<'_, H>) {
        if self.receiver().is_some_and(|receiver| H::is_receiver(by, receiver)) {
            self.exchange = Exchange::None;
        }
        self.end_all(Error::Closed, Notice::Closed, port);
    }

    fn end_all(&mut self, error: Error, notice: Notice<H>, port: &mut Port<'_, H>) {
        let exchange = std::mem::replace(&mut self.exchange, Exchange::None);
        let acks = std::mem::take(&mut self.acks);
        self.close(port, notice);
        for caller in acks {
            port.sink.reply(caller, Answer::Error(error.clone()));
        }
        let Exchange::Active(active) = exchange else { return };
        match active.consumer {
            Consumer::Sync(
                Wait::Head { caller: Some(caller), .. } | Wait::Body(caller) | Wait::Piece(caller),
            ) => port.sink.reply(caller, Answer::Error(error)),
            Consumer::Sync(_) => {}
            Consumer::Async(delivery) => match delivery.accept {
                // An error of the call means that there will be no messages.
                Some(caller) => port.sink.reply(caller, Answer::Error(error)),
                None => {
                    let _ = port.sink.send(&delivery.receiver, Message::Error(error));
                }
            },
        }
    }

    /// Who is to get more messages of a response.
    pub(crate) fn receiver(&self) -> Option<&H::Receiver> {
        match &self.exchange {
            Exchange::Active(active) => match &active.consumer {
                Consumer::Async(Delivery { receiver, accept: None, .. }) => Some(receiver),
                _ => None,
            },
            _ => None,
        }
    }

    /// Nobody is left to read the response.
    pub(super) fn abandon(&mut self, port: &mut Port<'_, H>) {
        self.exchange = Exchange::None;
        self.close(port, Notice::Finished);
    }

    /// Closes the socket and answers whoever waits for it as such.
    pub(crate) fn close(&mut self, port: &mut Port<'_, H>, notice: Notice<H>) {
        let Some(link) = self.link.take() else { return };
        link.close();
        port.set_state(State::Closed);
        self.finished = matches!(notice, Notice::Finished);
        port.sink.notify(notice);
        self.end_waits(Error::Closed, port);
    }

    fn end_waits(&mut self, error: Error, port: &mut Port<'_, H>) {
        self.output.clear();
        if let Some(raw) = self.raw.take() {
            port.sink.reply(raw.caller, Answer::Error(error.clone()));
        }
        for caller in std::mem::take(&mut self.acks) {
            port.sink.reply(caller, Answer::Error(error.clone()));
        }
    }
}
