//! The FUSE skin: translates requests of the kernel into calls of [`Service`], and computes nothing.

mod handles;
mod tree;

use self::handles::Handles;
use self::tree::{Node, Tree};
use crate::error::Error;
use crate::service::Service;
use crate::view::View;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the kernel may keep look-ups and attributes: the tree never changes.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// The size that files claim, as those of sysfs do. The true size is known only when a text is made, and 0,
/// as procfs has it, would make the kernel answer sendfile(2) and io_uring reads by itself: with nothing
/// (`filemap_splice_read()`, mm/filemap.c; `fuse_direct_IO()`, fs/fuse/file.c). Every text has to be
/// shorter.
const SIZE: u64 = 4096;

/// Whatever is served is never cached by the kernel, which would show one container's text to another; and
/// closing a file needs no word from us, so that no reader's close() waits for the daemon.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_NOFLUSH);

/// The served file system.
pub struct ViewFs {
    service: Arc<Service>,
    tree: Tree,
    handles: Handles,
    started: SystemTime,
}

impl ViewFs {
    /// Serves `views`, whose texts `service` computes.
    #[must_use]
    pub fn new(service: Arc<Service>, views: &[&'static dyn View]) -> Self {
        Self { service, tree: Tree::new(views), handles: Handles::default(), started: SystemTime::now() }
    }

    /// What a reader is told of an error; the log is told the rest.
    fn errno(&self, error: &Error) -> Errno {
        self.service.log(error);
        Errno::from_i32(error.errno())
    }

    fn attributes(&self, node: &Node) -> FileAttr {
        let (kind, perm, nlink, size) = match node.view {
            Some(_) => (FileType::RegularFile, 0o444, 1, SIZE),
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

/// A panic must not take the serving thread with it. It was logged where it happened, and the reply that
/// was not sent is dropped while the stack unwinds, which answers EIO.
fn contain(handler: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(handler));
}

impl Filesystem for ViewFs {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        contain(|| match self.tree.child(parent.0, name) {
            Some(node) => reply.entry(&FOR_EVER, &self.attributes(node), Generation(0)),
            None => reply.error(Errno::ENOENT),
        });
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        contain(|| match self.tree.node(ino.0) {
            Some(node) => reply.attr(&FOR_EVER, &self.attributes(node)),
            None => reply.error(Errno::ENOENT),
        });
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        contain(|| {
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
        contain(|| {
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
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        contain(|| {
            // A read on nobody's behalf fills the page cache, which all containers share: for mmap, and for
            // sendfile since Linux 6.5, whose users fall back to read(2) on this error.
            if lock_owner.is_none() {
                return reply.error(Errno::EINVAL);
            }
            let text = self.handles.read(handle.0, offset, |view| self.service.text(request.pid(), view));
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
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        contain(|| {
            self.handles.release(handle.0);
            reply.ok();
        });
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
