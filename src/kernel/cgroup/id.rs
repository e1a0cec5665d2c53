//! What identifies a cgroup.

use std::fmt;

/// The kernel's id of a cgroup: the inode number of its directory, which no other cgroup of the hierarchy
/// ever gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(u64);

impl CgroupId {
    /// The id of this number.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The inode number of the cgroup's directory, which is the number in the kernel.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CgroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cgroup by its id and by the path that led to it, which may lead to another cgroup by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupRef<'p> {
    /// The cgroup's id.
    pub id: CgroupId,
    /// Its path from the mount point of the hierarchy, with a leading slash.
    pub path: &'p [u8],
}
