//! A kernel for tests: the other end of a connection, without a mount.

use super::init_replay::replay_init;
use fuser::{Filesystem, Session};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(super) const GETATTR: u32 = 3;
pub(in crate::fuse) const UNLINK: u32 = 10;
pub(super) const OPEN: u32 = 14;
pub(super) const READ: u32 = 15;
pub(in crate::fuse) const STATFS: u32 = 17;
pub(in crate::fuse) const FLUSH: u32 = 25;
pub(super) const INIT: u32 = 26;
const DESTROY: u32 = 38;
pub(in crate::fuse) const IOCTL: u32 = 39;

/// The user, group and process that all requests come from.
pub(in crate::fuse) const CALLER: [u32; 3] = [1000, 1001, 1234];
/// The inode number that all requests are about.
pub(super) const INO: u64 = 16;

/// A request as the kernel makes it: `struct fuse_in_header` of include/uapi/linux/fuse.h, and what follows.
pub(super) fn request(opcode: u32, unique: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let mut request = [length.to_ne_bytes(), opcode.to_ne_bytes()].concat();
    request.extend([unique.to_ne_bytes(), INO.to_ne_bytes()].concat());
    request.extend(CALLER.into_iter().chain([0]).flat_map(u32::to_ne_bytes));
    request.extend(body);
    request
}

/// The end of a connection that the kernel has. What it waits for must come within seconds.
pub(in crate::fuse) struct KernelStub {
    socket: UnixDatagram,
    threads: usize,
    session: Option<JoinHandle<io::Result<()>>>,
}

impl KernelStub {
    pub(super) const INIT_UNIQUE: u64 = 2;

    /// Has a session made on a connection whose FUSE_INIT was read before. The stub offers all capabilities
    /// of 7.40.
    pub(super) fn replay<FS: Filesystem>(fs: FS, threads: usize) -> (Self, Session<FS>) {
        let (socket, device) = UnixDatagram::pair().unwrap();
        let mut body: Vec<u8> = [7, 40, 128 << 10, u32::MAX].into_iter().flat_map(u32::to_ne_bytes).collect();
        body.resize(64, 0);
        let init = request(INIT, Self::INIT_UNIQUE, &body);
        let session = replay_init(fs, device.as_fd(), &init, threads).unwrap();
        (Self { socket, threads, session: None }, session)
    }

    /// Serves a file system with the given number of threads.
    pub(in crate::fuse) fn serve(fs: impl Filesystem, threads: usize) -> Self {
        let (mut kernel, session) = Self::replay(fs, threads);
        kernel.receive();
        kernel.run(session);
        kernel
    }

    /// Runs a session that was made before.
    pub(super) fn run(&mut self, session: Session<impl Filesystem>) {
        self.session = Some(thread::spawn(move || session.run()));
    }

    /// The next message from the server.
    pub(super) fn receive(&self) -> Vec<u8> {
        self.receive_within(Duration::from_secs(10)).expect("a message from the server")
    }

    /// The next message from the server; `None` if none comes in that time.
    pub(in crate::fuse) fn receive_within(&self, timeout: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(timeout)).unwrap();
        let mut message = vec![0; 4096];
        // It is interrupted if this process is stopped and continued (signal(7)).
        match retry_on_intr(|| rustix::net::recv(&self.socket, &mut message[..], RecvFlags::empty())) {
            Ok((length, _)) => message.truncate(length),
            Err(Errno::AGAIN) => return None,
            Err(error) => panic!("{error}"),
        }
        Some(message)
    }

    pub(in crate::fuse) fn send(&self, opcode: u32, unique: u64, body: &[u8]) {
        self.socket.send(&request(opcode, unique, body)).unwrap();
    }

    pub(super) fn ask(&self, opcode: u32, unique: u64, body: &[u8]) -> Vec<u8> {
        self.send(opcode, unique, body);
        self.receive()
    }

    /// Ends every thread of the session.
    pub(in crate::fuse) fn end(mut self) {
        for number in 0..self.threads {
            self.ask(DESTROY, 1000 + 2 * number as u64, &[]);
        }
        self.session.take().unwrap().join().unwrap().unwrap();
    }
}
