//! One deadline that moves often and expires rarely.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is touched only when the deadline comes nearer: a deadline that moves away, as it
/// does with every byte that arrives, costs nothing until the old one has passed.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When `sleep` wakes the task, while it is set.
    set_for: Option<Instant>,
}

impl Timer {
    /// Whether the task would be woken no later than `deadline`.
    pub(crate) fn covers(&self, deadline: Option<Instant>) -> bool {
        match (deadline, self.set_for) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(deadline), Some(set_for)) => set_for <= deadline,
        }
    }

    /// Sees to it that the task of `cx` is woken no later than `deadline`, perhaps earlier. Only
    /// for a task of the runtime. `true` means that the deadline has passed already.
    pub(crate) fn set(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        loop {
            if !self.covers(deadline) {
                let Some(deadline) = deadline else { return false };
                match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().reset(deadline),
                    None => self.sleep = Some(Box::pin(sleep_until(deadline))),
                }
                self.set_for = Some(deadline);
            }
            let (Some(sleep), Some(set_for)) = (&mut self.sleep, self.set_for) else {
                return false;
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.set_for = None;
            match deadline {
                None => return false,
                Some(deadline) if deadline <= set_for => return true,
                Some(_) => {}
            }
        }
    }
}
