//! A directory of anchors: where it is, and how it is removed.

use crate::mount::file_system::SOURCE;
use crate::mount::mount_table;
use crate::mount::unmount::unmount;
use cgprocfs_core::parse::mountinfo::{Mount, uppermost};
use rustix::mount::{MountPropagationFlags, mount_change};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name, among the anchors, of the directory that the file system is mounted on.
pub(super) const LIVE: &str = "live";

/// A directory of anchors.
#[derive(Debug, Clone)]
pub struct Anchors {
    pub(super) directory: PathBuf,
    pub(super) are_new: bool,
}

impl Anchors {
    /// The anchors in a directory, if there are any.
    #[must_use]
    pub fn at(directory: &Path) -> Option<Self> {
        is_anchors(&mount_table::own().ok()?, directory)
            .then(|| Self { directory: directory.to_path_buf(), are_new: false })
    }

    /// The anchors that a file system was mounted among, if it was.
    #[must_use]
    pub fn around(mount_point: &Path) -> Option<Self> {
        Self::at(mount_point.parent().filter(|_| mount_point.ends_with(LIVE))?)
    }

    /// The directory of the anchors.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether [`Anchors::set_up`] found none.
    #[must_use]
    pub const fn are_new(&self) -> bool {
        self.are_new
    }

    /// The directory that the file system is mounted on.
    #[must_use]
    pub fn live(&self) -> PathBuf {
        self.directory.join(LIVE)
    }

    /// Removes everything. Containers keep what is uppermost of what they have bound, and get nothing else
    /// from now on.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn remove(&self) -> io::Result<()> {
        while is_anchors(&mount_table::own()?, &self.directory) {
            // Otherwise the kernel's files would be unmounted from above the views in containers, too.
            mount_change(&self.directory, MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
            unmount(&self.directory)?;
        }
        Ok(())
    }
}

/// The mount on top at a path.
pub(super) fn top<'t>(table: &'t [Mount], path: &Path) -> Option<&'t Mount> {
    uppermost(table, path.as_os_str().as_bytes())
}

/// Whether the mount on top at a path is a tmpfs of anchors.
pub(super) fn is_anchors(table: &[Mount], directory: &Path) -> bool {
    top(table, directory).is_some_and(|mount| mount.fs_type == b"tmpfs" && mount.source == SOURCE.as_bytes())
}
