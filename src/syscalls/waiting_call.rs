//! What is known of a call.

use cgprocfs_core::parse::pid::Pid;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitingCall {
    pub(super) id: u64,
    /// The thread that has made it.
    pub(super) thread: Pid,
    /// `AUDIT_ARCH_…`.
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}
