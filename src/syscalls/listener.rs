//! Where calls that wait are received and answered.

use super::call_table::{CallTable, NotedCall};
use super::waiting_call::WaitingCall;
use crate::sys;
use cgprocfs_core::parse::pid::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The end of a filter at which its calls are answered.
pub struct Listener {
    descriptor: OwnedFd,
    /// Where calls are noted that were received, and the number of this listener there.
    in_flight: Option<(CallTable, u64)>,
}

/// So many callers at most may have called and died meanwhile.
const MAX_UNNOTED: u64 = 1024;

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
        Self { descriptor, in_flight: None }
    }

    /// The same, whose calls are noted under a number until they are answered.
    #[must_use]
    pub fn tracked(mut self, table: CallTable, number: u64) -> Self {
        self.in_flight = Some((table, number));
        self
    }

    /// Whether that is a listener at all.
    #[must_use]
    pub fn is_one(&self) -> bool {
        // It knows no such call, and anything else no such question.
        sys::notification_error(self.as_fd()) == Some(libc::ENOENT)
    }

    /// Leaves to the kernel what the process before this one has received in the moment of its end, before it
    /// could note it: the calls of a listener have ids one after the other. To be called before any is received.
    pub fn pass_unnoted(&self) {
        let Some(last) = self.in_flight.and_then(|(table, number)| table.last(number)) else { return };
        for id in (1..=MAX_UNNOTED).map(|more| last.wrapping_add(more)) {
            let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(0);
            // Of one that nobody has received, or that is not there, the kernel says so.
            let _ = sys::answer_call(self.as_fd(), libc::seccomp_notif_resp { id, val: 0, error: 0, flags });
        }
    }

    /// Notes that a call was received, until what is returned is dropped.
    pub(super) fn note(&self, call: &WaitingCall) -> Option<NotedCall> {
        let (table, number) = self.in_flight?;
        table.note(number, call)
    }

    /// Waits until a call can be received; `false` once nobody is left who could make one, which the kernel
    /// tells since Linux 5.9.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn wait(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        retry_on_intr(|| poll(&mut polled, None))?;
        Ok(polled[0].revents().contains(PollFlags::IN) || !polled[0].revents().contains(PollFlags::HUP))
    }

    /// Whether a call can be received now.
    pub(super) fn has_call(&self) -> bool {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let found = poll(&mut polled, Some(&Timespec::default()));
        found.is_ok() && polled[0].revents().contains(PollFlags::IN)
    }

    /// Receives the next call; `None` if its caller was gone before. Blocks.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub(super) fn receive(&self) -> io::Result<Option<WaitingCall>> {
        match sys::receive_call(self.descriptor.as_fd()) {
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
        sys::is_waiting(self.descriptor.as_fd(), call.id)
    }

    /// Answers a call; nothing is to be done where its caller is gone.
    pub(super) fn answer(&self, call: &WaitingCall, answer: Answer) {
        let id = call.id;
        let (val, flags) = match answer {
            Answer::Value(value) => (value, 0),
            Answer::Kernel => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        };
        let flags = u32::try_from(flags).unwrap_or(0);
        let send = |reply| match sys::answer_call(self.as_fd(), reply) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        };
        if let Err(error) = send(libc::seccomp_notif_resp { id, val, error: 0, flags }) {
            log::warn!("cannot answer a system call: {error}");
            // Better than to wait for ever.
            let _ = send(libc::seccomp_notif_resp { id, val: 0, error: -libc::ENOSYS, flags: 0 });
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
