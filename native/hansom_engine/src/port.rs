//! What a protocol sees of the connection it works for.

use std::sync::Arc;

use crate::command::Command;
use crate::config::Config;
use crate::error::Error;
use crate::event::{Answer, Notice, State};
use crate::headers::HeaderList;
use crate::host::{Host, Sink};
use crate::status::Status;
use crate::transport::Link;
use crate::untold::Untold;

/// Where a protocol finds its settings and leaves what it has to say.
pub(crate) struct Port<'a, H: Host> {
    pub(crate) config: &'a Config,
    pub(crate) sink: &'a mut dyn Sink<H>,
    pub(crate) status: &'a Status,
    pub(crate) last_headers: &'a mut Option<Arc<HeaderList>>,
    pub(crate) untold: &'a mut Untold<H>,
}

impl<H: Host> Port<'_, H> {
    pub(crate) fn set_state(&self, state: State) {
        self.status.set_state(state);
    }

    /// Keeps the header fields of a final response, and reports those about alternative services.
    pub(crate) fn remember_headers(&mut self, headers: HeaderList) -> Arc<HeaderList> {
        let headers = Arc::new(headers);
        if self.config.alt_svc && headers.contains(b"alt-svc") {
            self.sink.notify(Notice::AltSvc(headers.clone()));
        }
        *self.last_headers = Some(headers.clone());
        headers
    }

    /// What a process is told when its exchange died: one of a pool stays for a moment, since
    /// calls may be on their way; another has nothing left to do.
    pub(crate) fn dead_exchange(&self) -> Notice<H> {
        if self.config.pooled { Notice::Closed } else { Notice::Finished }
    }

    /// Answers that the command does not fit the state.
    pub(crate) fn refuse(&mut self, caller: H::Caller) {
        self.sink.reply(caller, Answer::Error(Error::InvalidState));
    }

    /// The same for a command that may have no caller.
    pub(crate) fn refuse_command(&mut self, command: Command<H>) {
        if let Some(caller) = command.into_caller() {
            self.refuse(caller);
        }
    }

    /// Answers a step for which there is no stream with why it ended, if that is not known to its
    /// process yet, or with `otherwise`.
    pub(crate) fn refuse_step(&mut self, caller: H::Caller, otherwise: Error) {
        let error = self.untold.take(&H::process(&caller)).unwrap_or(otherwise);
        self.sink.reply(caller, Answer::Error(error));
    }

    /// Answers a command without a connection.
    pub(crate) fn ask_closed(&mut self, command: Command<H>) {
        match command {
            Command::SendChunk { caller, .. }
            | Command::FinishBody { caller, .. }
            | Command::StartResponse { caller }
            | Command::Body { caller }
            | Command::StreamBody { caller } => self.refuse_step(caller, Error::InvalidState),
            other => self.ask_link(None, other),
        }
    }

    /// Answers a question about the socket, or anything else that does not fit.
    pub(crate) fn ask_link(&mut self, link: Option<&Link>, command: Command<H>) {
        let (caller, answer) = match (command, link) {
            (Command::Pause { caller } | Command::Resume { caller }, _) => (caller, Ok(Answer::Ok)),
            (
                Command::SetOptions { caller, .. }
                | Command::PeerName { caller }
                | Command::SockName { caller },
                Some(link),
            ) if link.is_carried() => (caller, Ok(Answer::AskTransport)),
            (Command::PeerCertificate { caller }, Some(link))
                if link.is_carried() && link.is_without_session() =>
            {
                (caller, Ok(Answer::AskTransport))
            }
            (Command::SetOptions { caller, options }, Some(link)) => {
                (caller, link.set_options(&options).map(|()| Answer::Ok))
            }
            (Command::PeerName { caller }, Some(link)) => {
                (caller, link.peer_address().map(Answer::Address))
            }
            (Command::SockName { caller }, Some(link)) => {
                (caller, link.local_address().map(Answer::Address))
            }
            (Command::PeerCertificate { caller }, Some(link)) => {
                (caller, link.peer_certificate().map(Answer::Certificate))
            }
            (Command::Migrate { caller }, Some(_)) => (caller, Err(Error::NotSupported)),
            (
                Command::SetOptions { caller, .. }
                | Command::PeerName { caller }
                | Command::SockName { caller }
                | Command::PeerCertificate { caller }
                | Command::Migrate { caller }
                | Command::Send { caller, .. }
                | Command::Recv { caller, .. },
                None,
            ) => (caller, Err(Error::NotConnected)),
            (Command::Reuse { caller }, None) => {
                (caller, Ok(Answer::Reuse { should_close: false, ready: false }))
            }
            (command, _) => return self.refuse_command(command),
        };
        self.sink.reply(caller, answer.unwrap_or_else(Answer::Error));
    }
}
