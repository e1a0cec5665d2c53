//! The ancestors of a cgroup, and a walk through their directories.
//!
//! A tenant may nest thousands of cgroups. So whatever is read of every ancestor is opened from a directory
//! not far above it: if each were opened by its whole path, the work would grow with the square of the depth.

use super::location::CgroupLocation;
use super::mounts::Hierarchy;
use super::paths::relative;
use crate::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How many levels are opened from one directory. Hosts nest less deeply, so there the directory is the
/// hierarchy's mount point.
const LEVELS_PER_BASE: usize = 16;

/// The paths from the root of a hierarchy down to `path` itself: `/`, `/a`, `/a/b` for `/a/b`.
pub(crate) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    let below = ends.chain((path.len() > 1).then_some(path.len())).map(|end| &path[..end]);
    path.get(..1).into_iter().chain(below)
}

/// A walk from the root of a hierarchy down to one of its cgroups.
pub(crate) struct AncestorWalk<'h> {
    hierarchy: &'h Hierarchy,
    /// An open directory, and the length of its cgroup's path.
    base: Option<(OwnedFd, usize)>,
}

impl<'h> AncestorWalk<'h> {
    pub(crate) fn new(hierarchy: &'h Hierarchy) -> Self {
        Self { hierarchy, base: None }
    }

    /// The hierarchy that it is a walk through.
    pub(crate) fn hierarchy(&self) -> &'h Hierarchy {
        self.hierarchy
    }

    /// The location of `cgroup`, which is the one that was asked for last, or below it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] where a cgroup above is gone.
    pub(crate) fn to<'w>(&'w mut self, cgroup: &'w [u8]) -> Result<CgroupLocation<'w>, Error> {
        let base_len = self.base.as_ref().map_or(0, |(_, length)| *length);
        if cgroup[base_len..].iter().filter(|&&byte| byte == b'/').count() > LEVELS_PER_BASE {
            let opened = self.below_base(cgroup).open_dir()?;
            self.base = Some((opened, cgroup.len()));
        }
        Ok(self.below_base(cgroup))
    }

    fn below_base<'w>(&'w self, cgroup: &'w [u8]) -> CgroupLocation<'w> {
        let Some((base, length)) = &self.base else { return self.hierarchy.locate(cgroup) };
        let path = if *length == cgroup.len() { Path::new(".") } else { relative(&cgroup[*length..]) };
        CgroupLocation { cgroup, base: base.as_fd(), path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read::PATH_DIR;
    use rustix::fs::Mode;
    use std::fs;

    #[test]
    fn ancestors_go_down_from_the_root() {
        let down = |path: &'static str| {
            ancestors(path.as_bytes()).map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(down("/a/b c/d"), ["/", "/a", "/a/b c", "/a/b c/d"]);
        assert_eq!(down("/a"), ["/", "/a"]);
        assert_eq!(down("/"), ["/"]);
    }

    #[test]
    fn every_ancestor_is_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path: String = (0..100).map(|level| format!("/{level}")).collect();
        fs::create_dir_all(directory.path().join(&path[1..])).unwrap();
        let mut hierarchy = Hierarchy::for_test("memory");
        hierarchy.dir = rustix::fs::open(directory.path(), PATH_DIR, Mode::empty()).unwrap();
        let mut walk = AncestorWalk::new(&hierarchy);
        for cgroup in ancestors(path.as_bytes()) {
            let location = walk.to(cgroup).unwrap();
            assert!(location.path.components().count() <= LEVELS_PER_BASE);
            let reached = location.status().unwrap();
            let cgroup = relative(cgroup);
            let meant = rustix::fs::stat(directory.path().join(cgroup)).unwrap();
            assert_eq!(reached.st_ino, meant.st_ino, "{}", cgroup.display());
        }
    }
}
