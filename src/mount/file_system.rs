//! What the file system is called in mount tables, and what may be written to it.

use cgprocfs_core::parse::mountinfo::Mount;

/// The type of the file system, as the mount table has it.
pub(super) const VIEW_TYPE: &str = "fuse.cgprocfs";
/// The type where it stands in for lxcfs, which programs look for.
pub(super) const LXCFS_TYPE: &str = "fuse.lxcfs";
/// What the mount table calls the source of all that is mounted here, by which it is recognised.
pub(super) const SOURCE: &str = "cgprocfs";

/// Whether a mount is of our file system, and not of lxcfs itself.
#[must_use]
pub(crate) fn is_view(mount: &Mount) -> bool {
    [VIEW_TYPE, LXCFS_TYPE].iter().any(|kind| mount.fs_type == kind.as_bytes())
        && mount.source == SOURCE.as_bytes()
}

/// Whether a mount is of any FUSE file system.
pub(super) fn is_fuse(mount: &Mount) -> bool {
    mount.fs_type == b"fuse" || mount.fs_type.starts_with(b"fuse.")
}

/// What may be written to a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Nothing. The file system is read-only, so that fstat(2) after a read need not ask for attributes
    /// (`fuse_invalidate_atime()`, fs/fuse/dir.c).
    Nothing,
    /// Pressure triggers.
    Triggers,
}
