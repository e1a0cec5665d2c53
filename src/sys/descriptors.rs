//! Descriptors by their numbers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Closes what this process was started with but stdin, stdout and stderr, where the kernel can (Linux 5.9).
/// To be called before it opens anything.
pub fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, as the caller has to see to.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// Makes the descriptor number of `place` refer to the open file of `file` from now on (dup3(2)).
///
/// # Errors
/// The error that the kernel returns.
pub fn replace_descriptor(place: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open, and the owner of `place` goes on owning an open descriptor of that number.
    match unsafe { libc::dup3(file.as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The descriptors passed on by the service manager, with their names; at the first call only.
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
