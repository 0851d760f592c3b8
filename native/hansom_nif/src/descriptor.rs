//! Descriptors that pass between the VM and the engine.
//!
//! Coming in, the VM knows a descriptor as a number, and nothing but the program's word says that
//! it is open: taking it takes unsafe code, all of which is here. Going out, the VM borrows: a
//! driver of the VM never closes a descriptor it was given, so that a descriptor lent stays ours
//! and is closed when it comes back.

#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Descriptors that ports of the VM use, by number.
static LENT: Mutex<Option<HashMap<RawFd, OwnedFd>>> = Mutex::new(None);

/// A duplicate of the descriptor, which is not inherited by other programs.
pub(crate) fn duplicate(descriptor: RawFd) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not -1, and it is borrowed for this one system call, which fails with
    // EBADF if nothing is open under it. `hansom_adopt`, the only caller, holds the port or socket
    // whose descriptor it is, so it is not closed or given to anything else meanwhile.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned()
}

/// Keeps a descriptor that a port of the VM is about to use.
pub(crate) fn lend(descriptor: OwnedFd) -> RawFd {
    let number = descriptor.as_raw_fd();
    lent().get_or_insert_default().insert(number, descriptor);
    number
}

/// The descriptors that are lent.
pub(crate) fn all_lent() -> Vec<RawFd> {
    lent().iter().flat_map(HashMap::keys).copied().collect()
}

/// Closes a descriptor that no port uses any more.
pub(crate) fn give_back(number: RawFd) {
    let descriptor = lent().as_mut().and_then(|lent| lent.remove(&number));
    // Closed outside the lock.
    drop(descriptor);
}

fn lent() -> MutexGuard<'static, Option<HashMap<RawFd, OwnedFd>>> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner)
}
