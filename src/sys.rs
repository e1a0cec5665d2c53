//! The only place for unsafe code: system calls that no safe wrapper covers.
#![allow(unsafe_code)]

use nix::sys::signal::SigSet;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Closes many files with as few system calls as their numbers allow: one for each unbroken run.
pub fn close_all(files: impl IntoIterator<Item = OwnedFd>) {
    let mut numbers: Vec<RawFd> = files.into_iter().map(IntoRawFd::into_raw_fd).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
        // SAFETY: every number from `first` to `last` came out of an OwnedFd above, so nobody else owns
        // it or will close it.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if done != 0 {
            for &number in run {
                // SAFETY: as above; close_range(2), absent before Linux 5.9, has closed none of them.
                unsafe { libc::close(number) };
            }
        }
    }
}

/// Gives memory that was freed back to the kernel. By itself glibc keeps for each thread what that once used.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) is thread-safe and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The id, in the caller's pid namespace, of the init process of the pid namespace `namespace`.
///
/// # Errors
/// ENOTTY before Linux 6.11, ESRCH where that process is gone or not visible from here.
pub fn init_of(namespace: BorrowedFd<'_>) -> io::Result<u32> {
    /// `NS_GET_PID_FROM_PIDNS` of include/uapi/linux/nsfs.h: `_IOR(0xb7, 0x6, int)`.
    const NS_GET_PID_FROM_PIDNS: libc::Ioctl = 0x8004_b706_u32 as libc::Ioctl;
    // SAFETY: this request takes its argument by value and writes to no memory of ours.
    let pid = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PID_FROM_PIDNS, 1) };
    u32::try_from(pid).map_err(|_| io::Error::last_os_error())
}

/// Maps a file that has at least so many words of 64 bits and never gets shorter, until the process ends.
///
/// # Errors
/// The kernel's, above all ENOMEM.
pub fn map_shared(file: BorrowedFd<'_>, words: usize) -> io::Result<&'static [AtomicU64]> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let length = words * size_of::<AtomicU64>();
    // SAFETY: no address is asked for, so that no other mapping is replaced.
    let start = unsafe {
        mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?
    };
    // SAFETY: the mapping has that length, is aligned to pages, is never unmapped, and every value is a valid
    // AtomicU64; whoever else has the file mapped can race only with atomic accesses.
    Ok(unsafe { std::slice::from_raw_parts(start.cast(), words) })
}

/// Lets the descriptor number of `place` mean the file of `file` from now on.
///
/// # Errors
/// The kernel's.
pub fn replace(place: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open, and `place` stays open and owned by its owner, if as another file.
    match unsafe { libc::dup3(file.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The descriptors that the service manager has passed to this process, with their names; at the first call only.
///
/// # Errors
/// Where what the environment says of them makes no sense, or they are not open.
pub fn passed_descriptors() -> io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let own = |(descriptor, name)| {
        // SAFETY: sd-notify has just set a flag of it, so it is open; it was opened for this process, and by
        // TAKEN nobody has been given it before.
        (unsafe { OwnedFd::from_raw_fd(descriptor) }, name)
    };
    Ok(sd_notify::listen_fds_with_names()?.map(own).collect())
}

/// Makes `command` start in the cgroup whose `cgroup.procs` is given, in the mount namespace `mounts`, with
/// the root directory `root` of that and there in `directory`, all before it executes its program: memory
/// stays charged to where it was first touched.
pub fn start_in(command: &mut Command, procs: OwnedFd, mounts: OwnedFd, root: OwnedFd, directory: CString) {
    let enter = move || {
        // What this process keeps for itself, the program is to have.
        SigSet::empty().thread_set_mask()?;
        // "0" is the writer itself (cgroups(7)).
        rustix::io::write(&procs, b"0")?;
        // This also moves the process to the namespace's own root, which need not be the one it had.
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".")?;
        rustix::process::chdir(&*directory)?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls with arguments that were made
    // before; it touches neither locks nor the heap.
    unsafe { command.pre_exec(enter) };
}
