//! A cgroup and every level above it, and how a [`Snapshot`] is read from them.

use super::caller::Caller;
use super::cgroup_files::CgroupFiles;
use super::host::HostFiles;
use super::layout::{Hierarchy, Layout};
use crate::bytes::Kib;
use crate::error::Error;
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{Container, Level, Needs, Scope, Snapshot, Swap};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Weak};

/// The cgroups that are open because some path goes through them. Containers share the levels above them.
#[derive(Default)]
pub(super) struct Levels {
    open: Mutex<HashMap<Vec<u8>, Weak<CgroupFiles>>>,
}

/// A reader's cgroup and all above it, with their files open.
pub struct CgroupPath {
    /// From the reader's own cgroup upward. The hierarchy's root is left out, but for a reader that is in
    /// it.
    levels: Vec<(usize, Arc<CgroupFiles>)>,
    in_root: bool,
}

impl Levels {
    /// Opens the cgroup at `path` and every level above it.
    pub(super) fn path(&self, hierarchy: &Hierarchy, path: &[u8]) -> Result<CgroupPath, Error> {
        let in_root = path == b"/" && hierarchy.top_is_host;
        let mut levels = Vec::new();
        for ancestor in upward(path) {
            if ancestor != b"/" || in_root || !hierarchy.top_is_host {
                levels.push((ancestor.len(), self.level(hierarchy, ancestor)?));
            }
        }
        Ok(CgroupPath { levels, in_root })
    }

    fn level(&self, hierarchy: &Hierarchy, path: &[u8]) -> Result<Arc<CgroupFiles>, Error> {
        let known = self.open.lock().get(path).and_then(Weak::upgrade);
        if let Some(level) = known.filter(|level| level.is_current(hierarchy)) {
            return Ok(level);
        }
        let level = Arc::new(CgroupFiles::open(hierarchy, path)?);
        self.open.lock().insert(path.to_vec(), Arc::downgrade(&level));
        Ok(level)
    }

    /// Has the levels on a path opened anew: one of them is not what it was.
    pub(super) fn forget(&self, path: &[u8]) {
        let mut open = self.open.lock();
        upward(path).for_each(|level| drop(open.remove(level)));
    }

    /// Forgets the levels that no path goes through any more.
    pub(super) fn sweep(&self) {
        let mut open = self.open.lock();
        open.retain(|_, level| level.strong_count() > 0);
        let in_use = open.len();
        open.shrink_to(in_use * 2);
    }
}

/// `/a/b/c`, `/a/b`, `/a`, `/`.
pub(super) fn upward(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| match path.iter().rposition(|&b| b == b'/') {
        Some(0) if path.len() > 1 => Some(&path[..1]),
        Some(0) | None => None,
        Some(slash) => Some(&path[..slash]),
    })
}

/// What to open below a hierarchy's mount point.
pub(super) fn relative(path: &[u8]) -> &Path {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

impl CgroupPath {
    /// How many files it may keep open, those that other paths share counted in.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.levels.len() * CgroupFiles::MOST
    }

    /// Checks that the reader's cgroup is still the one whose files are open. The levels above it need no
    /// look of their own: none of them can be replaced while it stays.
    pub(super) fn verify(&self, layout: &Layout) -> Result<(), Error> {
        self.levels.first().map_or(Ok(()), |(_, leaf)| leaf.verify_name(&layout.memory))
    }

    /// The container's number and path, where its path has such a length.
    pub(crate) fn container(&self, length: usize) -> Option<(u64, &[u8])> {
        let (_, files) = self.levels.iter().find(|(known, _)| *known == length)?;
        Some((files.inode(), files.path()))
    }

    /// The first processes of the reader's cgroup and of those above it up to the container, as many as a page
    /// of `cgroup.procs` has: of these the oldest is among them, if it still lives.
    pub(super) fn processes(&self, container: usize) -> Result<Vec<u32>, Error> {
        let mut processes = Vec::new();
        for (_, level) in self.levels.iter().filter(|(length, _)| *length >= container) {
            processes.extend(level.processes()?);
        }
        Ok(processes)
    }

    /// Reads what `needs` asks for of the memory controller.
    pub(super) fn load(
        &self,
        needs: Needs,
        host: &HostFiles,
        layout: &Layout,
        caller: &Caller<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Snapshot, Error> {
        if self.in_root {
            return host.load(layout, needs, buffer);
        }
        let meminfo = if needs.covers(Needs::LEVELS) { Some(host.meminfo(buffer)?) } else { None };
        let with_controller = || self.levels.iter().filter(|(_, files)| files.has_controller());
        for (_, files) in &self.levels {
            files.verify_controller()?;
        }

        // The container, or the nearest level above it that has the controller.
        let Some(index) = with_controller().position(|(length, _)| *length <= caller.container_length) else {
            if !needs.covers(Needs::USAGE) && !needs.covers(Needs::LEVELS) {
                // Of other controllers' numbers it may have its own.
                let container = Container { levels: Vec::new(), index: 0, huge_pages: None };
                return Ok(Snapshot::of_memory(None, host.page, Scope::Container(container)));
            }
            return host.load(layout, needs, buffer);
        };
        let mut levels = Vec::with_capacity(self.levels.len());
        let mut below: &[u8] = b"";
        for (position, (_, files)) in with_controller().enumerate() {
            let shown = position == index && needs.covers(Needs::USAGE);
            levels.push(read_level(files, below, shown, meminfo.as_ref(), buffer)?);
            below = name(files.path());
        }
        let huge_pages = match (&meminfo, &layout.hugetlb) {
            (Some(meminfo), Some(hugetlb)) => host.huge_pages(meminfo, layout, caller.own_in(hugetlb)?)?,
            _ => None,
        };
        let scope = Scope::Container(Container { levels, index, huge_pages });
        Ok(Snapshot::of_memory(meminfo, host.page, scope))
    }
}

/// The name of the cgroup at a path.
fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

/// `below` is the name of the next level toward the reader.
fn read_level(
    files: &CgroupFiles,
    below: &[u8],
    shown: bool,
    meminfo: Option<&Meminfo>,
    buffer: &mut Vec<u8>,
) -> Result<Level, Error> {
    let mut level = Level::default();
    let mut binds = false;
    if let Some(meminfo) = meminfo {
        level.limit = files.limit(buffer)?;
        binds = level.limit.is_some_and(|limit| limit.to_kib() < meminfo.kib(Field::MemTotal));
    }
    if shown || binds {
        files.usage(&mut level, buffer)?;
    }
    if binds {
        level.protected = files.protected(below, buffer)?;
    }
    // A host without swap has none to limit.
    level.swap = match meminfo.map(|meminfo| meminfo.kib(Field::SwapTotal)) {
        None | Some(Kib::ZERO) => Swap::Unaccounted,
        Some(_) => files.swap(buffer)?,
    };
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_up_to_the_root() {
        let up = |path: &'static str| {
            upward(path.as_bytes()).map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(up("/a/b c/d"), ["/a/b c/d", "/a/b c", "/a", "/"]);
        assert_eq!(up("/a"), ["/a", "/"]);
        assert_eq!(up("/"), ["/"]);
    }
}
