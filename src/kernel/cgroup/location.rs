//! Where a cgroup is in the file system, and how a file in it is read that is not kept open.

use crate::error::{Error, escaped};
use crate::kernel::read::{PATH_DIR, READ, read_with};
use cgprocfs_core::parse::ParseError;
use rustix::fs::{AtFlags, Mode, Stat, openat, statat};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// An open directory, and the path from there to a cgroup.
#[derive(Clone, Copy)]
pub(crate) struct CgroupLocation<'p> {
    /// The cgroup's path from the mount point of its hierarchy, for messages.
    pub(crate) cgroup: &'p [u8],
    pub(crate) base: BorrowedFd<'p>,
    /// The path from `base`.
    pub(crate) path: &'p Path,
}

impl CgroupLocation<'_> {
    /// Opens the cgroup's directory for look-ups.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] where it is gone.
    pub(crate) fn open_dir(self) -> Result<OwnedFd, Error> {
        openat(self.base, self.path, PATH_DIR, Mode::empty()).map_err(|e| Error::of_cgroup(self.cgroup, e))
    }

    /// The status of the cgroup's directory.
    pub(crate) fn status(self) -> rustix::io::Result<Stat> {
        statat(self.base, self.path, AtFlags::empty())
    }

    /// Opens a file of the cgroup.
    pub(crate) fn open(self, file: &str) -> rustix::io::Result<OwnedFd> {
        openat(self.base, self.path.join(file), READ, Mode::empty())
    }

    /// Reads a file of the cgroup; `None` if there is none of that name.
    pub(crate) fn read<T>(
        self,
        file: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        let path = || format!("{}/{file}", escaped(self.cgroup));
        let opened = match self.open(file) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(Error::unreadable(path(), e)),
        };
        let parsed = read_with(opened, parse).map_err(|e| Error::unreadable(path(), e))?;
        parsed.map(Some).map_err(|e| Error::malformed(path(), e))
    }
}
