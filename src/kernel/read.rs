//! How files of the kernel are opened and read.

use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;

/// Opens a file read-only, and never for a program that is started.
pub(crate) const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
/// Opens a directory that is only a starting point for look-ups.
pub(crate) const PATH_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Opens a symbolic link itself.
pub(crate) const LINK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opens a directory to list it.
pub(crate) const LIST_DIR: OFlags = READ.union(OFlags::DIRECTORY);

/// The capacity that a buffer begins with. The largest file that is read into one is `/proc/PID/cgroup` with
/// the longest names, and smaller than this.
const INITIAL_CAPACITY: usize = 64 << 10;

/// Reads a file as [`read_whole`] does, and hands its text to `parse`.
///
/// The buffer belongs to the thread: if it were allocated and freed for each answer, the allocator would give
/// it back to the kernel each time. So `parse` must not read another file in this way, or that one allocates
/// a buffer of its own.
pub(crate) fn read_with<T>(file: impl AsFd, parse: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    let result = read_whole(file, &mut buffer).map(|()| parse(&buffer));
    BUFFER.set(buffer);
    result
}

/// Reads a file of the kernel that is one record (`single_open()`, or `seq_show` of a cgroup file) by one
/// system call at offset 0, so that its text is of one moment: the kernel generates it anew for each offset.
pub(crate) fn read_whole(file: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(INITIAL_CAPACITY);
    loop {
        let capacity = buffer.capacity();
        let length = rustix::io::pread(&file, spare_capacity(buffer), 0)?;
        if length < capacity {
            return Ok(());
        }
        buffer.clear();
        buffer.reserve(capacity * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole() {
        let mut file = tempfile::tempfile().unwrap();
        let text = vec![b'x'; 300_000];
        file.write_all(&text).unwrap();
        let mut buffer = Vec::new();
        read_whole(&file, &mut buffer).unwrap();
        assert_eq!(buffer, text);
        assert_eq!(read_with(&file, |read| read == text).ok(), Some(true));
    }
}
