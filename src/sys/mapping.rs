//! Files that are mapped into memory.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;

/// Maps words of 64 bits of a file from `offset` on, until the process ends. The file has to have them, and
/// never gets shorter.
///
/// # Errors
/// The error that the kernel returns, above all ENOMEM.
pub fn map_shared(file: BorrowedFd<'_>, offset: u64, words: usize) -> io::Result<&'static [AtomicU64]> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let length = words * size_of::<AtomicU64>();
    // SAFETY: no address is asked for, so that no other mapping is replaced.
    let start = unsafe {
        mmap(
            std::ptr::null_mut(),
            length,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            file,
            offset,
        )?
    };
    // SAFETY: the mapping has that length, is aligned to pages, is never unmapped, and every value is a valid
    // AtomicU64; whoever else has the file mapped can race only with atomic accesses.
    Ok(unsafe { std::slice::from_raw_parts(start.cast(), words) })
}
