//! Anchors: the paths that containers bind, which stay whoever serves.
//!
//! An anchor is a file or a directory in a shared tmpfs. The kernel's own file is mounted on it and, as long as a file system
//! is served, its view on top of that. What is mounted on an anchor appears on every bind of it that is a slave
//! (`mount_namespaces`(7)), on binds of the kernel's file and on binds of a view alike. So containers get another file by
//! mounting one on top, never by unmounting one: a container that was started when that was on top would be left with it.
//!
//! Each loss of a connection makes the stack two mounts higher. A daemon that resumes a connection adds none, and one that
//! ends in order leaves none if nobody has bound an anchor.

mod inspection;
mod live;
mod setup;
mod views;

pub use self::views::{AnchorUse, MountedViews};

use super::error::MountError;
use super::mount_table;
use super::unmount::unmount;
use cgprocfs_core::parse::mountinfo::{Mount, uppermost};
use rustix::mount::{MountPropagationFlags, mount_change};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name, among the anchors, of the directory that the file system is mounted on.
const LIVE: &str = "live";
/// The source of the tmpfs, by which it is recognised.
const SOURCE: &str = "cgprocfs";
/// The type of the file system.
const VIEW_TYPE: &[u8] = b"fuse.cgprocfs";

/// As many mounts on one anchor are too many: no others are added.
pub const MAX_DEPTH: usize = 64;

/// A directory of anchors.
#[derive(Debug, Clone)]
pub struct Anchors {
    directory: PathBuf,
    are_new: bool,
}

impl Anchors {
    /// Sets up the anchors in a directory, as far as they are not there yet, with the kernel's files on them.
    ///
    /// # Errors
    /// Where something can't be mounted. What was mounted before that stays.
    pub fn set_up(directory: &Path) -> Result<Self, MountError> {
        let are_new = !mount_table::own().is_ok_and(|table| is_anchors(&table, directory));
        let anchors = Self { directory: directory.to_path_buf(), are_new };
        anchors.complete().map_err(|source| MountError::Refused { path: directory.to_path_buf(), source })?;
        Ok(anchors)
    }

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

    /// Removes everything. Containers keep what is uppermost of what they have bound, and get nothing else from now on.
    ///
    /// # Errors
    /// The kernel's.
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
fn top<'t>(table: &'t [Mount], path: &Path) -> Option<&'t Mount> {
    uppermost(table, path.as_os_str().as_bytes())
}

/// Whether the mount on top at a path is a tmpfs of anchors.
fn is_anchors(table: &[Mount], directory: &Path) -> bool {
    top(table, directory).is_some_and(|mount| mount.fs_type == b"tmpfs" && mount.source == SOURCE.as_bytes())
}
