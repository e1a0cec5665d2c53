//! The only place for unsafe code: system calls that no safe wrapper covers.
#![allow(unsafe_code)]

use cgprocfs_core::parse::pid::Pid;
use nix::sys::signal::SigSet;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

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

/// Has all threads share one heap. glibc gives each its own, and each of those keeps parts of pages that it
/// can't give back, so that what a burst leaves behind would grow with the number of CPUs. To be called
/// before the first thread is made.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and touches no memory that is in use.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // By itself it grows once something large was freed, and fuser's next buffer of 16 MiB, hardly a page
        // of which is ever used, would come from the heap and be cleared there.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
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

/// Gives all of a mount tree, which is attached nowhere yet, attributes that it keeps wherever it comes to be
/// seen, and says whose mounts appear on it.
///
/// # Errors
/// ENOSYS before Linux 5.12.
pub fn set_mount(
    tree: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    propagation: MountPropagationFlags,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes.bits().into(),
        attr_clr: 0,
        propagation: propagation.bits().into(),
        userns_fd: 0,
    };
    // SAFETY: the path is a string that ends with NUL, and the kernel reads no more of the attributes than
    // their size.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
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
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls with arguments that were made
    // before; it touches neither locks nor the heap.
    unsafe { command.pre_exec(enter) };
}
