//! This process, and a hold on another.

use cgprocfs_core::parse::pid::Pid;
use rustix::process::{PidfdFlags, getpriority_process, pidfd_open, setpriority_process};
use std::io;
use std::os::fd::OwnedFd;

/// How nice a process is that serves all containers of a host: beside a program that never sleeps it has three
/// quarters of a processor, and readers wait that much less where others want all of them.
const SERVING_NICE: i32 = -5;

/// Gives this thread, and those that it starts from now on, more of the processors than programs usually have.
/// Whoever was started with another priority than the usual one keeps it, and so does who may not change it.
pub(crate) fn raise_priority() {
    if getpriority_process(None) == Ok(0) {
        if let Err(error) = setpriority_process(None, SERVING_NICE) {
            log::debug!("cannot raise the priority of the threads that serve: {error}");
        }
    }
}

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
