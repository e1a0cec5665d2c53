//! System calls that wait for another process to answer them (seccomp_unotify(2)).

use crate::descriptors;
use cgprocfs_core::parse::pid::Pid;
use rustix::net::SendFlags;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What a process installs before it executes a program: a filter, some of whose answers are that somebody
/// else is to be asked.
pub struct Listening {
    /// The filter.
    pub program: Vec<libc::sock_filter>,
    /// Where the listener is sent, or the number of the error if the filter was refused.
    pub to: OwnedFd,
}

impl Listening {
    /// Installs the filter for this thread, and all that it starts from now on, and sends the listener. Where
    /// the kernel refuses, it says so to the other side, and nothing else.
    ///
    /// # Errors
    /// Where the other side is gone.
    pub(super) fn begin(&self) -> io::Result<()> {
        match self.install() {
            Ok(listener) => descriptors::send(&self.to, &[0; 4], &[listener.as_fd()], SendFlags::empty()),
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
                descriptors::send(&self.to, &number, &[], SendFlags::empty())
            }
        }
    }

    fn install(&self) -> io::Result<OwnedFd> {
        let program = libc::sock_fprog {
            len: self.program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
            filter: self.program.as_ptr().cast_mut(),
        };
        // A caller whose call was received can only be killed (Linux 5.19). Otherwise a signal could end the
        // call between the last look at it and the answer, which would then overwrite what came after.
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        // SAFETY: the kernel copies a program of that length, and writes to no memory of ours.
        let done = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        match RawFd::try_from(done) {
            // SAFETY: the kernel has just opened it for us.
            Ok(listener) if listener >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(listener) }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Has callers, and those who answer them, wake each other on the same processor, which waits for nothing else:
/// only one of the two runs at a time.
///
/// # Errors
/// EINVAL before Linux 6.6.
pub fn wake_on_same_processor(listener: BorrowedFd<'_>) -> io::Result<()> {
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of include/uapi/linux/seccomp.h.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: this request takes a number.
    let done =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives a call that waits. Blocks where there is none.
///
/// # Errors
/// ENOENT where the caller is gone by now, or does not wait any more.
pub fn receive_call(listener: BorrowedFd<'_>) -> io::Result<libc::seccomp_notif> {
    // SAFETY: all of its fields are numbers; the kernel wants them to be 0.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: this request fills in such a structure, and no more.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    if done == 0 { Ok(call) } else { Err(io::Error::last_os_error()) }
}

/// Whether a call that was received still waits, so that its caller lives.
#[must_use]
pub fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: this request reads a number.
    let done =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
    done == 0
}

/// The error of asking for a call that nobody has made: ENOENT from a listener.
#[must_use]
pub fn notification_error(listener: BorrowedFd<'_>) -> Option<i32> {
    if is_waiting(listener, 0) { None } else { io::Error::last_os_error().raw_os_error() }
}

/// Answers a call.
///
/// # Errors
/// ENOENT where the caller is gone by now, or does not wait any more.
pub fn answer_call(listener: BorrowedFd<'_>, mut answer: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: this request reads such a structure.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which processors a thread may run on, as a mask, of which the kernel fills in as many bytes as are
/// returned.
///
/// # Errors
/// EINVAL where the mask is too short, or no whole number of words; ESRCH where the thread is gone.
pub fn affinity_of(thread: Pid, mask: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes no more than that length.
    let done =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread.get(), mask.len(), mask.as_mut_ptr()) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}
