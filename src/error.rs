//! What can go wrong while a reader is served, and which errno the reader gets for it.

use cgprocfs_core::error::ViewError;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::pid::Pid;
use rustix::io::Errno;
use std::io;

/// Why a view could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process whose view is asked for has exited.
    #[error("process {0} is gone")]
    ProcessGone(Pid),
    /// The reader's cgroup was removed while it was read, three times over.
    #[error("cgroup {0} was removed while it was read")]
    CgroupGone(String),
    /// The reader's cgroup is not below the part of the hierarchy that is mounted here.
    #[error("cgroup {0} is outside the mounted hierarchy")]
    Outside(String),
    /// A kernel file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The error that the kernel returns.
        source: io::Error,
    },
    /// A kernel file was read and made no sense.
    #[error("cannot make sense of {path}: {source}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The work takes too long for a serving thread, which others need. Another thread does it; no reader
    /// sees this error.
    #[error("reading cgroup {} takes long, which is a defect", escaped(.0))]
    TakesLong(Box<[u8]>),
    /// The work may block in the kernel for as long as a tenant chooses. A thread that may hang does it; no
    /// reader sees this error.
    #[error("looking at cgroup {} may block, which is a defect", escaped(.0))]
    MayHang(Box<[u8]>),
    /// The reader is in a time namespace, and only the offsets of the next, which its children are to be in,
    /// can be seen.
    #[error(
        "process {0} has made a time namespace for its children; its own clocks cannot be seen meanwhile"
    )]
    UnknownTime(Pid),
    /// The rest of a file that was begun before the daemon was replaced.
    #[error("/{0} was read in part before the daemon was replaced")]
    TextGone(&'static str),
    /// What the kernel answers for one of its own files.
    #[error("the kernel's answer: {0}")]
    Errno(#[from] Errno),
    /// A view that has no text.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Error {
    /// The errno for the reader.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Self::ProcessGone(_) => libc::ESRCH,
            Self::CgroupGone(_) => libc::ENODEV,
            Self::Unreadable { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            Self::Errno(errno) => errno.raw_os_error(),
            Self::Outside(_)
            | Self::Malformed { .. }
            | Self::TakesLong(_)
            | Self::MayHang(_)
            | Self::UnknownTime(_)
            | Self::TextGone(_)
            | Self::View(_) => libc::EIO,
        };
        // "Not implemented" would make the kernel never ask again, for any file of the mount; and it takes no
        // answer that is an error of its own (`fuse_dev_do_write()`, fs/fuse/dev.c), such as ENOTSUPP, which
        // some drivers give away.
        if errno == libc::ENOSYS || errno >= 512 { libc::EIO } else { errno }
    }

    /// Whether this process may not read a file.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// How much anybody but the reader should care. That a reader or its cgroup is gone is the
    /// everyday end of a container.
    #[must_use]
    pub fn level(&self) -> log::Level {
        match self {
            Self::Errno(errno) if is_of_files(*errno) => log::Level::Warn,
            Self::ProcessGone(_)
            | Self::CgroupGone(_)
            | Self::UnknownTime(_)
            | Self::TextGone(_)
            | Self::Errno(_) => log::Level::Debug,
            Self::Outside(_)
            | Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::View(ViewError::Malformed(..)) => log::Level::Warn,
            Self::TakesLong(_) | Self::MayHang(_) | Self::View(ViewError::NotLoaded(_)) => log::Level::Error,
        }
    }

    /// Whether another attempt may well succeed: the cgroup that was read is not there any more.
    #[must_use]
    pub fn is_race(&self) -> bool {
        matches!(self, Self::CgroupGone(_))
    }

    /// Whether too many files are open, here or on the whole host.
    #[must_use]
    pub fn is_fd_exhaustion(&self) -> bool {
        match self {
            Self::Unreadable { source, .. } => Errno::from_io_error(source).is_some_and(is_of_files),
            Self::Errno(errno) => is_of_files(*errno),
            _ => false,
        }
    }

    /// A file that could not be read. What the kernel answers for a removed cgroup becomes
    /// [`Error::CgroupGone`].
    pub(crate) fn unreadable(path: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.into(), source.into());
        match source.raw_os_error() {
            Some(libc::ENODEV) => Self::CgroupGone(path),
            _ => Self::Unreadable { path, source },
        }
    }

    /// A cgroup that could not be opened or looked at.
    pub(crate) fn of_cgroup(path: &[u8], source: Errno) -> Self {
        match source {
            Errno::NOENT => Self::CgroupGone(escaped(path)),
            source => Self::unreadable(escaped(path), source),
        }
    }

    pub(crate) fn malformed(path: impl Into<String>, source: ParseError) -> Self {
        Self::Malformed { path: path.into(), source }
    }
}

fn is_of_files(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE)
}

/// A kernel path in a message: whatever bytes a tenant put into a cgroup's name, one line comes out.
pub(crate) fn escaped(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_cgroup_is_nobodys_fault() {
        let error = Error::unreadable("/x", io::Error::from_raw_os_error(libc::ENODEV));
        assert!(error.is_race());
        assert_eq!((error.errno(), error.level()), (libc::ENODEV, log::Level::Debug));
    }

    #[test]
    fn no_errno_that_means_something_else_to_fuse() {
        for errno in [libc::ENOSYS, 512, 524] {
            assert_eq!(Error::Errno(Errno::from_raw_os_error(errno)).errno(), libc::EIO);
            assert_eq!(Error::unreadable("/x", io::Error::from_raw_os_error(errno)).errno(), libc::EIO);
        }
        assert_eq!(Error::Errno(Errno::NOENT).errno(), libc::ENOENT);
    }

    #[test]
    fn too_many_open_files_are_noticed_whichever_was_opened_last() {
        let of = |errno: Errno| [Error::Errno(errno), Error::unreadable("/x", errno)];
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert!(
                of(errno).iter().all(|error| error.is_fd_exhaustion() && error.level() == log::Level::Warn)
            );
        }
        assert!(of(Errno::ACCESS).iter().all(|error| !error.is_fd_exhaustion()));
    }

    #[test]
    fn a_name_cannot_break_out_of_its_line() {
        assert_eq!(escaped(b"/a\n<0>evil \xff"), "/a\\n<0>evil \\xff");
    }
}
