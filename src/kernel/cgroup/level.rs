//! Reads one level of an ancestry, and of its files no more than are needed.

use super::cgroup_files::CgroupFiles;
use crate::error::Error;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::snapshot::{Container, Level, Swap};
use cgprocfs_core::units::Kib;

/// The least that any level read so far leaves to be allocated.
pub(crate) struct Headroom {
    total: Kib,
    /// Whether the host has swap.
    pub(crate) has_swap: bool,
    /// The least that any level so far, or the host, has left.
    least: Kib,
    /// The least that is left together with swap.
    least_with_swap: Kib,
    may_take_long: bool,
}

impl Headroom {
    /// The headroom before any level is read: that of the host.
    pub(crate) fn of_host(meminfo: &Meminfo, container: &Container, may_take_long: bool) -> Self {
        let room = container.room(meminfo);
        Self {
            may_take_long,
            total: room.total,
            has_swap: has_swap(meminfo),
            least: room.available,
            least_with_swap: room.available + meminfo.kib(Field::SwapFree),
        }
    }

    /// Whether what a level has left may be the least once its statistics are known.
    fn may_be_lowered_by(&self, level: &Level) -> bool {
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

/// Whether the host has swap.
pub(crate) fn has_swap(host: &Meminfo) -> bool {
    host.kib(Field::SwapTotal) != Kib::ZERO
}

/// A level to read.
pub(crate) struct LevelReader<'l> {
    pub(crate) files: &'l CgroupFiles,
    /// The name of the next cgroup towards the reader; empty for the reader's own.
    pub(crate) child: &'l [u8],
    /// Whether its usage and statistics are the container's.
    pub(crate) with_usage: bool,
}

impl LevelReader<'_> {
    /// Reads the level, and with its usage the text of its statistics into `raw_stat`.
    ///
    /// Statistics take longest to read, above all high up, where they sum up many cgroups. They can only add
    /// to what a level has left below its limits, so they are not read where that is no less than what
    /// another level has left with them.
    pub(crate) fn read(
        &self,
        raw_stat: Option<&mut Vec<u8>>,
        headroom: Option<&mut Headroom>,
    ) -> Result<Level, Error> {
        let mut level = Level::default();
        if self.with_usage {
            self.files.fill_usage(&mut level, raw_stat)?;
        }
        let Some(headroom) = headroom else { return Ok(level) };
        level.limit = self.files.limit()?;
        // A host without swap has none to limit.
        level.swap = if headroom.has_swap { self.files.swap()? } else { Swap::Unaccounted };
        if level.limit_below(headroom.total).is_some() && !self.with_usage {
            level.usage = self.files.usage_below(level.limit)?;
        }
        if headroom.may_be_lowered_by(&level) {
            if !self.with_usage {
                level.stat = self.files.statistics()?;
                level.usage = self.files.usage_below(level.limit)?;
            }
            level.protected = self.files.protected(self.child, headroom.may_take_long)?;
            headroom.lower_to(&level);
        }
        Ok(level)
    }
}
