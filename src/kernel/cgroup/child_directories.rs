//! The cgroups directly below a cgroup.

use crate::kernel::read::LIST_DIR;
use rustix::fs::{Dir, DirEntry, FileType, Mode, openat};
use std::os::fd::AsFd;

/// The directories in `parent`, one at a time: a tenant may have made any number of them.
///
/// # Errors
/// Where it can't be listed, above all ENOENT or ENODEV where it was removed meanwhile.
pub(crate) fn child_directories(
    parent: impl AsFd,
) -> rustix::io::Result<impl Iterator<Item = rustix::io::Result<DirEntry>>> {
    let is_child = |entry: &DirEntry| {
        entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..")
    };
    let entries = Dir::new(openat(parent, ".", LIST_DIR, Mode::empty())?)?;
    Ok(entries.filter(move |entry| entry.as_ref().map_or(true, is_child)))
}
