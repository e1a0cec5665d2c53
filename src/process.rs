//! This process, and a hold on another.

use cgprocfs_core::parse::pid::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;

/// The id of the calling process.
#[must_use]
pub fn own_pid() -> Pid {
    Pid::new(std::process::id())
}

/// A descriptor of a process, which its number does not go over to another with (pidfd_open(2)).
///
/// # Errors
/// The error that the kernel returns: ESRCH where there is no such process, ENOSYS before Linux 5.3.
pub(crate) fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    let number = i32::try_from(pid.get()).ok().and_then(rustix::process::Pid::from_raw);
    let number = number.ok_or(rustix::io::Errno::SRCH)?;
    Ok(pidfd_open(number, PidfdFlags::empty())?)
}
