//! What processes have to be told that were between two commands when their streams ended.

use crate::error::Error;
use crate::host::Host;

/// Why streams ended, by the processes that sent or read them step by step. Each is told by the next
/// step of its process, which finds no stream any more, or no connection.
pub(crate) struct Untold<H: Host>(Vec<(H::Process, Error)>);

impl<H: Host> Untold<H> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn add(&mut self, process: H::Process, error: Error) {
        self.0.push((process, error));
    }

    /// What `process` is to be told, oldest first; it is told once.
    pub(crate) fn take(&mut self, process: &H::Process) -> Option<Error> {
        let at = self.0.iter().position(|(other, _)| other == process)?;
        Some(self.0.remove(at).1)
    }

    /// Nobody of `process` is interested any more.
    pub(crate) fn forget(&mut self, process: &H::Process) {
        self.0.retain(|(other, _)| other != process);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
