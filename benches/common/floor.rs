//! The floor: a FUSE file system that does nothing, with the same flags.

use crate::attributes::attributes;
use crate::reads::Reads;
use fuser::{
    Config, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, Request, Session, SessionACL,
};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A file system with one file of constant text: what FUSE itself costs.
struct Floor {
    text: Vec<u8>,
    /// What is read before each text, for nothing.
    reads: Option<Reads>,
}

const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

impl Filesystem for Floor {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == "meminfo" {
            true => reply.entry(&FOR_EVER, &attributes(INodeNo(2)), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }
    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &attributes(ino));
    }
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
    }
    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if let (Some(reads), 0) = (&self.reads, offset) {
            reads.read_for(request.pid());
        }
        reply.data(&self.text[usize::try_from(offset).unwrap().min(self.text.len())..]);
    }
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

/// Serves the floor in a directory until it is unmounted.
pub fn serve(dir: &Path, reads: Option<Reads>) {
    let device = cgprocfs::mount::attach(dir, cgprocfs::mount::Writes::Nothing).unwrap();
    let text = fs::read("/proc/meminfo").unwrap();
    let mut config = Config::default();
    config.n_threads = Some(cgprocfs::fuse::QuiesceGate::default().threads());
    Session::from_fd(Floor { text, reads }, device, SessionACL::All, config).unwrap().run().unwrap();
}
