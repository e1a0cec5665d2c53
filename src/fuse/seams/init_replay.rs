//! A session of fuser's on a connection whose FUSE_INIT request was read long ago.
//!
//! [`Session::from_fd`] begins with FUSE_INIT, which the kernel sends once for a connection. So the session
//! is made on a socket from which it reads a copy of that request, and then the connection takes the socket's
//! place under the same descriptor number.

use super::device_messages::write_reply;
use fuser::{Config, Filesystem, Session, SessionACL};
use rustix::net::{RecvFlags, recv};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

/// The length of the longest answer to FUSE_INIT that is expected, in bytes: `struct fuse_out_header` and
/// `struct fuse_init_out` have 80.
const MAX_ANSWER: usize = 4096;

/// `FUSE_ASYNC_DIO`, which must not be asked for: with it the kernel would let a process do something else
/// while its direct reads are answered (io_submit(2)), an exec for instance. The exec waits for the reads
/// (`exit_aio()`, fs/aio.c), and whoever looks at the process, as this one does to know who reads, waits for
/// the exec. Without the flag a process that waits for our answer does nothing else.
const ASYNC_DIO: u32 = 1 << 15;

/// Makes a session of `threads` threads on the connection `device`, by replaying `init`, the FUSE_INIT
/// request that the kernel once sent. The answer is passed on to the kernel, for which only the first
/// server's is news.
///
/// # Errors
/// Where fuser does not understand the request, or its answer asks for what must not be.
pub(crate) fn replay_init<FS: Filesystem>(
    fs: FS,
    device: BorrowedFd<'_>,
    init: &[u8],
    threads: usize,
) -> io::Result<Session<FS>> {
    let mut config = Config::default();
    config.n_threads = Some(threads);
    // A request that was read through a clone of the device dies with that clone.
    config.clone_fd = false;
    // Datagrams: one read is one message, as with the device.
    let (kernel, server) = UnixDatagram::pair()?;
    kernel.send(init)?;
    let session = Session::from_fd(fs, server.into(), SessionACL::All, config)?;
    let mut answer = [0; MAX_ANSWER];
    // It is there by now, or never will be.
    let (length, _) = recv(&kernel, &mut answer, RecvFlags::DONTWAIT)?;
    if asks_for(&answer[..length], ASYNC_DIO) {
        return Err(io::Error::other("the answer to the kernel's INIT request asks for FUSE_ASYNC_DIO"));
    }
    crate::sys::replace_descriptor(session.as_fd(), device)?;
    write_reply(device, &answer[..length])?;
    Ok(session)
}

/// Whether an answer to FUSE_INIT asks for one of the first 32 flags.
fn asks_for(answer: &[u8], flag: u32) -> bool {
    /// The offset of the flags: in `struct fuse_init_out`, behind `struct fuse_out_header`
    /// (include/uapi/linux/fuse.h).
    const OFFSET: usize = 16 + 12;
    let flags = answer.get(OFFSET..OFFSET + 4).and_then(|flags| flags.try_into().ok());
    flags.is_some_and(|flags| u32::from_ne_bytes(flags) & flag != 0)
}

#[cfg(test)]
mod tests {
    use super::super::kernel_stub::{GETATTR, INIT, KernelStub, request};
    use super::*;
    use fuser::{Errno, FileHandle, INodeNo, ReplyAttr, Request};

    struct Stale;

    impl Filesystem for Stale {
        fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
            reply.error(Errno::ESTALE);
        }
    }

    #[test]
    fn flags_of_an_answer() {
        // FUSE_INIT of protocol 7.31, with FUSE_ASYNC_READ (1 << 0) and FUSE_BIG_WRITES (1 << 5).
        let mut answer = vec![0; 16 + 64];
        answer[28..32].copy_from_slice(&0x21_u32.to_ne_bytes());
        assert!(asks_for(&answer, 1) && asks_for(&answer, 1 << 5) && !asks_for(&answer, ASYNC_DIO));
        answer[28..32].copy_from_slice(&0x8021_u32.to_ne_bytes());
        assert!(asks_for(&answer, ASYNC_DIO));
        assert!(!asks_for(&answer[..24], ASYNC_DIO), "it has no flags");
    }

    /// Fails where fuser reads FUSE_INIT from elsewhere, or answers elsewhere.
    #[test]
    fn init_is_replayed_and_its_answer_passed_on() {
        let (kernel, _session) = KernelStub::replay(Stale, 1);
        let answer = kernel.receive();
        assert_eq!(
            answer[..16],
            [&80_u32.to_ne_bytes()[..], &[0; 4], &KernelStub::INIT_UNIQUE.to_ne_bytes()].concat()
        );
        assert_eq!(answer[16..20], 7_u32.to_ne_bytes(), "the protocol's version");
        assert!(asks_for(&answer, 1), "FUSE_ASYNC_READ, which the stub offers");
    }

    /// Fails where a session reads from another descriptor than the one that it was made with.
    #[test]
    fn all_threads_read_from_the_connection() {
        let kernel = KernelStub::serve(Stale, 2);
        for unique in [70, 72, 74] {
            let answer = kernel.ask(GETATTR, unique, &[0; 16]);
            assert_eq!(answer[4..8], (-Errno::ESTALE.code()).to_ne_bytes());
        }
        // Each thread ends by one.
        kernel.end();
    }

    #[test]
    fn a_request_that_is_not_init_is_refused() {
        let (_kernel, device) = UnixDatagram::pair().unwrap();
        let init = |opcode| replay_init(Stale, device.as_fd(), &request(opcode, 2, &[0; 64]), 1).map(drop);
        assert!(init(GETATTR).is_err());
        assert!(init(INIT).is_err(), "of version 0.0");
    }
}
