//! The FUSE skin: translates requests of the kernel into calls of [`Service`], and computes nothing.

mod file;
mod gate;
mod handles;
mod lookup;
mod tree;

pub use self::gate::Gate;

use self::file::{File, inode, kernel_number};
use self::handles::Handles;
use self::lookup::{Found, kind};
use self::tree::Tree;
use crate::error::Error;
use crate::journal::{Fetched, Journal, What};
use crate::service::{Polled, Service};
use crate::view::{View, topology};
use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the kernel may keep look-ups and attributes: nothing of ours ever changes, and of what the kernel takes away, as
/// with a processor, an open says that it is stale.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// Whatever is served is never cached by the kernel, which would show one container's text to another; and
/// closing a file needs no word from us, so that no reader's close() waits for the daemon.
/// Nor is a file locked for one that writes, which all containers share.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO
    .union(FopenFlags::FOPEN_NOFLUSH)
    .union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

/// The served file system.
pub struct ViewFs {
    service: Arc<Service>,
    tree: Tree,
    handles: Handles,
    started: SystemTime,
    journal: Journal,
    gate: Arc<Gate>,
    is_read_only: bool,
}

impl ViewFs {
    /// Serves `views`, whose texts `service` computes, until `gate` is closed, as the server of a connection of that number.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        views: &[&'static dyn View],
        (generation, journal): (u32, Journal),
        is_read_only: bool,
        gate: Arc<Gate>,
    ) -> Self {
        Self {
            service,
            tree: Tree::new(views),
            handles: Handles::new(generation),
            started: SystemTime::now(),
            journal,
            gate,
            is_read_only,
        }
    }

    /// Answers a request, which is in the journal meanwhile.
    ///
    /// A panic must not take the serving thread with it. It was logged where it happened, and the reply that
    /// was not sent is dropped while the stack unwinds, which answers EIO. So it is where servers have ended over the
    /// request, and the handler is dropped without being called.
    fn answer(&self, request: &Request, ino: INodeNo, what: What, handler: impl FnOnce()) {
        let fetched = Fetched { unique: request.unique().0, pid: request.pid(), ino: ino.0, what };
        let _ = self.journal.during(fetched, || drop(catch_unwind(AssertUnwindSafe(handler))));
        self.gate.pass();
    }

    /// The view of pressure that this is, if it is one.
    fn pressure(&self, ino: INodeNo) -> Option<&'static dyn View> {
        self.file(ino.0).and_then(File::pressure)
    }

    /// What a reader is told of an error; the log is told the rest.
    fn errno(&self, error: &Error) -> Errno {
        self.service.log(error);
        Errno::from_i32(error.errno())
    }
}

/// What a read gets that a predecessor had fetched, or the errno. The text from which that had answered the
/// reads before it is gone: it is made anew.
pub(crate) fn reread(
    service: &Service,
    views: &[&'static dyn View],
    fetched: &Fetched,
) -> Result<Vec<u8>, i32> {
    let What::Read { offset, size, .. } = fetched.what else { return Err(libc::EIO) };
    let view = || views.iter().find(|view| view.ino() == fetched.ino).copied().map(File::View);
    let file = kernel_number(fetched.ino).map(File::OfProcessors).or_else(view).ok_or(libc::EBADF)?;
    if offset != 0 && !file.fits_one_read() {
        return Err(Error::TextGone(file.path()).errno());
    }
    match file.text(service, fetched.pid) {
        Ok(text) => Ok(range(&text.bytes, offset, size).to_vec()),
        Err(error) => {
            service.log(&error);
            Err(error.errno())
        }
    }
}

/// Requests to change what never changes, each by the types of its arguments.
macro_rules! refused {
    ($($name:ident($($argument:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            reply.error(Errno::EROFS);
        }
    )*};
}

impl Filesystem for ViewFs {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.answer(request, parent, What::Lookup, || match self.child(parent.0, name) {
            Ok(found) => reply.entry(&FOR_EVER, &self.attributes(&found), Generation(0)),
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(request, ino, What::Lookup, || match self.find(ino.0) {
            Ok(found) => reply.attr(&FOR_EVER, &self.attributes(&found)),
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(request, ino, What::Lookup, || {
            let Ok(Found::OfProcessors(path, _)) = self.find(ino.0) else {
                return reply.error(Errno::EINVAL);
            };
            let native = match self.service.cpus(request.pid()) {
                Ok(cpus) => cpus.map_or(Some(path.clone()), |cpus| topology::native_path(&path, &cpus)),
                Err(error) => return reply.error(self.errno(&error)),
            };
            let target = native.ok_or(rustix::io::Errno::NOENT);
            match target.and_then(|native| self.service.source().cpu_directory().target(&native)) {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
            }
        });
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.answer(request, ino, What::Other, || {
            let directory = match self.find(ino.0) {
                Ok(directory) => directory,
                Err(error) => return reply.error(Errno::from_i32(error.raw_os_error())),
            };
            let others = match self.others_in(&directory, ino.0, request.pid()) {
                Ok(others) => others,
                Err(error) => return reply.error(self.errno(&error)),
            };
            // The kernel knows by itself where one of its own directories lies.
            let parent = match &directory {
                Found::Ours(node) => node.parent,
                Found::OfProcessors(..) => ino.0,
            };
            let dots = [(ino.0, "."), (parent, "..")];
            let dots = dots.map(|(ino, name)| (ino, FileType::Directory, OsStr::new(name)));
            let ours = self.tree.children(ino.0).map(|node| {
                let kind = self.attributes(&Found::Ours(node)).kind;
                (node.ino, kind, OsStr::new(node.name))
            });
            let others =
                others.iter().map(|(name, entry)| (inode(entry.ino), kind(*entry), OsStr::from_bytes(name)));
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (next, (ino, kind, name)) in (1..).zip(dots.into_iter().chain(ours).chain(others)).skip(from)
            {
                if reply.add(INodeNo(ino), next, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.answer(request, ino, What::Lookup, || {
            let Some(file) = self.file(ino.0) else { return reply.error(Errno::EISDIR) };
            if flags.acc_mode() != OpenAccMode::O_RDONLY && file.pressure().is_none() {
                return reply.error(Errno::EROFS);
            }
            match file.text(&self.service, request.pid()) {
                Ok(text) => reply.opened(FileHandle(self.handles.open(file, text)), OPENED),
                Err(error) => reply.error(self.errno(&error)),
            }
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
        self.answer(request, ino, What::Read { handle: handle.0, offset, size }, || {
            // A read on nobody's behalf fills the page cache, which all containers share: for mmap, and for
            // sendfile since Linux 6.5, whose users fall back to read(2) on this error.
            if lock_owner.is_none() {
                return reply.error(Errno::EINVAL);
            }
            let text_now = |file: File| file.text(&self.service, request.pid());
            let text = self.handles.read(handle.0, offset, || self.file(ino.0), text_now);
            match text {
                Some(Ok(text)) => reply.data(range(&text.bytes, offset, size)),
                Some(Err(error)) => reply.error(self.errno(&error)),
                None => reply.error(Errno::EBADF),
            }
        });
    }

    /// "Not implemented" is heard once and makes the kernel stop asking.
    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
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
        self.answer(request, ino, What::Release, || {
            if self.pressure(ino).is_some() {
                self.service.closed(handle.0);
            }
            // Last: from here on another file may get this number.
            self.handles.release(handle.0);
            reply.ok();
        });
    }

    /// A program that watches for pressure writes what for.
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
        self.answer(request, ino, What::Other, || {
            let Some(view) = self.pressure(ino) else {
                return reply.error(Errno::EROFS);
            };
            match self.service.arm(handle.0, request.pid(), view, data) {
                Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
                Err(error) => reply.error(self.errno(&error)),
            }
        });
    }

    /// What procfs says of a file that can always be read, but for triggers (`psi_trigger_poll()`, kernel/sched/psi.c).
    /// Where there are none, "not implemented" makes the kernel say so by itself, and nobody's poll waits for the daemon.
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
        self.answer(request, ino, What::Other, || {
            if self.is_read_only {
                return reply.error(Errno::ENOSYS);
            }
            let always =
                PollEvents::POLLIN | PollEvents::POLLOUT | PollEvents::POLLRDNORM | PollEvents::POLLWRNORM;
            let Some(view) = self.pressure(ino) else { return reply.poll(always) };
            let waits = flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY);
            let waiter = if waits { notifier.handle().0 } else { 0 };
            reply.poll(match self.service.poll(handle.0, request.pid(), view, waiter) {
                Polled::Nothing => always,
                Polled::Event => always | PollEvents::POLLPRI,
                Polled::Error => always | PollEvents::POLLPRI | PollEvents::POLLERR,
            });
        });
    }

    /// Who opens a file to write a trigger may want it empty first.
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
        self.answer(request, ino, What::Lookup, || {
            let is_truncated = size.is_some() && mode.is_none() && uid.is_none() && gid.is_none();
            match self.find(ino.0) {
                Ok(found) if is_truncated && self.pressure(ino).is_some() => {
                    reply.attr(&FOR_EVER, &self.attributes(&found));
                }
                _ => reply.error(Errno::EROFS),
            }
        });
    }

    refused! {
        mknod(INodeNo, &OsStr, u32, u32, u32) -> ReplyEntry;
        create(INodeNo, &OsStr, u32, u32, i32) -> ReplyCreate;
        mkdir(INodeNo, &OsStr, u32, u32) -> ReplyEntry;
        symlink(INodeNo, &OsStr, &Path) -> ReplyEntry;
        link(INodeNo, INodeNo, &OsStr) -> ReplyEntry;
        unlink(INodeNo, &OsStr) -> ReplyEmpty;
        rmdir(INodeNo, &OsStr) -> ReplyEmpty;
        rename(INodeNo, &OsStr, INodeNo, &OsStr, RenameFlags) -> ReplyEmpty;
        setxattr(INodeNo, &OsStr, &[u8], i32, u32) -> ReplyEmpty;
        removexattr(INodeNo, &OsStr) -> ReplyEmpty;
    }

    /// Nothing is stored here. It is also what wakes a thread that waits for requests.
    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.answer(request, ino, What::Lookup, || reply.statfs(0, 0, 0, 0, 0, 4096, 255, 0));
    }

    fn getxattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }
}

/// The part of a text that a read asks for: short at its end, empty beyond.
fn range(text: &[u8], offset: u64, size: u32) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let end = start.saturating_add(size as usize).min(text.len());
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_end_with_the_text() {
        assert_eq!(range(b"hello", 1, 3), b"ell");
        assert_eq!(range(b"hello", 3, 100), b"lo");
        assert_eq!(range(b"hello", 5, 1), b"");
        assert_eq!(range(b"hello", u64::MAX, u32::MAX), b"");
    }
}
