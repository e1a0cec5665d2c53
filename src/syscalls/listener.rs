//! Where calls that wait are received and answered.

use crate::sys;
use cgprocfs_core::parse::pid::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The end of a filter at which its calls are answered.
pub struct Listener(OwnedFd);

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitingCall {
    id: u64,
    /// The thread that has made it.
    pub(super) thread: Pid,
    /// `AUDIT_ARCH_…`.
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It returns that number.
    Value(i64),
    /// The kernel does it, as if nobody had been asked (`SECCOMP_USER_NOTIF_FLAG_CONTINUE`).
    Kernel,
}

impl Listener {
    /// One that was made by installing a filter.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        // Without it a call takes longer.
        if let Err(error) = sys::wake_on_same_processor(descriptor.as_fd()) {
            log::debug!("callers are woken on other processors: {error}");
        }
        Self(descriptor)
    }

    /// Waits until a call can be received; `false` once nobody is left who could make one, which the kernel
    /// tells since Linux 5.9.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn wait(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        retry_on_intr(|| poll(&mut polled, None))?;
        Ok(polled[0].revents().contains(PollFlags::IN))
    }

    /// Whether a call can be received now.
    pub(super) fn has_call(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        let found = poll(&mut polled, Some(&Timespec::default()));
        found.is_ok() && polled[0].revents().contains(PollFlags::IN)
    }

    /// Receives the next call; `None` if its caller was gone before. Blocks.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn receive(&self) -> io::Result<Option<WaitingCall>> {
        match sys::receive_call(self.0.as_fd()) {
            Ok(call) => Ok(Some(WaitingCall {
                id: call.id,
                thread: Pid::new(call.pid),
                architecture: call.data.arch,
                number: u32::from_ne_bytes(call.data.nr.to_ne_bytes()),
                arguments: call.data.args,
            })),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the caller waits still: then its ids have been its own since the call was received.
    pub(super) fn is_waiting(&self, call: &WaitingCall) -> bool {
        sys::is_waiting(self.0.as_fd(), call.id)
    }

    /// Answers a call; nothing is to be done where its caller is gone.
    pub(super) fn answer(&self, call: &WaitingCall, answer: Answer) {
        let (val, flags) = match answer {
            Answer::Value(value) => (value, 0),
            Answer::Kernel => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        };
        let flags = u32::try_from(flags).unwrap_or(0);
        let sent =
            sys::answer_call(self.0.as_fd(), libc::seccomp_notif_resp { id: call.id, val, error: 0, flags });
        match sent {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                log::warn!("cannot answer a system call: {error}");
            }
            _ => {}
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
