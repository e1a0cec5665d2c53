//! The heap of glibc.

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
