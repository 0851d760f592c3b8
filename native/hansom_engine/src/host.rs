//! What the engine asks of whoever embeds it.

use crate::event::{Answer, Message, Notice};
use crate::headers::HeaderList;

/// The types by which the embedding program names its own things.
pub trait Host: 'static {
    /// One caller waiting for exactly one answer. Dropping it unanswered must tell the caller that
    /// the connection is gone, so that no request ends without a word.
    type Caller: Send + 'static;
    /// A receiver of asynchronous messages.
    type Receiver: Send + Clone + 'static;
    /// Memory a body is read into and handed over without a second copy.
    type Buffer: BodyBuffer;
    /// Bytes to send that stay in the embedder's memory until they are on the wire.
    type Payload: Payload;
    /// A process, to tell the streams of one from those of another.
    type Process: Send + Clone + PartialEq + 'static;

    /// Whether two values name the same waiting caller.
    fn same_caller(a: &Self::Caller, b: &Self::Caller) -> bool;
    /// The process a caller belongs to.
    fn process(caller: &Self::Caller) -> Self::Process;
    /// Lets go of a caller that no longer waits, without a word to it.
    fn forget(caller: Self::Caller);
    /// Whether the caller is the receiver.
    fn is_receiver(caller: &Self::Caller, receiver: &Self::Receiver) -> bool;
    /// Whether two values name the same receiver.
    fn same_receiver(a: &Self::Receiver, b: &Self::Receiver) -> bool;
}

/// Where the engine delivers what it has to say. Every method returns without blocking.
pub trait Sink<H: Host> {
    /// Gives `caller` its one answer.
    fn reply(&mut self, caller: H::Caller, answer: Answer<H>);
    /// Tells a caller that asked for them of an interim (1xx) response; its answer comes later.
    fn inform(&mut self, caller: &H::Caller, status: u16, reason: &[u8], headers: &HeaderList);
    /// Sends an asynchronous message. `Err` means the receiver no longer exists.
    fn send(&mut self, receiver: &H::Receiver, message: Message<H>) -> Result<(), Gone>;
    /// Tells the connection's own process of a change it has to act on.
    fn notify(&mut self, notice: Notice<H>);
    /// The connection's lock is free again. A reply that nothing followed may have been held back
    /// until now, so that its caller does not meet the lock when it asks for the next thing at
    /// once. Only the sink of a connection's task is told.
    fn unlocked(&mut self) {}
}

/// A receiver that no longer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Memory a body is read into.
pub trait BodyBuffer: Send + Sized + 'static {
    /// Allocates `len` bytes of unspecified content; `None` when memory is refused.
    fn allocate(len: usize) -> Option<Self>;
    /// The bytes.
    fn as_slice(&self) -> &[u8];
    /// The bytes, to be filled.
    fn as_mut_slice(&mut self) -> &mut [u8];
    /// Grows or shrinks to `len` bytes keeping the common prefix; `false` when memory is refused.
    #[must_use]
    fn resize(&mut self, len: usize) -> bool;
}

/// Bytes to send, kept in the embedder's memory.
pub trait Payload: Send + 'static {
    /// The number of bytes.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Calls `read` once with all the bytes and returns its result.
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R;
}
