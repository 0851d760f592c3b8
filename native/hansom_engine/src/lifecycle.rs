//! The life of a connection: dialling, speaking a protocol, closing, dialling again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::command::Command;
use crate::config::{Config, Dial};
use crate::connect;
use crate::error::Error;
use crate::event::{Answer, Message, Notice, State};
use crate::headers::HeaderList;
use crate::host::{Host, Sink};
use crate::port::Port;
use crate::protocol::{self, Established, Protocol, Terms};
use crate::status::Status;
use crate::timer::Timer;
use crate::transport::{Carrier, TlsClient};
use crate::untold::Untold;

type Establishing = Pin<Box<dyn Future<Output = Result<Established, Error>> + Send>>;

/// What is behind a connection's lock.
pub(crate) struct Core<H: Host> {
    config: Config,
    phase: Phase<H>,
    /// Commands that came while a link was being made; they have their turn afterwards.
    deferred: VecDeque<Command<H>>,
    last_headers: Option<Arc<HeaderList>>,
    untold: Untold<H>,
    connect_timeout: Option<Duration>,
    /// The port of the last dial.
    port: u16,
    timer: Timer,
}

/// ```text
///   Idle ── Connect ──► Making ──► Open ──► Closed ── Connect ──► Making
///                         ▲         │
///                         └ Upgrade ┘        any ── Shutdown ──► Over
/// ```
enum Phase<H: Host> {
    Idle,
    /// A link is being made.
    Making {
        caller: Option<H::Caller>,
        future: Establishing,
        purpose: Purpose,
    },
    /// The protocol has the link.
    Open(Protocol<H>),
    /// The upgrade to TLS failed, and the socket with it.
    Lost,
    Closed(News),
    Over {
        shut_down: bool,
        /// Last messages for those who were to get more, not yet delivered.
        untold: Vec<(H::Receiver, Message<H>)>,
    },
}

/// Who speaks TLS after an upgrade.
enum Handshake {
    Own(Arc<TlsClient>, String),
    Carried(Carrier),
}

/// Who still has to learn that the connection is closed. A command of theirs is answered with
/// that, and not with the state it does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Nobody,
    /// Whoever comes next: a user who was told that the connection is ready.
    NextUser,
    /// Everybody: the process is about to stop, which nobody can tell from its having stopped.
    Everybody,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Dial,
    Upgrade,
}

/// What a protocol may use of its connection. A method would borrow the protocol with it.
macro_rules! port {
    ($core:ident, $sink:ident, $status:ident) => {
        &mut Port {
            config: &$core.config,
            sink: $sink,
            status: $status,
            last_headers: &mut $core.last_headers,
            untold: &mut $core.untold,
        }
    };
}

impl<H: Host> Core<H> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Idle,
            deferred: VecDeque::new(),
            last_headers: None,
            untold: Untold::new(),
            connect_timeout: None,
            port: 0,
            timer: Timer::default(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        matches!(self.phase, Phase::Over { shut_down: true, .. })
    }

    /// Ends at once and without a word; callers learn of it as they are dropped, a receiver is
    /// left to [`Self::take_untold`].
    pub(crate) fn wreck(&mut self, status: &Status) {
        if !self.is_over() {
            let untold = match &self.phase {
                Phase::Open(protocol) => protocol.last_messages(),
                _ => Vec::new(),
            };
            self.end(false, untold, status);
        }
    }

    /// What receivers have to be told after a wreck.
    pub(crate) fn take_untold(&mut self) -> Vec<(H::Receiver, Message<H>)> {
        match &mut self.phase {
            Phase::Over { untold, .. } => std::mem::take(untold),
            _ => Vec::new(),
        }
    }

    pub(crate) fn buffered(&self) -> (usize, usize) {
        match &self.phase {
            Phase::Open(protocol) => protocol.buffered(),
            _ => (0, 0),
        }
    }

    /// Whether there is so much to do that the lock is not worth waiting for.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(&self.phase, Phase::Open(protocol) if protocol.is_crowded())
    }

    /// Carries a command out.
    pub(crate) fn apply(
        &mut self,
        command: Command<H>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink<H>,
        status: &Status,
    ) {
        match command {
            Command::Shutdown { tell } => self.shut_down(tell, sink, status),
            Command::Close { caller } => {
                let carried = match &self.phase {
                    Phase::Open(protocol) => protocol.is_carried(),
                    _ => false,
                };
                self.close(&caller, sink, status);
                // The embedder may still be about to close.
                sink.reply(caller, if carried { Answer::AskTransport } else { Answer::Ok });
            }
            Command::Cancel { caller, target } => {
                self.forget(&target);
                H::forget(target);
                sink.reply(caller, Answer::Ok);
            }
            Command::Protocol { caller } => {
                sink.reply(caller, Answer::Protocol(status.protocol()));
            }
            Command::ResponseHeaders { caller } => {
                sink.reply(caller, Answer::Headers(self.last_headers.clone()));
            }
            // Dropping the command tells its caller.
            _ if self.is_over() => {}
            command if matches!(self.phase, Phase::Making { .. }) => match command {
                // Whoever asks whether the connection can be used waits for no dial or handshake.
                Command::Probe { caller, .. } => {
                    sink.reply(caller, Answer::Error(Error::InvalidState));
                }
                Command::Reuse { caller } => {
                    sink.reply(caller, Answer::Reuse { should_close: false, ready: false });
                }
                command => self.deferred.push_back(command),
            },
            Command::Connect { caller, dial } => self.connect(caller, dial, sink, status),
            Command::Upgrade { caller, tls, server_name } => {
                self.upgrade(caller, Handshake::Own(tls, server_name), sink, status);
            }
            Command::UpgradeCarried { caller, carrier } => {
                self.upgrade(caller, Handshake::Carried(carrier), sink, status);
            }
            command => self.ask(command, cx, sink, status),
        }
        self.settle(sink, status);
    }

    /// Moves what can be moved without waiting; the waker of `cx` is left for the rest.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>, sink: &mut dyn Sink<H>, status: &Status) {
        loop {
            match &mut self.phase {
                Phase::Making { future, .. } => match future.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(result) => self.made(result, cx, sink, status),
                },
                Phase::Open(protocol) => {
                    let port = port!(self, sink, status);
                    protocol.drive(cx, port);
                    if !protocol.is_closed() {
                        if !self.timer.set(protocol.deadline(), cx) {
                            return;
                        }
                        protocol.expire(Instant::now(), port);
                    }
                    self.settle(sink, status);
                }
                _ => return,
            }
        }
    }

    /// The part of [`Self::drive`] for threads that must not be kept; `false` if the task has to
    /// look after the rest at once.
    pub(crate) fn drive_inline(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink<H>,
        status: &Status,
    ) -> bool {
        let settled = match &mut self.phase {
            Phase::Open(protocol) => {
                let port = port!(self, sink, status);
                protocol.drive_inline(cx, port)
                    && (protocol.is_closed() || self.timer.covers(protocol.deadline()))
            }
            Phase::Making { .. } | Phase::Over { .. } => false,
            Phase::Idle | Phase::Lost | Phase::Closed(_) => true,
        };
        self.settle(sink, status);
        settled
    }

    /// Hands a command to the protocol, or answers it without one.
    fn ask(
        &mut self,
        command: Command<H>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink<H>,
        status: &Status,
    ) {
        if let Command::ProcessGone { process } = &command {
            self.untold.forget(process);
        }
        let port = port!(self, sink, status);
        match &mut self.phase {
            Phase::Open(protocol) => match command {
                Command::Probe { caller, checkout } => protocol.probe(caller, checkout, cx, port),
                command => protocol.apply(command, port),
            },
            // Dropping the command tells its caller.
            Phase::Over { .. } => {}
            phase => {
                let news = match phase {
                    Phase::Closed(News::Everybody) => News::Everybody,
                    Phase::Closed(news) => std::mem::replace(news, News::Nobody),
                    Phase::Lost => News::NextUser,
                    _ => News::Nobody,
                };
                let is_news = match news {
                    News::Nobody => false,
                    News::NextUser => command.needs_open_connection(),
                    News::Everybody => command.is_of_an_exchange(),
                };
                if !is_news {
                    return port.ask_closed(command);
                }
                if matches!(phase, Phase::Lost) {
                    *phase = Phase::Closed(News::Nobody);
                    port.set_state(State::Closed);
                    port.sink.notify(Notice::Closed);
                }
                if let Some(caller) = command.into_caller() {
                    port.sink.reply(caller, Answer::Error(Error::Closed));
                }
            }
        }
    }

    fn connect(
        &mut self,
        caller: H::Caller,
        dial: Box<Dial>,
        sink: &mut dyn Sink<H>,
        status: &Status,
    ) {
        if let Phase::Open(protocol) = &mut self.phase
            && status.state() == State::Closed
        {
            // What is left of the old connection gives way to the new one.
            let port = port!(self, sink, status);
            protocol.make_way(port);
            self.settle(sink, status);
        }
        if !matches!(self.phase, Phase::Idle | Phase::Closed(_)) {
            return sink.reply(caller, Answer::Error(Error::InvalidState));
        }
        self.untold.clear();
        self.connect_timeout = dial.connect_timeout;
        self.port = dial.port;
        let terms = self.terms(dial.h2c);
        self.phase = Phase::Making {
            caller: Some(caller),
            future: Box::pin(async move { protocol::dial(&dial, terms).await }),
            purpose: Purpose::Dial,
        };
        status.set_state(State::Connecting);
    }

    fn upgrade(
        &mut self,
        caller: H::Caller,
        tls: Handshake,
        sink: &mut dyn Sink<H>,
        status: &Status,
    ) {
        let link = match &mut self.phase {
            Phase::Open(protocol) if protocol.is_tls() => {
                let idle = status.state() == State::Connected;
                let answer = if idle { Answer::Ok } else { Answer::Error(Error::InvalidState) };
                return sink.reply(caller, answer);
            }
            Phase::Open(protocol) => protocol.take_idle_link(),
            _ => None,
        };
        let Some(link) = link else {
            return sink.reply(caller, Answer::Error(Error::InvalidState));
        };
        let limit = self.connect_timeout;
        let terms = self.terms(false);
        let handshake = async move {
            let handshake = async {
                match &tls {
                    Handshake::Own(tls, name) => connect::upgrade(link, tls, name).await,
                    Handshake::Carried(carrier) => connect::upgrade_carried(link, carrier).await,
                }
            };
            let link = match limit {
                Some(limit) => timeout(limit, handshake).await.unwrap_or(Err(Error::Timeout)),
                None => handshake.await,
            };
            protocol::establish(link?, terms).await
        };
        self.phase = Phase::Making {
            caller: Some(caller),
            future: Box::pin(handshake),
            purpose: Purpose::Upgrade,
        };
    }

    fn terms(&self, h2c: bool) -> Terms {
        Terms { h2c, port: self.port, timeout: self.connect_timeout, config: self.config.clone() }
    }

    /// A connection was made, or could not be.
    fn made(
        &mut self,
        result: Result<Established, Error>,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink<H>,
        status: &Status,
    ) {
        let Phase::Making { caller, purpose, .. } = std::mem::replace(&mut self.phase, Phase::Lost)
        else {
            return;
        };
        let answer = match result {
            Ok(established) => {
                status.connected(established.is_tls(), purpose == Purpose::Dial);
                let protocol = Protocol::new(established, &self.config);
                status.set_protocol(protocol.name());
                self.phase = Phase::Open(protocol);
                status.set_state(State::Connected);
                Answer::Ok
            }
            Err(error) => {
                if purpose == Purpose::Dial {
                    self.phase = Phase::Closed(News::Nobody);
                    status.set_state(State::Closed);
                }
                Answer::Error(error)
            }
        };
        if let Some(caller) = caller {
            sink.reply(caller, answer);
        }
        for command in std::mem::take(&mut self.deferred) {
            self.apply(command, cx, sink, status);
        }
    }

    fn close(&mut self, by: &H::Caller, sink: &mut dyn Sink<H>, status: &Status) {
        match &mut self.phase {
            Phase::Closed(_) | Phase::Over { .. } => return,
            Phase::Open(protocol) => {
                let port = port!(self, sink, status);
                protocol.close_by_user(by, port);
                return self.settle(sink, status);
            }
            Phase::Idle | Phase::Making { .. } | Phase::Lost => {}
        }
        let before = std::mem::replace(&mut self.phase, Phase::Closed(News::Nobody));
        status.set_state(State::Closed);
        sink.notify(Notice::Closed);
        if let Phase::Making { caller: Some(caller), .. } = before {
            sink.reply(caller, Answer::Error(Error::Closed));
        }
        self.refuse_all_deferred(sink);
    }

    /// Leaves a protocol that has closed its link.
    fn settle(&mut self, sink: &mut dyn Sink<H>, status: &Status) {
        let Phase::Open(protocol) = &mut self.phase else { return };
        if !protocol.is_closed() {
            return;
        }
        self.deferred.append(&mut protocol.take_held());
        let news = if protocol.is_finished() {
            News::Everybody
        } else if protocol.is_checked_out() {
            News::NextUser
        } else {
            News::Nobody
        };
        self.phase = Phase::Closed(news);
        status.set_state(State::Closed);
        self.refuse_all_deferred(sink);
    }

    fn refuse_all_deferred(&mut self, sink: &mut dyn Sink<H>) {
        for command in std::mem::take(&mut self.deferred) {
            if let Some(caller) = command.into_caller() {
                sink.reply(caller, Answer::Error(Error::InvalidState));
            }
        }
    }

    fn shut_down(&mut self, tell: bool, sink: &mut dyn Sink<H>, status: &Status) {
        if tell && let Phase::Open(protocol) = &self.phase {
            for (receiver, message) in protocol.last_messages() {
                // One that is dead has nothing to wait for.
                let _ = sink.send(&receiver, message);
            }
        }
        self.end(true, Vec::new(), status);
    }

    fn end(&mut self, shut_down: bool, untold: Vec<(H::Receiver, Message<H>)>, status: &Status) {
        self.phase = Phase::Over { shut_down, untold };
        self.deferred.clear();
        self.last_headers = None;
        self.untold.clear();
        self.timer = Timer::default();
        status.set_state(State::Closed);
    }

    fn forget(&mut self, target: &H::Caller) {
        if let Some(at) = self.deferred.iter().position(|command| command.is_from(target)) {
            if let Some(caller) = self.deferred.remove(at).and_then(Command::into_caller) {
                H::forget(caller);
            }
            return;
        }
        match &mut self.phase {
            Phase::Making { caller, .. } => {
                if let Some(caller) = caller.take_if(|caller| H::same_caller(caller, target)) {
                    H::forget(caller);
                }
            }
            Phase::Open(protocol) => protocol.forget(target),
            _ => {}
        }
    }
}
