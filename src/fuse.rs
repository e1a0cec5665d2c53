//! The FUSE skin: translates requests of the kernel into calls of [`Service`], and computes nothing.

mod gate;
mod handles;
mod tree;

pub use self::gate::Gate;

use self::handles::Handles;
use self::tree::{Node, Tree};
use crate::error::Error;
use crate::service::Service;
use crate::session::{Connection, Fetched, Journal, What};
use crate::view::View;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr,
    Request,
};
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the kernel may keep look-ups and attributes: the tree never changes.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// Whatever is served is never cached by the kernel, which would show one container's text to another; and
/// closing a file needs no word from us, so that no reader's close() waits for the daemon.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_NOFLUSH);

/// The served file system.
pub struct ViewFs {
    service: Arc<Service>,
    tree: Tree,
    handles: Handles,
    started: SystemTime,
    journal: Journal,
    gate: Arc<Gate>,
}

impl ViewFs {
    /// Serves `views`, whose texts `service` computes, on a connection, until `gate` is closed.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        views: &[&'static dyn View],
        connection: &Connection,
        gate: Arc<Gate>,
    ) -> Self {
        Self {
            service,
            tree: Tree::new(views),
            handles: Handles::new(connection.generation()),
            started: SystemTime::now(),
            journal: connection.journal(),
            gate,
        }
    }

    /// Answers a request, which is in the journal meanwhile.
    ///
    /// A panic must not take the serving thread with it. It was logged where it happened, and the reply that
    /// was not sent is dropped while the stack unwinds, which answers EIO.
    fn answer(&self, request: &Request, ino: INodeNo, what: What, handler: impl FnOnce()) {
        let fetched = Fetched { unique: request.unique().0, pid: request.pid(), ino: ino.0, what };
        self.journal.during(fetched, || drop(catch_unwind(AssertUnwindSafe(handler))));
        self.gate.pass();
    }

    /// What a reader is told of an error; the log is told the rest.
    fn errno(&self, error: &Error) -> Errno {
        self.service.log(error);
        Errno::from_i32(error.errno())
    }

    fn attributes(&self, node: &Node) -> FileAttr {
        let (kind, perm, nlink, size) = match node.view {
            // As those of sysfs do. The true size is known only when a text is made, and 0, as procfs has it, would
            // make the kernel answer sendfile(2) and io_uring reads by itself: with nothing
            // (`filemap_splice_read()`, mm/filemap.c; `fuse_direct_IO()`, fs/fuse/file.c).
            Some(view) => (FileType::RegularFile, view.mode(), 1, view.claimed_size()),
            None => (FileType::Directory, 0o555, 2, 0),
        };
        FileAttr {
            ino: INodeNo(node.ino),
            size,
            blocks: 0,
            atime: self.started,
            mtime: self.started,
            ctime: self.started,
            crtime: self.started,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
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
    let view = views.iter().find(|view| view.ino() == fetched.ino).ok_or(libc::EBADF)?;
    match service.text(fetched.pid, *view) {
        Ok(text) => Ok(range(&text.bytes, offset, size).to_vec()),
        Err(error) => {
            service.log(&error);
            Err(error.errno())
        }
    }
}

impl Filesystem for ViewFs {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.answer(request, parent, What::Lookup, || match self.tree.child(parent.0, name) {
            Some(node) => reply.entry(&FOR_EVER, &self.attributes(node), Generation(0)),
            None => reply.error(Errno::ENOENT),
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(request, ino, What::Lookup, || match self.tree.node(ino.0) {
            Some(node) => reply.attr(&FOR_EVER, &self.attributes(node)),
            None => reply.error(Errno::ENOENT),
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
            let Some(directory) = self.tree.node(ino.0).filter(|node| node.view.is_none()) else {
                return reply.error(Errno::ENOTDIR);
            };
            let dots = [(directory.ino, "."), (directory.parent, "..")];
            let dots = dots.into_iter().map(|(ino, name)| (ino, FileType::Directory, name));
            let children =
                self.tree.children(ino.0).map(|node| (node.ino, self.attributes(node).kind, node.name));
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (next, (ino, kind, name)) in (1..).zip(dots.chain(children)).skip(from) {
                if reply.add(INodeNo(ino), next, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.answer(request, ino, What::Lookup, || {
            let Some(view) = self.tree.node(ino.0).and_then(|node| node.view) else {
                return reply.error(Errno::EISDIR);
            };
            match self.service.text(request.pid(), view) {
                Ok(text) => reply.opened(FileHandle(self.handles.open(view, text)), OPENED),
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
            let view = || self.tree.node(ino.0).and_then(|node| node.view);
            let text =
                self.handles.read(handle.0, offset, view, |view| self.service.text(request.pid(), view));
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
            self.handles.release(handle.0);
            reply.ok();
        });
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
