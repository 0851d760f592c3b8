//! How the kernel schedules the engine's threads.

#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

/// Asks the kernel not to let the calling thread take the processor away from another as it wakes.
///
/// A response would interrupt whoever runs, often the peer about to write the next one, so that each
/// costs a wake-up of its own. Waiting for its turn the thread finds several. It gets no smaller
/// share of the processors, and nothing changes while one is idle. Other systems than Linux have no
/// such class, and a thread whose class somebody chose keeps it.
pub(crate) fn wait_for_turn() {
    #[cfg(target_os = "linux")]
    {
        let lowest: libc::c_int = 0;
        // SAFETY: both look at the calling thread alone, and the second reads one `sched_param`, which
        // is a single `int`. Not the functions of the C library: musl's refuse to do anything.
        unsafe {
            if libc::syscall(libc::SYS_sched_getscheduler, 0) == libc::SCHED_OTHER.into() {
                libc::syscall(
                    libc::SYS_sched_setscheduler,
                    0,
                    libc::SCHED_BATCH,
                    &raw const lowest,
                );
            }
        }
    }
}
