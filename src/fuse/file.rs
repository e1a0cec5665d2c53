//! Operation a reader opens: a view, or one of the kernel's files of processors and memory nodes.

use crate::error::Error;
use crate::service::{Service, Text};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::view::ViewId;
use fuser::{OpenAccMode, OpenFlags};
use std::sync::Arc;

/// Set in the inode numbers of what lies in the kernel's directories; the rest is the number there.
const OF_KERNEL: u64 = 1 << 62;

/// A file that has a text.
#[derive(Clone, Copy)]
pub(super) enum File {
    /// One of ours.
    View(ViewId),
    /// One of the kernel's, by its number.
    Sysfs(u64),
}

impl File {
    /// No text of it is longer.
    pub(super) fn claimed_size(self) -> u64 {
        match self {
            Self::View(view) => view.claimed_size(),
            // A page, as sysfs has it.
            Self::Sysfs(_) => 4096,
        }
    }

    /// Whether programs most likely read all of it at once.
    pub(super) fn fits_one_read(self) -> bool {
        self.claimed_size() <= 4096
    }

    /// The view, if it is one of pressure.
    pub(super) fn pressure(self) -> Option<ViewId> {
        match self {
            Self::View(view) => view.pressure().map(|_| view),
            Self::Sysfs(_) => None,
        }
    }

    /// Whether it is for reading, or one that programs write to.
    pub(super) fn may_be_opened(self, flags: OpenFlags) -> bool {
        flags.acc_mode() == OpenAccMode::O_RDONLY || self.pressure().is_some()
    }

    /// For a message.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::View(view) => view.path(),
            Self::Sysfs(_) => cgprocfs_core::view::SYSTEM_DIRECTORY,
        }
    }

    /// Has `reply` told what the process or thread `pid` reads in it; ENOENT where it belongs to a processor or a node that
    /// the reader has not.
    pub(super) fn ask(
        self,
        service: &Arc<Service>,
        in_flight: InFlightGuard,
        pid: u32,
        reply: impl FnOnce(Result<Arc<Text>, Error>) + Send + 'static,
    ) {
        match self {
            Self::View(view) => service.ask_text(in_flight, pid, view, reply),
            Self::Sysfs(number) => match service.source().system_directory().find(number) {
                Ok((path, _)) => service.ask_system_file(in_flight, pid, path, reply),
                Err(error) => reply(Err(Error::Errno(error))),
            },
        }
    }
}

/// The inode number of what the kernel has under another.
pub(super) fn inode(number: u64) -> u64 {
    number | OF_KERNEL
}

/// The kernel's number, if it is one of those.
pub(super) fn sysfs_ino(ino: u64) -> Option<u64> {
    (ino & OF_KERNEL != 0).then_some(ino & !OF_KERNEL)
}
