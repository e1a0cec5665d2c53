//! What a reader opens: a view, one of the kernel's files of processors and memory nodes, or what the daemon
//! says of itself.

use crate::error::Error;
use crate::kernel::SysfsIno;
use crate::service::{ByThread, MAX_STATUS_SIZE, Rendered, STATUS_FILE, Service};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::view::ViewId;
use fuser::{FopenFlags, INodeNo, OpenAccMode, OpenFlags};
use rustix::io::Errno;
use std::sync::Arc;

/// Set in the inode numbers of the kernel's entries. The other bits are the entry's number in sysfs.
const SYSFS_INODE: u64 = 1 << 62;

/// How every file is opened. The kernel caches nothing, because that would show one container's text to
/// another; closing a file needs no word from us, so that no reader's close(2) waits for the daemon; and a
/// writer does not lock the file, which all containers share.
pub(super) const OPEN_FLAGS: FopenFlags = FopenFlags::FOPEN_DIRECT_IO
    .union(FopenFlags::FOPEN_NOFLUSH)
    .union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

/// A file that has a text.
#[derive(Clone, Copy)]
pub(super) enum File {
    /// One of ours.
    View(ViewId),
    /// One of the kernel's, by its inode number in sysfs.
    Sysfs(SysfsIno),
    /// What the daemon says of itself, to processes of the host.
    Status,
    /// What threads are told by system calls, for processes of the host.
    ByThread(ByThread),
}

impl File {
    /// The size that stat(2) gives, in bytes. No text is longer.
    pub(super) fn claimed_size(self) -> u64 {
        match self {
            Self::View(view) => view.claimed_size(),
            // A page, as sysfs has it.
            Self::Sysfs(_) => 4096,
            Self::Status => MAX_STATUS_SIZE,
            // Any offset is one of a thread.
            Self::ByThread(_) => 4096,
        }
    }

    /// Whether one read most likely gets the whole text.
    pub(super) fn fits_one_read(self) -> bool {
        self.claimed_size() <= 4096
    }

    /// The view, if it is a pressure file.
    pub(super) fn pressure(self) -> Option<ViewId> {
        match self {
            Self::View(view) => view.pressure().map(|_| view),
            Self::Sysfs(_) | Self::Status | Self::ByThread(_) => None,
        }
    }

    /// Whether every reader has it. A cgroup may have no pressure, and a container not all processors and
    /// memory nodes.
    pub(super) fn can_always_be_opened(self) -> bool {
        matches!(self, Self::View(_)) && self.pressure().is_none()
    }

    /// Whether it may be opened so: any file for reading, and pressure files for writing too.
    pub(super) fn may_be_opened(self, flags: OpenFlags) -> bool {
        flags.acc_mode() == OpenAccMode::O_RDONLY || self.pressure().is_some()
    }

    /// The path for a message; of the kernel's files only that of the directory they are all in.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::View(view) => view.path(),
            Self::Sysfs(_) => cgprocfs_core::view::SYSTEM_DIRECTORY,
            Self::Status => STATUS_FILE,
            Self::ByThread(what) => what.name(),
        }
    }

    /// Passes to `reply` what the process or thread `pid` reads in the file; ENOENT if the file belongs to a
    /// processor or memory node that this reader does not have, EACCES if it is not for this reader.
    pub(super) fn ask(
        self,
        service: &Arc<Service>,
        in_flight: InFlightGuard,
        pid: Pid,
        reply: impl FnOnce(Result<Arc<Rendered>, Error>) + Send + 'static,
    ) {
        match self {
            Self::View(view) => service.ask_text(in_flight, pid, view, reply),
            Self::Sysfs(number) => match service.source().system_directory().find(number) {
                Ok((path, _)) => service.ask_system_file(in_flight, pid, path, reply),
                Err(error) => reply(Err(Error::Errno(error))),
            },
            Self::Status => service.ask_status(in_flight, pid, reply),
            // It has no text as a whole.
            Self::ByThread(_) => reply(Err(Error::Errno(Errno::INVAL))),
        }
    }
}

/// The inode number of the entry that has `number` in sysfs.
pub(super) fn inode(number: SysfsIno) -> INodeNo {
    INodeNo(number.0 | SYSFS_INODE)
}

/// The inode number in sysfs, if this is one of the kernel's entries.
pub(super) fn sysfs_ino(ino: INodeNo) -> Option<SysfsIno> {
    (ino.0 & SYSFS_INODE != 0).then_some(SysfsIno(ino.0 & !SYSFS_INODE))
}
