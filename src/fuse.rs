//! The FUSE skin: translates requests of the kernel into calls of [`Service`], and computes nothing.

mod directories;
mod file;
mod handles;
mod node;
mod quiesce_gate;
pub(crate) mod seams;
mod tree;

pub use self::quiesce_gate::QuiesceGate;

use self::directories::{Directories, Listing, Tenant};
use self::file::{File, sysfs_ino};
use self::handles::{Handles, Readable};
use self::node::Node;
use self::tree::Tree;
use crate::error::Error;
use crate::service::{Lane, PollState, Service, Viewer};
use crate::state::in_flight::{InFlightGuard, InFlightRequest, InFlightTable, Operation, Unique};
use cgprocfs_core::psi::Trigger;
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the kernel may keep look-ups and attributes: nothing of ours ever changes, and of what the kernel takes away, as
/// with a processor, an open says that it is stale.
const FOR_EVER: Duration = Duration::from_secs(8760 * 3600);

/// Whatever is served is never cached by the kernel, which would show one container's text to another; and
/// closing a file needs no word from us, so that no reader's close() waits for the daemon.
/// Nor is a file locked for one that writes, which all containers share.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO
    .union(FopenFlags::FOPEN_NOFLUSH)
    .union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

/// The served file system.
pub struct ViewFs {
    served: Arc<Served>,
    gate: Arc<QuiesceGate>,
}

/// Operation answers go by, wherever they are given.
struct Served {
    service: Arc<Service>,
    tree: Tree,
    handles: Handles,
    directories: Directories,
    started: SystemTime,
    in_flight: InFlightTable,
    is_read_only: bool,
}

impl ViewFs {
    /// Serves `views`, whose texts `service` computes, until `gate` is closed, as the server of a connection of that number.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        views: &[ViewId],
        (generation, in_flight): (u32, InFlightTable),
        is_read_only: bool,
        gate: Arc<QuiesceGate>,
    ) -> Self {
        let served = Served {
            service,
            tree: Tree::new(views),
            handles: Handles::new(generation),
            directories: Directories::new(generation),
            started: SystemTime::now(),
            in_flight,
            is_read_only,
        };
        Self { served: Arc::new(served), gate }
    }

    /// Answers a request, which is in the table of those in flight meanwhile.
    ///
    /// A panic must not take the serving thread with it. It was logged where it happened, and the reply that
    /// was not sent is dropped while the stack unwinds, which answers EIO. So it is where servers have ended over the
    /// request, and the handler is dropped without being called.
    fn answer(
        &self,
        request: &Request,
        ino: INodeNo,
        operation: Operation,
        handler: impl FnOnce(&Arc<Served>, InFlightGuard) + Send + 'static,
    ) {
        let unique = Unique::new(request.unique().0);
        let fetched = InFlightRequest { unique, pid: request.pid(), ino: ino.0, operation };
        self.served.service.fetched(self.gate.enter());
        let in_flight = self.served.in_flight.track(fetched);
        let answer = || {
            if in_flight.is_poisoned() {
                drop(handler);
            } else if operation == Operation::Release || self.served.knows(ino.0) {
                handler(&self.served, in_flight);
            } else {
                let served = Arc::clone(&self.served);
                self.served.service.do_aside(
                    Lane::Slow,
                    in_flight,
                    request.pid(),
                    move |service, in_flight| {
                        service.source().system_directory().index_all();
                        handler(&served, in_flight);
                    },
                );
            }
        };
        let _ = catch_unwind(AssertUnwindSafe(answer));
        self.gate.pass();
    }
}

impl Served {
    /// The view of pressure that this is, if it is one.
    fn pressure(&self, ino: INodeNo) -> Option<ViewId> {
        self.file(ino.0).and_then(File::pressure)
    }

    /// Operation a reader is told of an error; the log is told the rest.
    fn errno(&self, error: &Error) -> Errno {
        self.service.log(error);
        Errno::from_i32(error.errno())
    }
}

/// Has `reply` told what a read or an open gets that a predecessor had fetched, or the errno: by another thread, for nobody
/// waits for a tenant at the start of a server. The text from which that had answered the reads before it is gone: it is
/// made anew.
pub(crate) fn answer_again(
    service: &Arc<Service>,
    views: &[ViewId],
    fetched: InFlightRequest,
    in_flight: Arc<InFlightGuard>,
    reply: impl FnOnce(Result<Vec<u8>, i32>) + Send + 'static,
) {
    let view = || views.iter().find(|view| view.ino() == fetched.ino).copied().map(File::View);
    let Some(file) = sysfs_ino(fetched.ino).map(File::Sysfs).or_else(view) else {
        return reply(Err(libc::EBADF));
    };
    let (offset, size) = match fetched.operation {
        Operation::Read { offset, size, .. } => (offset, size),
        Operation::Open { flags } => return reply(reopen(file, OpenFlags(flags), fetched.unique.get())),
        _ => return reply(Err(libc::EIO)),
    };
    if offset != 0 && !file.fits_one_read() {
        return reply(Err(Error::TextGone(file.path()).errno()));
    }
    // It was quick to be served before, as far as is known.
    service.do_aside(Lane::Quick, InFlightGuard::nowhere(), fetched.pid, move |service, _noted| {
        in_flight.begin();
        if sysfs_ino(fetched.ino).is_some() {
            service.source().system_directory().index_all();
        }
        let log = Arc::clone(service);
        file.ask(service, InFlightGuard::nowhere(), fetched.pid, move |text| match text {
            Ok(text) => reply(Ok(range(&text.bytes, offset, size).to_vec())),
            Err(error) => {
                log.log(&error);
                reply(Err(error.errno()));
            }
        });
    });
}

/// `struct fuse_open_out` of include/uapi/linux/fuse.h. Operation the file has is read when it is read from, as with any that a
/// predecessor has opened, under a number that no server gives out.
fn reopen(file: File, flags: OpenFlags, unique: u64) -> Result<Vec<u8>, i32> {
    const NOBODYS: u64 = 1 << 63;
    if !file.may_be_opened(flags) {
        return Err(libc::EROFS);
    }
    let (handle, padding) = (NOBODYS | unique, 0_u32);
    let opened = OPENED.bits().to_ne_bytes();
    Ok([&handle.to_ne_bytes()[..], &opened, &padding.to_ne_bytes()].concat())
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
        let name = name.to_owned();
        self.answer(request, parent, Operation::Lookup, move |served, _noted| {
            match served.child(parent.0, &name) {
                Ok(found) => reply.entry(&FOR_EVER, &served.attributes(&found), Generation(0)),
                Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
            }
        });
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(request, ino, Operation::Lookup, move |served, _noted| match served.find(ino.0) {
            Ok(found) => reply.attr(&FOR_EVER, &served.attributes(&found)),
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let pid = request.pid();
        self.answer(request, ino, Operation::Lookup, move |served, in_flight| {
            let Ok(Node::Sysfs(path, _)) = served.find(ino.0) else {
                return reply.error(Errno::EINVAL);
            };
            let (served, service) = (Arc::clone(served), &served.service);
            let needs = Topology::needs(&path);
            let target = move |service: &Service, viewer: &Viewer<'_>| {
                Ok(service.source().system_directory().target(&path, viewer.topology)?)
            };
            service.ask_files(in_flight, pid, needs, target, move |target| match target {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(served.errno(&error)),
            });
        });
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let pid = request.pid();
        self.answer(request, ino, Operation::Lookup, move |served, in_flight| {
            let open = move |served: &Served, listing| match listing {
                Ok((listing, tenant)) => {
                    let handle = served.directories.open(listing, tenant);
                    reply.opened(FileHandle(handle), FopenFlags::empty());
                }
                Err(error) => reply.error(served.errno(&error)),
            };
            if !served.differs_by_reader(ino.0) {
                return open(
                    served,
                    served.list(ino.0, None).map(|listing| (listing, b"/".as_slice().into())),
                );
            }
            let (served, service) = (Arc::clone(served), &served.service);
            let list = lister(&served, ino);
            service
                .ask_files(in_flight, pid, Topology::needs(b""), list, move |listing| open(&served, listing));
        });
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let pid = request.pid();
        self.answer(request, ino, Operation::Other, move |served, in_flight| {
            let add = move |listing: &Listing| {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                for (next, (ino, kind, name)) in (1..).zip(listing).skip(from) {
                    if reply.add(INodeNo(*ino), next, *kind, OsStr::from_bytes(name)) {
                        break;
                    }
                }
                reply
            };
            if let Some(listing) = served.directories.listing(handle.0) {
                return add(&listing).ok();
            }
            // A predecessor has opened it, or its listing had to make room for others'.
            let (served, service) = (Arc::clone(served), &served.service);
            let list = lister(&served, ino);
            service.ask_files(in_flight, pid, Topology::needs(b""), list, move |listing| match listing {
                Ok((listing, tenant)) => add(&served.directories.put(handle.0, listing, tenant)).ok(),
                Err(error) => add(&Listing::new()).error(served.errno(&error)),
            });
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
        self.answer(request, ino, Operation::Release, move |served, _noted| {
            served.directories.release(handle.0);
            reply.ok();
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let pid = request.pid();
        self.answer(request, ino, Operation::Open { flags: flags.0 }, move |served, in_flight| {
            let Some(file) = served.file(ino.0) else { return reply.error(Errno::EISDIR) };
            if !file.may_be_opened(flags) {
                return reply.error(Errno::EROFS);
            }
            let (served, service) = (Arc::clone(served), &served.service);
            file.ask(service, in_flight, pid, move |text| match text {
                Ok(text) => reply.opened(FileHandle(served.handles.open(file, text)), OPENED),
                Err(error) => reply.error(served.errno(&error)),
            });
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
        let pid = request.pid();
        self.answer(
            request,
            ino,
            Operation::Read { handle: handle.0, offset, size },
            move |served, in_flight| {
                // A read on nobody's behalf fills the page cache, which all containers share: for mmap, and for
                // sendfile since Linux 6.5, whose users fall back to read(2) on this error.
                if lock_owner.is_none() {
                    return reply.error(Errno::EINVAL);
                }
                let file = match served.handles.find(handle.0, offset, || served.file(ino.0)) {
                    Some(Readable::Text(text)) => return reply.data(range(&text.bytes, offset, size)),
                    Some(Readable::Anew(file)) => file,
                    Some(Readable::Gone(file)) => {
                        return reply.error(served.errno(&Error::TextGone(file.path())));
                    }
                    None => return reply.error(Errno::EBADF),
                };
                let (served, service) = (Arc::clone(served), &served.service);
                file.ask(service, in_flight, pid, move |text| match text {
                    Ok(text) => {
                        served.handles.put(handle.0, file, &text);
                        reply.data(range(&text.bytes, offset, size));
                    }
                    Err(error) => reply.error(served.errno(&error)),
                });
            },
        );
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
        self.answer(request, ino, Operation::Release, move |served, _noted| {
            if served.pressure(ino).is_some() {
                served.service.closed(handle.0);
            }
            // Last: from here on another file may get this number.
            served.handles.release(handle.0);
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
        let pid = request.pid();
        let (trigger, written) = (Trigger::parse(data), u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.answer(request, ino, Operation::Other, move |served, in_flight| {
            let Some(view) = served.pressure(ino) else {
                return reply.error(Errno::EROFS);
            };
            let (served, service) = (Arc::clone(served), &served.service);
            service.ask_to_arm(in_flight, (handle.0, pid), view, trigger, move |armed| match armed {
                Ok(()) => reply.written(written),
                Err(error) => reply.error(served.errno(&error)),
            });
        });
    }

    /// Operation procfs says of a file that can always be read, but for triggers (`psi_trigger_poll()`, kernel/sched/psi.c).
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
        let pid = request.pid();
        let waits = flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY);
        let waiter = if waits { notifier.handle().0 } else { 0 };
        self.answer(request, ino, Operation::Other, move |served, in_flight| {
            if served.is_read_only {
                return reply.error(Errno::ENOSYS);
            }
            let always =
                PollEvents::POLLIN | PollEvents::POLLOUT | PollEvents::POLLRDNORM | PollEvents::POLLWRNORM;
            let Some(view) = served.pressure(ino) else { return reply.poll(always) };
            served.service.ask_poll(in_flight, (handle.0, pid), view, waiter, move |polled| {
                reply.poll(match polled {
                    PollState::Nothing => always,
                    PollState::Event => always | PollEvents::POLLPRI,
                    PollState::Error => always | PollEvents::POLLPRI | PollEvents::POLLERR,
                });
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
        self.answer(request, ino, Operation::Lookup, move |served, _noted| {
            let is_truncated = size.is_some() && mode.is_none() && uid.is_none() && gid.is_none();
            match served.find(ino.0) {
                Ok(found) if is_truncated && served.pressure(ino).is_some() => {
                    reply.attr(&FOR_EVER, &served.attributes(&found));
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
        self.answer(request, ino, Operation::Lookup, move |_, _noted| {
            reply.statfs(0, 0, 0, 0, 0, 4096, 255, 0)
        });
    }

    fn getxattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }
}

/// Lists a directory as a reader has it, with the reader's cgroup.
fn lister(
    served: &Arc<Served>,
    ino: INodeNo,
) -> impl Fn(&Service, &Viewer<'_>) -> Result<(Listing, Tenant), Error> + Send + Sync + 'static {
    let served = Arc::clone(served);
    move |_, viewer| Ok((served.list(ino.0, viewer.topology)?, viewer.cgroup.into()))
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
