//! A cgroup and every level above it, and how a [`Snapshot`] is read from them.

use super::cgroup_files::CgroupFiles;
use super::descent::{Descent, downward};
use super::mounts::{CgroupMounts, Hierarchy};
use super::paths::is_deep;
use super::raw_files::{note_odd, read};
use crate::error::{Error, escaped};
use crate::kernel::host::files::HostFiles;
use crate::kernel::identity::caller::Caller;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::parse::numa_stat::NumaStat;
use cgprocfs_core::snapshot::{CgroupFile, Container, Level, Needs, Scope, Snapshot, Swap};
use cgprocfs_core::units::Kib;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The cgroups that are open because some path goes through them. Containers share the levels above them.
#[derive(Default)]
pub(crate) struct CgroupCache {
    open: Mutex<HashMap<Vec<u8>, Weak<CgroupFiles>>>,
}

/// A reader's cgroup and all above it, with their files open.
pub struct CgroupAncestry {
    path: Vec<u8>,
    /// From the reader's own cgroup upward. The hierarchy's root is left out, but for a reader that is in
    /// it.
    levels: Vec<OnPath>,
    in_root: bool,
}

/// A cgroup on a path.
struct OnPath {
    /// How much of the path leads to it.
    length: usize,
    /// The kernel's number for it, never used again.
    inode: u64,
    has_controller: bool,
    /// `None` where they are not kept open.
    files: Option<Arc<CgroupFiles>>,
}

impl CgroupCache {
    /// Opens the cgroup at `path` and every level above it.
    pub(crate) fn path(&self, hierarchy: &Hierarchy, path: &[u8]) -> Result<CgroupAncestry, Error> {
        let in_root = path == b"/" && hierarchy.is_hierarchy_root;
        let is_deep = is_deep(path);
        let mut descent = Descent::new(hierarchy);
        let mut levels = Vec::new();
        for level in downward(path) {
            if level == b"/" && !in_root && hierarchy.is_hierarchy_root {
                continue;
            }
            let is_kept = !is_deep || level.len() == path.len();
            let files = self.level(hierarchy, level, &mut descent, is_kept)?;
            levels.push(OnPath {
                length: level.len(),
                inode: files.inode(),
                has_controller: files.has_controller(),
                files: is_kept.then_some(files),
            });
        }
        levels.reverse();
        Ok(CgroupAncestry { path: path.to_vec(), levels, in_root })
    }

    fn level(
        &self,
        hierarchy: &Hierarchy,
        path: &[u8],
        descent: &mut Descent<'_>,
        is_kept: bool,
    ) -> Result<Arc<CgroupFiles>, Error> {
        let place = descent.to(path).map_err(|e| Error::of_cgroup(path, e))?;
        let known = self.open.lock().get(path).and_then(Weak::upgrade);
        if let Some(level) = known.filter(|level| level.is_current(hierarchy, place)) {
            return Ok(level);
        }
        let level = Arc::new(CgroupFiles::open(hierarchy, path, place)?);
        if is_kept {
            self.open.lock().insert(path.to_vec(), Arc::downgrade(&level));
        }
        Ok(level)
    }

    /// Has the levels on a path opened anew: one of them is not what it was.
    pub(crate) fn forget(&self, path: &[u8]) {
        let mut open = self.open.lock();
        downward(path).for_each(|level| drop(open.remove(level)));
    }

    /// Forgets the levels that no path goes through any more.
    pub(crate) fn sweep(&self) {
        let mut open = self.open.lock();
        open.retain(|_, level| level.strong_count() > 0);
        let in_use = open.len();
        open.shrink_to(in_use * 2);
    }
}

impl CgroupAncestry {
    /// How many files it may keep open, those that other paths share counted in.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.levels.iter().filter(|level| level.files.is_some()).count() * CgroupFiles::MOST
    }

    /// Checks that the reader's cgroup is still the one whose files are open. The levels above it need no
    /// look of their own: none of them can be replaced while it stays.
    pub(crate) fn verify(&self, cgroup_mounts: &CgroupMounts) -> Result<(), Error> {
        let leaf = self.levels.first().and_then(|level| level.files.as_ref());
        leaf.map_or(Ok(()), |leaf| leaf.verify_name(cgroup_mounts.memory.place(&self.path)))
    }

    /// The kernel's number for the reader's cgroup.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.levels.first().map_or(0, |leaf| leaf.inode)
    }

    /// The container's number and path, where its path has such a length; `None` for a reader in no container.
    pub(crate) fn container(&self, length: usize) -> Option<(u64, &[u8])> {
        let level = self.levels.iter().find(|level| level.length == length && !self.in_root)?;
        Some((level.inode, &self.path[..length]))
    }

    /// Reads what `needs` asks for of the memory controller.
    pub(crate) fn load(
        &self,
        needs: Needs,
        host: &HostFiles,
        cgroup_mounts: &CgroupMounts,
        caller: &Caller<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Snapshot, Error> {
        if self.in_root {
            return host.load(cgroup_mounts, needs, buffer);
        }
        let meminfo = if needs.covers(Needs::LEVELS) { Some(host.meminfo(buffer)?) } else { None };
        for files in self.levels.iter().filter_map(|level| level.files.as_ref()) {
            files.verify_controller()?;
        }

        // The container, or the nearest level above it that has the controller.
        let mut with_controller = self.levels.iter().filter(|level| level.has_controller);
        let Some(shown) = with_controller.position(|level| level.length <= caller.container_length) else {
            if !needs.covers(Needs::USAGE) && !needs.covers(Needs::LEVELS) {
                // Of other controllers' numbers it may have its own.
                return Ok(Snapshot::of_memory(None, host.machine, Scope::Container(Container::default())));
            }
            return host.load(cgroup_mounts, needs, buffer);
        };
        let mut container = Container { index: shown, ..Container::default() };
        if let Some(meminfo) = &meminfo {
            host.fill_room(&mut container, meminfo, cgroup_mounts, caller, buffer)?;
        }
        let bounds = meminfo.as_ref().map(|meminfo| Bounds::of(meminfo, &container, caller.may_take_long));
        let wanted = Wanted {
            shown,
            usage: needs.covers(Needs::USAGE),
            text: needs.covers(Needs::cgroup_file(CgroupFile::MemoryStat)),
        };
        let (levels, text) =
            self.read_levels(wanted, bounds, cgroup_mounts, &mut container.swappiness, buffer)?;
        container.levels = levels;
        if cgroup_mounts.memory.version == CgroupVersion::V2 && meminfo.as_ref().is_some_and(has_swap) {
            container.swappiness = host.swappiness(buffer);
        }
        let mut snapshot = Snapshot::of_memory(meminfo, host.machine, Scope::Container(container));
        if wanted.usage && wanted.text {
            // Where the container has no statistics of its own those of the level above are not its.
            let is_own =
                self.levels.iter().any(|it| it.has_controller && it.length == caller.container_length);
            note_odd(CgroupFile::MemoryStat, &self.path, &text);
            snapshot.cgroup_files.push((CgroupFile::MemoryStat, is_own.then_some(text)));
        }
        if needs.covers(Needs::NUMA_STAT) {
            snapshot.numa_stat = self.numa_stat(&snapshot.scope, cgroup_mounts, buffer)?;
        }
        Ok(snapshot)
    }

    /// Of the level whose numbers are shown; `None` where the kernel does not keep them apart.
    fn numa_stat(
        &self,
        scope: &Scope,
        cgroup_mounts: &CgroupMounts,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<NumaStat>, Error> {
        let Scope::Container(container) = scope else { return Ok(None) };
        let shown = self.levels.iter().filter(|level| level.has_controller).nth(container.effective_level());
        let Some(shown) = shown else { return Ok(None) };
        let (path, mut descent) = (self.path_to(shown), Descent::new(&cgroup_mounts.memory));
        for level in downward(path) {
            descent.to(level).map_err(|e| Error::of_cgroup(level, e))?;
        }
        let place = descent.to(path).map_err(|e| Error::of_cgroup(path, e))?;
        read(path, place, "memory.numa_stat", buffer, NumaStat::parse)
    }

    /// Reads the levels that have the controller, and the text of the statistics of the one that is shown.
    fn read_levels(
        &self,
        wanted: Wanted,
        mut bounds: Option<Bounds>,
        cgroup_mounts: &CgroupMounts,
        swappiness: &mut Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> Result<(Vec<Level>, Vec<u8>), Error> {
        let mut text = Vec::new();
        let with_controller = || self.levels.iter().enumerate().filter(|(_, level)| level.has_controller);
        let mut read = |index: usize, on_path: usize, files: &CgroupFiles, buffer: &mut Vec<u8>| {
            let below =
                on_path.checked_sub(1).map_or(&b""[..], |below| name(self.path_to(&self.levels[below])));
            let shown = (index == wanted.shown && wanted.usage).then_some(if wanted.text {
                Some(&mut text)
            } else {
                None
            });
            if index == 0 && bounds.as_ref().is_some_and(|bounds| bounds.has_swap) {
                *swappiness = files.swappiness(buffer)?;
            }
            read_level(files, below, index > wanted.shown, shown, bounds.as_mut(), buffer)
        };
        let mut levels = Vec::with_capacity(self.levels.len());
        if self.levels.iter().all(|level| level.files.is_some()) {
            for (index, (on_path, level)) in with_controller().enumerate() {
                if let Some(files) = &level.files {
                    levels.push(read(index, on_path, files, buffer)?);
                }
            }
            return Ok((levels, text));
        }
        let mut descent = Descent::new(&cgroup_mounts.memory);
        let downward: Vec<_> = with_controller().enumerate().collect();
        for (index, (on_path, level)) in downward.into_iter().rev() {
            let path = self.path_to(level);
            let place = descent.to(path).map_err(|e| Error::of_cgroup(path, e))?;
            let files = CgroupFiles::open(&cgroup_mounts.memory, path, place)?;
            if files.inode() != level.inode || !files.has_controller() {
                return Err(Error::CgroupGone(escaped(path)));
            }
            levels.push(read(index, on_path, &files, buffer)?);
        }
        levels.reverse();
        Ok((levels, text))
    }

    fn path_to(&self, level: &OnPath) -> &[u8] {
        &self.path[..level.length]
    }
}

/// What is wanted of a path's levels.
#[derive(Clone, Copy)]
struct Wanted {
    /// Which of them is the container.
    shown: usize,
    /// Its usage and statistics,
    usage: bool,
    /// and their text.
    text: bool,
}

/// What is known of what can still be allocated, while level after level is read.
struct Bounds {
    total: Kib,
    /// Of the host, that can be swapped to.
    has_swap: bool,
    /// The least that any level or the host has left,
    least: Kib,
    /// and the least together with swap.
    least_with_swap: Kib,
    may_take_long: bool,
}

impl Bounds {
    fn of(meminfo: &Meminfo, container: &Container, may_take_long: bool) -> Self {
        let room = container.room(meminfo);
        Self {
            may_take_long,
            total: room.total,
            has_swap: has_swap(meminfo),
            least: room.available,
            least_with_swap: room.available + meminfo.kib(Field::SwapFree),
        }
    }

    /// Whether what a level has left may bind once its statistics are known.
    fn may_be_bound_by(&self, level: &Level) -> bool {
        level.unused_below(self.total).is_some_and(|unused| unused < self.least)
            || level.unused_with_swap().is_some_and(|unused| unused < self.least_with_swap)
    }

    fn lower_to(&mut self, level: &Level) {
        let headroom = level.headroom_below(self.total);
        let with_swap = level.headroom_with_swap();
        self.least = headroom.into_iter().chain(with_swap).fold(self.least, Kib::min);
        self.least_with_swap = with_swap.into_iter().fold(self.least_with_swap, Kib::min);
    }
}

fn has_swap(host: &Meminfo) -> bool {
    host.kib(Field::SwapTotal) != Kib::ZERO
}

/// The name of the cgroup at a path.
fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

/// `below` is the name of the next level toward the reader; `is_above` says that it is above the container. Of one that is `shown` usage and statistics are wanted, and their
/// text where there is room for it.
///
/// Statistics are what takes longest to read, above all high up, where they are many cgroups' sum. They can only add to
/// what a level has left below its limits, so they are not read where that is no less than another has left with them.
fn read_level(
    files: &CgroupFiles,
    below: &[u8],
    is_above: bool,
    shown: Option<Option<&mut Vec<u8>>>,
    bounds: Option<&mut Bounds>,
    buffer: &mut Vec<u8>,
) -> Result<Level, Error> {
    let mut level = Level::default();
    let is_shown = shown.is_some();
    // What is the reader's own may come to be shown.
    let charged = |level: &Level, buffer: &mut Vec<u8>| match is_above {
        true => files.charged_below(level.limit, buffer),
        false => files.charged(buffer),
    };
    if let Some(text) = shown {
        files.usage_and_text(&mut level, text, buffer)?;
    }
    let Some(bounds) = bounds else { return Ok(level) };
    level.limit = files.limit(buffer)?;
    // A host without swap has none to limit.
    level.swap = if bounds.has_swap { files.swap(buffer)? } else { Swap::Unaccounted };
    if level.limit_below(bounds.total).is_some() && !is_shown {
        level.usage = charged(&level, buffer)?;
    }
    if bounds.may_be_bound_by(&level) {
        if !is_shown {
            level.stat = files.statistics(buffer)?;
            level.usage = charged(&level, buffer)?;
        }
        level.protected = files.protected(below, bounds.may_take_long, buffer)?;
        bounds.lower_to(&level);
    }
    Ok(level)
}
