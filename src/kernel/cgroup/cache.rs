//! The cgroups that are open, which ancestries share.

use super::ancestors::{AncestorWalk, ancestors};
use super::ancestry::{AncestryLevel, CgroupAncestry};
use super::cgroup_files::CgroupFiles;
use super::kept_files::KeptFiles;
use super::mounts::Hierarchy;
use super::paths::is_deep;
use crate::error::Error;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The cgroups that are open because some ancestry has them. Containers share the levels above them.
#[derive(Default)]
pub(crate) struct CgroupCache {
    open: Mutex<HashMap<Vec<u8>, Weak<CgroupFiles>>>,
}

impl CgroupCache {
    /// Opens the cgroup at `path` and all its ancestors.
    pub(crate) fn ancestry(&self, hierarchy: &Hierarchy, path: &[u8]) -> Result<CgroupAncestry, Error> {
        let in_root = path == b"/" && hierarchy.is_hierarchy_root;
        let is_deep = is_deep(path);
        let mut walk = AncestorWalk::new(hierarchy);
        let mut levels = Vec::new();
        for cgroup in ancestors(path) {
            if cgroup == b"/" && !in_root && hierarchy.is_hierarchy_root {
                continue;
            }
            let is_kept = !is_deep || cgroup.len() == path.len();
            let files = self.files(hierarchy, cgroup, &mut walk, is_kept)?;
            levels.push(AncestryLevel {
                path_len: cgroup.len(),
                id: files.id(),
                has_controller: files.has_controller(),
                files: is_kept.then_some(files),
            });
        }
        levels.reverse();
        let kept = (!is_deep && !in_root).then(KeptFiles::default);
        Ok(CgroupAncestry { path: path.to_vec(), levels, in_root, kept })
    }

    fn files(
        &self,
        hierarchy: &Hierarchy,
        cgroup: &[u8],
        walk: &mut AncestorWalk<'_>,
        is_kept: bool,
    ) -> Result<Arc<CgroupFiles>, Error> {
        let location = walk.to(cgroup)?;
        let known = self.open.lock().get(cgroup).and_then(Weak::upgrade);
        if let Some(files) = known.filter(|files| files.is_current(hierarchy, location)) {
            return Ok(files);
        }
        let files = Arc::new(CgroupFiles::open(hierarchy, location)?);
        if is_kept {
            self.open.lock().insert(cgroup.to_vec(), Arc::downgrade(&files));
        }
        Ok(files)
    }

    /// Has the cgroup at `path` and all its ancestors opened anew, because one of them is not what it was.
    pub(crate) fn forget(&self, path: &[u8]) {
        let mut open = self.open.lock();
        ancestors(path).for_each(|cgroup| drop(open.remove(cgroup)));
    }

    /// Forgets the cgroups that no ancestry has any more.
    pub(crate) fn sweep(&self) {
        let mut open = self.open.lock();
        open.retain(|_, files| files.strong_count() > 0);
        let in_use = open.len();
        open.shrink_to(in_use * 2);
    }
}
