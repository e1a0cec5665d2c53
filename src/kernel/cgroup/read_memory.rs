//! Reads what the memory controller says of an ancestry into a [`Snapshot`].

use super::ancestors::{AncestorWalk, ancestors};
use super::ancestry::{AncestryLevel, CgroupAncestry};
use super::cgroup_files::CgroupFiles;
use super::context::ReadContext;
use super::host_memory;
use super::level::{Headroom, LevelReader, has_swap};
use super::mounts::Hierarchy;
use super::paths::last_name;
use super::raw_files::log_malformed;
use crate::error::{Error, escaped};
use crate::rate_limited_log::malformed_counter;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::meminfo::Meminfo;
use cgprocfs_core::parse::numa_stat::NumaStat;
use cgprocfs_core::snapshot::{CgroupFile, Container, Level, Needs, RawFile, Scope, Snapshot};

/// What is read of an ancestry's levels, besides what limits them.
#[derive(Clone, Copy)]
struct Wanted {
    /// Which of the levels with the controller is the container.
    container: usize,
    /// Whether to read the container's usage and statistics.
    usage: bool,
    /// Whether to keep the text of the statistics.
    raw_stat: bool,
}

/// What was read of an ancestry's levels.
#[derive(Default)]
struct Levels {
    levels: Vec<Level>,
    /// The text of the container's statistics.
    raw_stat: Vec<u8>,
    /// The swappiness of the reader's own cgroup.
    swappiness: Option<u64>,
}

impl CgroupAncestry {
    /// Reads what `needs` covers of the memory controller.
    pub(crate) fn read_memory(&self, needs: Needs, context: ReadContext<'_>) -> Result<Snapshot, Error> {
        let ReadContext { cgroup_mounts, host, caller, .. } = context;
        let memory = &cgroup_mounts.memory;
        if self.in_root {
            return host_memory::read_root(host, memory, needs);
        }
        let meminfo = if needs.covers(Needs::LEVELS) { Some(host.meminfo()?) } else { None };
        for files in self.levels.iter().filter_map(|level| level.files.as_ref()) {
            files.verify_controller()?;
        }

        // The container, or the nearest level above it that has the controller.
        let container_len = caller.container.len();
        let mut with_controller = self.levels.iter().filter(|level| level.has_controller);
        let Some(index) = with_controller.position(|level| level.path_len <= container_len) else {
            if !needs.covers(Needs::USAGE) && !needs.covers(Needs::LEVELS) {
                // It may have numbers of its own of other controllers.
                return Ok(Snapshot::of_memory(None, host.machine, Scope::Container(Container::default())));
            }
            return host_memory::read_root(host, memory, needs);
        };
        let mut container = Container { index, ..Container::default() };
        if let Some(meminfo) = &meminfo {
            host_memory::fill(&mut container, meminfo, context)?;
        }
        let headroom =
            meminfo.as_ref().map(|meminfo| Headroom::of_host(meminfo, &container, caller.may_take_long));
        let wanted = Wanted {
            container: index,
            usage: needs.covers(Needs::USAGE),
            raw_stat: needs.covers(Needs::cgroup_file(CgroupFile::MemoryStat)),
        };
        let read = self.read_levels(wanted, headroom, memory)?;
        (container.levels, container.swappiness) = (read.levels, read.swappiness);
        if let Some(meminfo) = &meminfo {
            self.read_shown(&mut container, meminfo, memory)?;
        }
        if memory.version == CgroupVersion::V2 && meminfo.as_deref().is_some_and(has_swap) {
            container.swappiness = host.swappiness();
        }
        let mut snapshot = Snapshot::of_memory(meminfo, host.machine, Scope::Container(container));
        if wanted.usage && wanted.raw_stat {
            // If the container has no statistics of its own, those of the level above are not the
            // container's.
            let is_own =
                self.levels.iter().any(|level| level.has_controller && level.path_len == container_len);
            log_malformed(CgroupFile::MemoryStat, memory.version, &self.path, &read.raw_stat);
            snapshot.cgroup_files.push((
                CgroupFile::MemoryStat,
                is_own.then_some(RawFile { version: memory.version, text: read.raw_stat }),
            ));
        }
        if needs.covers(Needs::NUMA_STAT) {
            snapshot.numa_stat = self.numa_stat(&snapshot.scope, memory)?;
        }
        Ok(snapshot)
    }

    /// Reads the NUMA statistics of the level whose numbers are the container's; `None` if the kernel has
    /// none.
    fn numa_stat(&self, scope: &Scope, memory: &Hierarchy) -> Result<Option<NumaStat>, Error> {
        let Scope::Container(container) = scope else { return Ok(None) };
        let mut with_controller = self.levels.iter().filter(|level| level.has_controller);
        let Some(effective) = with_controller.nth(container.effective_level()) else { return Ok(None) };
        let (path, mut walk) = (self.path_to(effective), AncestorWalk::new(memory));
        for cgroup in ancestors(path) {
            walk.to(cgroup)?;
        }
        const NAME: &str = "memory.numa_stat";
        let stat = walk.to(path)?.read(NAME, NumaStat::parse)?;
        stat.iter().flat_map(|stat| &stat.malformed).for_each(|key| malformed_counter(path, NAME, key));
        Ok(stat)
    }

    /// Reads the usage and statistics of levels that are shown in place of the container, where they were not
    /// needed to find out how much is left.
    fn read_shown(&self, container: &mut Container, host: &Meminfo, memory: &Hierarchy) -> Result<(), Error> {
        let shown = container.levels_to_show(container.room(host).total);
        for index in shown.into_iter().flatten() {
            let mut with_controller = self.levels.iter().filter(|level| level.has_controller);
            let Some(ancestor) = with_controller.nth(index) else { continue };
            let level = &mut container.levels[index];
            let opened;
            let files = match &ancestor.files {
                _ if level.stat.is_some() => continue,
                Some(files) => files,
                None => {
                    let mut walk = AncestorWalk::new(memory);
                    for above in ancestors(self.path_to(ancestor)) {
                        walk.to(above)?;
                    }
                    opened = self.open_again(ancestor, &mut walk)?;
                    &opened
                }
            };
            files.fill_usage(level, None)?;
        }
        Ok(())
    }

    /// Opens a level whose files are not kept open. The walk has come to the level above it.
    fn open_again(&self, level: &AncestryLevel, walk: &mut AncestorWalk<'_>) -> Result<CgroupFiles, Error> {
        let path = self.path_to(level);
        let files = CgroupFiles::open(walk.hierarchy(), walk.to(path)?)?;
        let is_same = files.id() == level.id && files.has_controller();
        is_same.then_some(files).ok_or_else(|| Error::CgroupGone(escaped(path)))
    }

    /// Reads the levels that have the controller.
    fn read_levels(
        &self,
        wanted: Wanted,
        mut headroom: Option<Headroom>,
        memory: &Hierarchy,
    ) -> Result<Levels, Error> {
        let mut read = Levels { levels: Vec::with_capacity(self.levels.len()), ..Levels::default() };
        let with_controller = || self.levels.iter().enumerate().filter(|(_, level)| level.has_controller);
        // `index` counts the levels with the controller, `position` all levels.
        let mut read_level = |read: &mut Levels, index: usize, position: usize, files: &CgroupFiles| {
            let child = position.checked_sub(1).map(|child| last_name(self.path_to(&self.levels[child])));
            let with_usage = index == wanted.container && wanted.usage;
            if index == 0 && headroom.as_ref().is_some_and(|headroom| headroom.has_swap) {
                read.swappiness = files.swappiness()?;
            }
            let level = LevelReader { files, child: child.unwrap_or_default(), with_usage };
            let raw_stat = wanted.raw_stat.then_some(&mut read.raw_stat);
            read.levels.push(level.read(raw_stat, headroom.as_mut())?);
            Ok::<_, Error>(())
        };
        if self.levels.iter().all(|level| level.files.is_some()) {
            for (index, (position, level)) in with_controller().enumerate() {
                if let Some(files) = &level.files {
                    read_level(&mut read, index, position, files)?;
                }
            }
            return Ok(read);
        }
        let mut walk = AncestorWalk::new(memory);
        let upward: Vec<_> = with_controller().enumerate().collect();
        for (index, (position, level)) in upward.into_iter().rev() {
            let files = self.open_again(level, &mut walk)?;
            read_level(&mut read, index, position, &files)?;
        }
        read.levels.reverse();
        Ok(read)
    }
}
