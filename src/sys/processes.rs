//! Threads, inits of pid namespaces, and how a program is started.

use super::seccomp::Listening;
use cgprocfs_core::parse::pid::Pid;
use nix::sys::signal::SigSet;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How much processor time this thread has used.
#[must_use]
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The id, in the caller's pid namespace, of the init process of the pid namespace `namespace`.
///
/// # Errors
/// ENOTTY before Linux 6.11, ESRCH where that process is gone or not visible from here.
pub fn init_of(namespace: BorrowedFd<'_>) -> io::Result<Pid> {
    /// `NS_GET_PID_FROM_PIDNS` of include/uapi/linux/nsfs.h: `_IOR(0xb7, 0x6, int)`.
    const NS_GET_PID_FROM_PIDNS: libc::Ioctl = 0x8004_b706_u32 as libc::Ioctl;
    // SAFETY: this request takes its argument by value and writes to no memory of ours.
    let pid = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PID_FROM_PIDNS, 1) };
    u32::try_from(pid).map(Pid::new).map_err(|_| io::Error::last_os_error())
}

/// Where and how a program is started.
pub struct Place {
    /// The mount namespace.
    pub mounts: OwnedFd,
    /// The root directory in it.
    pub root: OwnedFd,
    /// The time namespace; `None` is this process's own.
    pub time: Option<OwnedFd>,
    /// The working directory.
    pub directory: CString,
    /// How many files it may have open.
    pub limit_on_files: Rlimit,
    /// Which of its system calls somebody else answers.
    pub listening: Option<Listening>,
}

/// Makes `command` start in the cgroups whose `cgroup.procs` are given, and in that place, all before it
/// executes its program: memory stays charged to where it was first touched.
pub fn start_in(command: &mut Command, procs: Vec<OwnedFd>, place: Place) {
    let enter = move || {
        // What this process keeps for itself, the program is to have.
        SigSet::empty().thread_set_mask()?;
        rustix::process::setrlimit(Resource::Nofile, place.limit_on_files)?;
        // "0" is the writer itself (cgroups(7)).
        for procs in &procs {
            rustix::io::write(procs, b"0")?;
        }
        // Only who has a single thread may.
        if let Some(time) = &place.time {
            move_into_link_name_space(time.as_fd(), Some(LinkNameSpaceType::Time))?;
        }
        // This also moves the process to the namespace's own root, which need not be the one it had.
        move_into_link_name_space(place.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        rustix::process::fchdir(&place.root)?;
        rustix::process::chroot(c".")?;
        rustix::process::chdir(&*place.directory)?;
        // The last of all, for it holds for this process's own calls, too.
        place.listening.as_ref().map_or(Ok(()), Listening::begin)
    };
    // SAFETY: between fork and exec the closure only makes system calls with arguments that were made
    // before; it touches neither locks nor the heap.
    unsafe { command.pre_exec(enter) };
}
