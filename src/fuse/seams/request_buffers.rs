//! Requests as they came from the kernel, in memory that outlives this process.
//!
//! Before Linux 6.9 nobody gives a request out again that was fetched by a process which then died. Most are in the
//! journal; one that the process had no time to note is still where it was read to.

use crate::state::in_flight::{InFlightRequest, Operation, Unique};
use crate::sys::{MOST_REQUEST_BUFFERS, REQUEST_BUFFER, put_requests_into};
use rustix::fs::{FallocateFlags, fallocate};
use std::io;
use std::os::fd::BorrowedFd;

/// How much of a memory they take, in bytes. What is never touched costs nothing.
pub(crate) const LENGTH: usize = MOST_REQUEST_BUFFERS * REQUEST_BUFFER;

/// Has the requests that this process fetches be kept in `memory`, from `offset` on.
pub(crate) fn keep(memory: BorrowedFd<'_>, offset: u64, threads: usize) -> io::Result<()> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(memory, hole, offset, LENGTH as u64)?;
    put_requests_into(memory, offset, threads)
}

/// The last request that each thread of the process before has fetched, whether it was answered or not.
pub(crate) fn last_fetched(memory: BorrowedFd<'_>, offset: u64) -> io::Result<Vec<InFlightRequest>> {
    let mut requests = Vec::new();
    for number in 0..MOST_REQUEST_BUFFERS {
        let mut head = [0; HEADER + READ_HEADER];
        rustix::io::pread(memory, &mut head, offset + (number * REQUEST_BUFFER) as u64)?;
        requests.extend(parse(&head));
    }
    Ok(requests)
}

/// `struct fuse_in_header` and the used part of `struct fuse_read_in`, of include/uapi/linux/fuse.h.
const HEADER: usize = 40;
const READ_HEADER: usize = 20;

mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const BATCH_FORGET: u32 = 42;
}

/// `None` where there is no request, or one that has no answer.
fn parse(head: &[u8; HEADER + READ_HEADER]) -> Option<InFlightRequest> {
    let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    let operation = match word(4) {
        opcode::FORGET | opcode::BATCH_FORGET => return None,
        opcode::READ => {
            Operation::Read { handle: long(HEADER), offset: long(HEADER + 8), size: word(HEADER + 16) }
        }
        opcode::OPEN => Operation::Open { flags: word(HEADER).cast_signed() },
        opcode::LOOKUP | opcode::GETATTR | opcode::STATFS => Operation::Lookup,
        opcode::RELEASE => Operation::Release,
        _ => Operation::Other,
    };
    let unique = long(8);
    (unique != 0).then(|| InFlightRequest {
        unique: Unique::new(unique),
        pid: word(32),
        ino: long(16),
        operation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(opcode: u32) -> [u8; HEADER + READ_HEADER] {
        let mut head = [0; HEADER + READ_HEADER];
        head[4..8].copy_from_slice(&opcode.to_ne_bytes());
        for (at, long) in [(8, 70_u64), (16, 16), (40, 5 << 32), (48, 4096)] {
            head[at..at + 8].copy_from_slice(&long.to_ne_bytes());
        }
        for (at, word) in [(32, 1234_u32), (56, 512)] {
            head[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        head
    }

    #[test]
    fn requests_are_known_by_their_headers() {
        let operation = Operation::Read { handle: 5 << 32, offset: 4096, size: 512 };
        assert_eq!(
            parse(&head(opcode::READ)),
            Some(InFlightRequest { unique: Unique::new(70), pid: 1234, ino: 16, operation })
        );
        let what = |opcode| parse(&head(opcode)).map(|request| request.operation);
        assert_eq!(what(opcode::OPEN), Some(Operation::Open { flags: 0 }));
        assert_eq!(what(opcode::LOOKUP), Some(Operation::Lookup));
        assert_eq!(parse(&head(opcode::FORGET)), None);
        assert_eq!(parse(&[0; HEADER + READ_HEADER]), None);
    }
}
