//! A cgroup and all its ancestors, with their files open.

use super::cgroup_files::CgroupFiles;
use super::id::{CgroupId, CgroupRef};
use super::kept_files::KeptFiles;
use super::mounts::CgroupMounts;
use crate::error::Error;
use std::sync::Arc;

/// A reader's cgroup and all its ancestors, with their files open.
pub struct CgroupAncestry {
    pub(crate) path: Vec<u8>,
    /// From the reader's own cgroup upward, without the hierarchy's root unless the reader is in it.
    pub(crate) levels: Vec<AncestryLevel>,
    /// Whether the reader is in the hierarchy's root.
    pub(crate) in_root: bool,
    /// Files of the same cgroups in other hierarchies; `None` if they are not kept open.
    pub(crate) kept: Option<KeptFiles>,
}

/// One cgroup of an ancestry.
pub(crate) struct AncestryLevel {
    /// How much of the ancestry's path leads to it.
    pub(crate) path_len: usize,
    pub(crate) id: CgroupId,
    /// Whether the memory controller is enabled in it.
    pub(crate) has_controller: bool,
    /// `None` if they are not kept open.
    pub(crate) files: Option<Arc<CgroupFiles>>,
}

impl CgroupAncestry {
    /// About how many files it keeps open by itself. Those of the levels above it shares with others.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let own = self.levels.first().filter(|level| level.files.is_some());
        let own = own.map_or(0, |_| CgroupFiles::USUALLY_OPEN);
        own + self.kept.as_ref().map_or(0, |_| KeptFiles::USUALLY_OPEN)
    }

    /// Files that stay open from one reading to the next.
    pub(crate) fn kept_files(&self) -> Option<&KeptFiles> {
        self.kept.as_ref()
    }

    /// Checks that the reader's cgroup is still the one whose files are open. The levels above it need no
    /// check of their own: none of them can be replaced while it stays.
    pub(crate) fn verify(&self, cgroup_mounts: &CgroupMounts) -> Result<(), Error> {
        let own = self.levels.first().and_then(|level| level.files.as_ref());
        own.map_or(Ok(()), |own| own.verify_name(cgroup_mounts.memory.locate(&self.path)))
    }

    /// The container at the path `container`; `None` for a reader in no container.
    pub(crate) fn container(&self, container: &[u8]) -> Option<CgroupRef<'_>> {
        let level = self.levels.iter().find(|level| self.path_to(level) == container && !self.in_root)?;
        Some(CgroupRef { id: level.id, path: self.path_to(level) })
    }

    /// The path to one of its levels.
    pub(crate) fn path_to(&self, level: &AncestryLevel) -> &[u8] {
        &self.path[..level.path_len]
    }
}
