//! Memory that requests are read into, and that outlives the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// The allocator of the binary: the system's, except for the buffers that fuser reads requests into.
///
/// Before Linux 6.9 a request dies with the process that has fetched it, unless it can be found afterwards.
/// fuser reads into a vector of its own, and this allocator can put that into memory that outlives the
/// process.
pub struct RequestBufferAllocator;

/// The size in bytes by which such a buffer is known: fuser's private `BUFFER_SIZE`. Nothing else has it.
pub const REQUEST_BUFFER_SIZE: usize = (16 << 20) + 4096;

/// No more buffers than this are ever mapped.
pub const MAX_REQUEST_BUFFERS: usize = 8;

static REQUEST_BUFFERS: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static REQUEST_BUFFERS_LEFT: AtomicUsize = AtomicUsize::new(0);

/// Places the next `count` request buffers in a file, one after the other from `offset` on. The file must
/// have room there for [`MAX_REQUEST_BUFFERS`], and read as zeros. The buffers stay until the process ends.
/// Only the first call does something, and none does in a program with another allocator.
///
/// # Errors
/// The error that the kernel returns, above all ENOMEM.
pub fn place_request_buffers(file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<()> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let length = MAX_REQUEST_BUFFERS * REQUEST_BUFFER_SIZE;
    // SAFETY: no address is asked for, so that no other mapping is replaced.
    let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, offset)? };
    REQUEST_BUFFERS.store(start.cast(), Ordering::Relaxed);
    REQUEST_BUFFERS_LEFT.store(count.min(MAX_REQUEST_BUFFERS), Ordering::Release);
    Ok(())
}

fn next_request_buffer() -> Option<*mut u8> {
    let one_less = |left: usize| left.checked_sub(1);
    let left = REQUEST_BUFFERS_LEFT.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok()?;
    // SAFETY: the mapping has room for `left` buffers, and none of them was given to anybody yet.
    Some(unsafe { REQUEST_BUFFERS.load(Ordering::Relaxed).add((left - 1) * REQUEST_BUFFER_SIZE) })
}

fn is_request_buffer(block: *mut u8) -> bool {
    let start = REQUEST_BUFFERS.load(Ordering::Relaxed);
    let length = MAX_REQUEST_BUFFERS * REQUEST_BUFFER_SIZE;
    !start.is_null() && (block as usize).wrapping_sub(start as usize) < length
}

// SAFETY: everything is left to the system's allocator, except zeroed blocks of one size. These are distinct
// parts of a shared mapping, aligned to pages and never unmapped. Giving one back does nothing, and no block
// is handed out twice.
unsafe impl GlobalAlloc for RequestBufferAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() == REQUEST_BUFFER_SIZE && layout.align() <= 4096 {
            if let Some(buffer) = next_request_buffer() {
                return buffer;
            }
        }
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() == REQUEST_BUFFER_SIZE && is_request_buffer(block) {
            return;
        }
        // SAFETY: the caller keeps the contract, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() == REQUEST_BUFFER_SIZE && is_request_buffer(block) {
            // fuser never asks for another size, and an allocator may refuse.
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract, and the block is the system's.
        unsafe { System.realloc(block, layout, size) }
    }
}
