//! The command `cgprocfs`.

use cgprocfs::sys::RequestBufferAllocator;
use std::process::ExitCode;

/// Keeps requests that were fetched where a successor of this process finds them. Only the program that
/// serves needs it, so it is not in the library.
#[global_allocator]
static ALLOCATOR: RequestBufferAllocator = RequestBufferAllocator;

fn main() -> ExitCode {
    cgprocfs::cli::main()
}

#[cfg(test)]
mod tests {
    use cgprocfs::sys::{MAX_REQUEST_BUFFERS, REQUEST_BUFFER_SIZE, place_request_buffers};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsFd;

    #[test]
    fn request_buffers_lie_in_the_file_that_was_given() {
        let file = memfd_create("requests", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, (MAX_REQUEST_BUFFERS * REQUEST_BUFFER_SIZE) as u64).unwrap();
        place_request_buffers(file.as_fd(), 0, 1).unwrap();
        // As fuser makes it.
        let mut buffer = vec![0_u8; REQUEST_BUFFER_SIZE];
        buffer[7] = 42;
        let mut start = [0; 8];
        rustix::io::pread(&file, &mut start, 0).unwrap();
        assert_eq!(start[7], 42);
    }
}
