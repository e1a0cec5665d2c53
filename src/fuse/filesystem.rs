//! What fuser calls: every request of the kernel, handed to [`Served`] by [`answer`](ViewFs::answer).

use super::file_requests::FileRequest;
use super::quiesce_gate::QuiesceGate;
use super::served::{Served, ServedConnection};
use crate::service::Service;
use crate::state::in_flight::Operation;
use crate::state::{OpenFile, PollWaiter};
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::psi::Trigger;
use cgprocfs_core::view::ViewId;
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The served file system.
pub struct ViewFs {
    pub(super) served: Arc<Served>,
    pub(super) gate: Arc<QuiesceGate>,
}

impl ViewFs {
    /// Serves `views` of a connection, whose texts `service` computes, until `gate` is closed.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        views: &[ViewId],
        connection: ServedConnection,
        gate: Arc<QuiesceGate>,
    ) -> Self {
        let served = Served::new(service, views, connection);
        Self { served: Arc::new(served), gate }
    }
}

/// Requests that are all answered with one error, each by the types of its arguments after the inode.
macro_rules! refused {
    ($errno:expr => $($name:ident($($argument:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, request: &Request, ino: INodeNo, $(_: $argument,)* reply: $reply) {
            self.answer(request, ino, Operation::Other, move |_, _in_flight| reply.error($errno));
        }
    )*};
}

/// As [`refused!`], and charged to nobody.
macro_rules! refused_at_once {
    ($errno:expr => $($name:ident($($argument:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            reply.error($errno);
        }
    )*};
}

/// Whose request it is; [`Pid::UNSEEN`] for a process of a pid namespace that this one does not see.
pub(super) fn pid_of(request: &Request) -> Pid {
    Pid::new(request.pid())
}

impl Filesystem for ViewFs {
    /// Lets the kernel look names up in one directory side by side. Otherwise it holds a lock over each, and
    /// whoever looks up many holds up all others.
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Linux has had it since 4.7: without it look-ups wait for each other, and nothing else changes.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.answer(request, parent, Operation::Lookup, move |served, _in_flight| {
            served.lookup(parent, &name, reply);
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(request, ino, Operation::Lookup, move |served, _in_flight| served.getattr(ino, reply));
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let pid = pid_of(request);
        self.answer(request, ino, Operation::Lookup, move |served, in_flight| {
            served.readlink(in_flight, pid, ino, reply);
        });
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let pid = pid_of(request);
        self.answer(request, ino, Operation::Lookup, move |served, in_flight| {
            served.opendir(in_flight, pid, ino, reply);
        });
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let pid = pid_of(request);
        self.answer(request, ino, Operation::Other, move |served, in_flight| {
            served.readdir(in_flight, pid, ino, (handle, offset), reply);
        });
    }

    fn releasedir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.answer(request, ino, Operation::Release, move |served, _in_flight| {
            served.directories.release(handle);
            reply.ok();
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let pid = pid_of(request);
        self.answer(request, ino, Operation::Open { flags: flags.0 }, move |served, in_flight| {
            served.open(in_flight, pid, ino, flags, reply);
        });
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let pid = pid_of(request);
        let operation = Operation::Read { file: OpenFile::new(handle.0), offset, size };
        self.answer(request, ino, operation, move |served, in_flight| {
            // A read on nobody's behalf fills the page cache, which all containers share: for mmap(2), and
            // for sendfile(2) since Linux 6.5, whose callers fall back to read(2) on this error.
            if lock_owner.is_none() {
                return reply.error(Errno::EINVAL);
            }
            served.read(FileRequest { in_flight, pid, ino, handle }, offset, size, reply);
        });
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.answer(request, ino, Operation::Release, move |served, _in_flight| {
            served.release(ino, handle, reply);
        });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let pid = pid_of(request);
        let (trigger, written) = (Trigger::parse(data).ok(), u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.answer(request, ino, Operation::Other, move |served, in_flight| {
            served.arm_trigger(
                FileRequest { in_flight, pid, ino, handle },
                trigger,
                move |armed| match armed {
                    Ok(()) => reply.written(written),
                    Err(errno) => reply.error(errno),
                },
            );
        });
    }

    fn poll(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        notifier: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let pid = pid_of(request);
        let waits = flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY);
        let waiter = if waits { PollWaiter::new(notifier.handle().0) } else { None };
        self.answer(request, ino, Operation::Other, move |served, in_flight| {
            served.poll(FileRequest { in_flight, pid, ino, handle }, waiter, reply);
        });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.answer(request, ino, Operation::Lookup, move |served, _in_flight| {
            if size.is_some() && mode.is_none() && uid.is_none() && gid.is_none() {
                served.truncate(ino, reply);
            } else {
                reply.error(Errno::EROFS);
            }
        });
    }

    // What would change what never changes.
    refused! { Errno::EROFS =>
        mknod(&OsStr, u32, u32, u32) -> ReplyEntry;
        create(&OsStr, u32, u32, i32) -> ReplyCreate;
        mkdir(&OsStr, u32, u32) -> ReplyEntry;
        symlink(&OsStr, &Path) -> ReplyEntry;
        link(INodeNo, &OsStr) -> ReplyEntry;
        unlink(&OsStr) -> ReplyEmpty;
        rmdir(&OsStr) -> ReplyEmpty;
        rename(&OsStr, INodeNo, &OsStr, RenameFlags) -> ReplyEmpty;
        setxattr(&OsStr, &[u8], i32, u32) -> ReplyEmpty;
        removexattr(&OsStr) -> ReplyEmpty;
    }

    refused! { Errno::ENOTTY =>
        ioctl(FileHandle, IoctlFlags, u32, &[u8], u32) -> ReplyIoctl;
    }

    // What the kernel does not ask for again once it has heard that it is not implemented. A process that
    // flushes may be in an exec, and is not to be looked at.
    refused_at_once! { Errno::ENOSYS =>
        flush(INodeNo, FileHandle, LockOwner) -> ReplyEmpty;
        getxattr(INodeNo, &OsStr, u32) -> ReplyXattr;
        listxattr(INodeNo, u32) -> ReplyXattr;
    }

    /// Nothing is stored here, so that all figures are 0. This request also wakes a thread that waits for one
    /// (`seams::wakeup`).
    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.answer(request, ino, Operation::Lookup, move |_, _in_flight| {
            reply.statfs(0, 0, 0, 0, 0, 4096, 255, 0);
        });
    }
}
