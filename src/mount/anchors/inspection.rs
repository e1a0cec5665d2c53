//! What can be seen of anchors from outside: who has bound one, and how many mounts are on it.

use super::directory::Anchors;
use crate::mount::bound;
use crate::mount::mount_table;
use cgprocfs_core::view::{self, ViewId};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// As many mounts on one anchor are too many: no others are added.
pub const MAX_DEPTH: usize = 64;

impl Anchors {
    /// Whether somebody has bound an anchor, or that can't be told. To be asked after [`Anchors::fall_back`]:
    /// whoever binds one later binds the kernel's own file.
    #[must_use]
    pub fn are_bound(&self) -> bool {
        bound::by_somebody(&self.directory)
    }

    /// How many mounts are on the anchor that has most.
    #[must_use]
    pub fn depth(&self) -> usize {
        let table = mount_table::own().unwrap_or_default();
        let depth = |anchor: PathBuf| {
            table.iter().filter(|mount| mount.mount_point == anchor.as_os_str().as_bytes()).count()
        };
        view::bound(&ViewId::ALL).map(|path| depth(self.directory.join(path))).max().unwrap_or(0)
    }
}
