//! Messages that are written to `/dev/fuse` by hand, past fuser.
//!
//! fuser answers only the requests that it has read itself. Those that a predecessor had read are answered
//! from here.

use crate::state::in_flight::Unique;
use fuser::{Errno, FopenFlags};
use rustix::io::write;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// `struct fuse_out_header` of include/uapi/linux/fuse.h: length, error, number of the request.
fn header(length: usize, error: i32, unique: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

/// Answers the request `unique` with a body, or with an errno.
///
/// # Errors
/// The error that the kernel returns. That nobody waits for the answer any more, or that it was given
/// already, is none.
pub(crate) fn reply(
    device: BorrowedFd<'_>,
    unique: Unique,
    answer: Result<Vec<u8>, Errno>,
) -> io::Result<()> {
    let (error, body) = match answer {
        Ok(body) => (0, body),
        Err(errno) => (-errno.code(), Vec::new()),
    };
    let mut message = header(16 + body.len(), error, unique.get()).to_vec();
    message.extend(body);
    write_reply(device, &message)
}

/// Writes a whole reply, header included, to a request that may have been answered already.
///
/// # Errors
/// As [`reply`]: what the kernel returns, but for a request that was answered already.
pub(super) fn write_reply(device: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    match write(device, message) {
        Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The body of a reply to FUSE_OPEN: `struct fuse_open_out` of include/uapi/linux/fuse.h.
pub(crate) fn open_reply(handle: u64, flags: FopenFlags) -> Vec<u8> {
    let padding = 0_u32;
    [&handle.to_ne_bytes()[..], &flags.bits().to_ne_bytes(), &padding.to_ne_bytes()].concat()
}

/// Whether the kernel of this machine has been found to resend requests.
static RESENDS: AtomicBool = AtomicBool::new(false);

/// Asks the kernel to give out again what was fetched and not answered, the oldest request first
/// (`FUSE_NOTIFY_RESEND`, since Linux 6.9). Returns whether it does so.
///
/// # Errors
/// The error that the kernel returns.
pub(crate) fn request_resend(device: BorrowedFd<'_>) -> io::Result<bool> {
    const FUSE_NOTIFY_RESEND: i32 = 7;
    match write(device, &header(16, FUSE_NOTIFY_RESEND, 0)) {
        Ok(_) => {
            RESENDS.store(true, Ordering::Relaxed);
            Ok(true)
        }
        Err(rustix::io::Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the kernel gives a successor what this server leaves unanswered, as far as [`request_resend`] has
/// found out.
pub(crate) fn resends() -> bool {
    RESENDS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::super::kernel_stub::{KernelStub, OPEN, STATFS};
    use super::*;
    use fuser::{FileHandle, Filesystem, INodeNo, OpenFlags, ReplyOpen, ReplyStatfs, Request};
    use std::os::fd::AsFd;

    struct Opens;

    impl Filesystem for Opens {
        fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
            reply.opened(FileHandle(7 << 32), FopenFlags::FOPEN_DIRECT_IO);
        }

        fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
            drop(reply);
        }
    }

    /// What is sent here looks as if fuser had sent it.
    #[test]
    fn replies_are_those_of_fuser() {
        let kernel = KernelStub::serve(Opens, 1);
        let theirs = kernel.ask(OPEN, 70, &[0; 8]);
        let (sent, received) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let body = open_reply(7 << 32, FopenFlags::FOPEN_DIRECT_IO);
        reply(sent.as_fd(), Unique::new(70), Ok(body)).unwrap();
        let mut ours = [0; 256];
        let length = received.recv(&mut ours).unwrap();
        assert_eq!(ours[..length], theirs);
    }

    #[test]
    fn a_reply_that_is_dropped_answers_eio() {
        let kernel = KernelStub::serve(Opens, 1);
        let answer = kernel.ask(STATFS, 72, &[]);
        assert_eq!(answer, header(16, -Errno::EIO.code(), 72));
    }
}
