//! How the messages of an asynchronous response are paced.

use crate::command::AsyncMode;
use crate::config::Config;

/// What a message takes beside its bytes, in bytes: without that a peer that sends them one by one
/// fills a mailbox with many times what is allowed.
const MESSAGE: u64 = 256;

/// What may be delivered now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many bytes; the last piece may take it below zero. `asked` says that the receiver is
    /// being looked at already.
    Push { allowance: i64, asked: bool },
    /// So many messages.
    Pull { credits: u64 },
}

impl Pace {
    pub(crate) fn new(mode: AsyncMode, config: &Config) -> Self {
        match mode {
            AsyncMode::Push => Self::push(config),
            AsyncMode::Once => Self::Pull { credits: 0 },
        }
    }

    pub(crate) fn push(config: &Config) -> Self {
        Self::Push { allowance: 0_i64.saturating_add_unsigned(config.push_allowance), asked: false }
    }

    /// Whether every message is asked for.
    pub(crate) fn is_pulled(&self) -> bool {
        matches!(self, Self::Pull { .. })
    }

    /// Whether a piece may be delivered now.
    pub(crate) fn allows(&self) -> bool {
        match self {
            Self::Push { allowance, .. } => *allowance > 0,
            Self::Pull { credits } => *credits > 0,
        }
    }

    /// Whether the end may be told now: what is pushed ends without being asked.
    pub(crate) fn allows_end(&self) -> bool {
        match self {
            Self::Push { .. } => true,
            Self::Pull { credits } => *credits > 0,
        }
    }

    /// A piece of `len` bytes was delivered. `true` if the receiver has to be looked at.
    pub(crate) fn spend(&mut self, len: u64, config: &Config) -> bool {
        match self {
            Self::Pull { credits } => {
                *credits = credits.saturating_sub(1);
                false
            }
            Self::Push { allowance, .. } => {
                let cost = len.saturating_add(MESSAGE);
                *allowance = allowance.saturating_sub_unsigned(cost);
                self.is_low(config)
            }
        }
    }

    /// One more message may be delivered, if messages are pulled.
    pub(crate) fn pull(&mut self) {
        if let Self::Pull { credits } = self {
            *credits = credits.saturating_add(1);
        }
    }

    /// So many more bytes may be delivered, if they are pushed; what the last piece took too much
    /// is forgiven, as the receiver is done with it. `true` if the receiver has to be looked at
    /// again.
    pub(crate) fn grant(&mut self, bytes: u64, config: &Config) -> bool {
        match self {
            Self::Pull { .. } => false,
            Self::Push { allowance, asked } => {
                *allowance = (*allowance).max(0).saturating_add_unsigned(bytes);
                *asked = false;
                self.is_low(config)
            }
        }
    }

    /// Asks in time, so that a receiver that keeps up never makes the peer wait.
    fn is_low(&mut self, config: &Config) -> bool {
        let low = i64::try_from(config.push_allowance / 2).unwrap_or(i64::MAX);
        match self {
            Self::Push { allowance, asked: asked @ false } if *allowance <= low => {
                *asked = true;
                true
            }
            _ => false,
        }
    }
}
