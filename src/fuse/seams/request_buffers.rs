//! Requests as they came from the kernel, in memory that outlives this process.
//!
//! Before Linux 6.9 nobody gives a request out again whose process died after it had fetched it. Most are in
//! the table of requests in flight. One that the process had no time to record there is still in the buffer
//! that it was read into, because the allocator of the program
//! ([`RequestBufferAllocator`](crate::sys::RequestBufferAllocator)) has put fuser's buffers into a file. A
//! program without that allocator serves all the same, and leaves nothing of this kind behind.

use crate::state::OpenFile;
use crate::state::in_flight::{InFlightRequest, Ino, Operation, Unique};
use crate::sys::{MAX_REQUEST_BUFFERS, REQUEST_BUFFER_SIZE, place_request_buffers};
use cgprocfs_core::parse::pid::Pid;
use rustix::fs::{FallocateFlags, fallocate};
use std::io;
use std::os::fd::BorrowedFd;

/// The size of all buffers, in bytes. Pages that are never touched cost nothing.
pub(crate) const LENGTH: usize = MAX_REQUEST_BUFFERS * REQUEST_BUFFER_SIZE;

/// Has the requests that `threads` threads fetch from now on be read into `memory`, from `offset` on.
///
/// # Errors
/// The error that the kernel returns.
pub(crate) fn keep(memory: BorrowedFd<'_>, offset: u64, threads: usize) -> io::Result<()> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(memory, hole, offset, LENGTH as u64)?;
    place_request_buffers(memory, offset, threads)
}

/// The last request that each thread of the process before has fetched, whether it was answered or not.
///
/// # Errors
/// The error that the kernel returns.
pub(crate) fn last_fetched(memory: BorrowedFd<'_>, offset: u64) -> io::Result<Vec<InFlightRequest>> {
    let mut requests = Vec::new();
    for number in 0..MAX_REQUEST_BUFFERS {
        let mut head = [0; HEADER + READ_HEADER];
        rustix::io::pread(memory, &mut head, offset + (number * REQUEST_BUFFER_SIZE) as u64)?;
        requests.extend(parse(&head));
    }
    Ok(requests)
}

/// The length of `struct fuse_in_header` of include/uapi/linux/fuse.h.
const HEADER: usize = 40;
/// The length of the used part of `struct fuse_read_in`.
const READ_HEADER: usize = 20;

/// Numbers of `enum fuse_opcode`.
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// The request that a buffer begins with; `None` where there is none, or one that has no answer.
fn parse(head: &[u8; HEADER + READ_HEADER]) -> Option<InFlightRequest> {
    let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    let operation = match word(4) {
        opcode::FORGET | opcode::BATCH_FORGET => return None,
        opcode::READ => Operation::Read {
            file: OpenFile::new(long(HEADER)),
            offset: long(HEADER + 8),
            size: word(HEADER + 16),
        },
        opcode::OPEN => Operation::Open { flags: i32::from_ne_bytes(word(HEADER).to_ne_bytes()) },
        opcode::LOOKUP | opcode::GETATTR | opcode::STATFS => Operation::Lookup,
        opcode::RELEASE => Operation::Release,
        _ => Operation::Other,
    };
    let unique = long(8);
    (unique != 0).then(|| InFlightRequest {
        unique: Unique::new(unique),
        pid: Pid::new(word(32)),
        ino: Ino::new(long(16)),
        operation,
    })
}

#[cfg(test)]
mod tests {
    use super::super::kernel_stub::{CALLER, INO, KernelStub, READ, request};
    use super::*;
    use fuser::{FileHandle, Filesystem, INodeNo, LockOwner, OpenFlags, ReplyData, Request};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsFd;
    use std::sync::mpsc::{Sender, channel};

    /// As in the binary.
    #[global_allocator]
    static ALLOCATOR: crate::sys::RequestBufferAllocator = crate::sys::RequestBufferAllocator;

    fn head(opcode: u32) -> [u8; HEADER + READ_HEADER] {
        let body = [&(5_u64 << 32).to_ne_bytes()[..], &4096_u64.to_ne_bytes(), &512_u32.to_ne_bytes()];
        request(opcode, 70, &body.concat()).try_into().unwrap()
    }

    #[test]
    fn requests_are_known_by_their_headers() {
        let operation = Operation::Read { file: OpenFile::new(5 << 32), offset: 4096, size: 512 };
        let fetched = InFlightRequest {
            unique: Unique::new(70),
            pid: Pid::new(CALLER[2]),
            ino: Ino::new(INO),
            operation,
        };
        assert_eq!(parse(&head(opcode::READ)), Some(fetched));
        let what = |opcode| parse(&head(opcode)).map(|request| request.operation);
        assert_eq!(what(opcode::OPEN), Some(Operation::Open { flags: 0 }));
        assert_eq!(what(opcode::LOOKUP), Some(Operation::Lookup));
        assert_eq!(parse(&head(opcode::FORGET)), None);
        assert_eq!(parse(&[0; HEADER + READ_HEADER]), None);
    }

    /// Tells what fuser takes a read for.
    struct Reads(Sender<InFlightRequest>);

    impl Filesystem for Reads {
        fn read(
            &self,
            request: &Request,
            ino: INodeNo,
            handle: FileHandle,
            offset: u64,
            size: u32,
            _flags: OpenFlags,
            _lock_owner: Option<LockOwner>,
            reply: ReplyData,
        ) {
            let operation = Operation::Read { file: OpenFile::new(handle.0), offset, size };
            let (unique, pid) = (Unique::new(request.unique().0), Pid::new(request.pid()));
            self.0.send(InFlightRequest { unique, pid, ino: Ino::new(ino.0), operation }).unwrap();
            reply.data(b"text");
        }
    }

    /// Fails where fuser's buffers are of another size, or not from the allocator at all, and where a request
    /// does not lie at their beginning. Only one test of a process can do so.
    #[test]
    fn sessions_read_requests_into_the_buffers() {
        let memory = memfd_create("requests", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, 4096 + LENGTH as u64).unwrap();
        let (sender, reads) = channel();
        let (mut kernel, session) = KernelStub::replay(Reads(sender), 1);
        kernel.receive();
        // Sessions of other tests may take some.
        keep(memory.as_fd(), 4096, MAX_REQUEST_BUFFERS).unwrap();
        kernel.run(session);
        let body =
            [&(5_u64 << 32).to_ne_bytes()[..], &4096_u64.to_ne_bytes(), &512_u32.to_ne_bytes(), &[0; 20]];
        kernel.ask(READ, 70, &body.concat());
        let read = reads.recv().unwrap();
        assert_eq!((read.unique, read.pid, read.ino), (Unique::new(70), Pid::new(CALLER[2]), Ino::new(INO)));
        assert!(last_fetched(memory.as_fd(), 4096).unwrap().contains(&read));
        kernel.end();
    }
}
