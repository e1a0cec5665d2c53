//! Which parts of a [`Snapshot`](super::Snapshot) have to be loaded.

use super::files::{CgroupFile, HostFile};

/// Which parts of a [`Snapshot`](super::Snapshot) a view wants loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs(u64);

impl Needs {
    /// No part of it.
    pub const NOTHING: Self = Self(0);
    /// Usage and statistics of the container itself.
    pub const USAGE: Self = Self(1);
    /// The host's `/proc/meminfo`, and limits and headroom of every level: memory, swap, huge pages.
    pub const LEVELS: Self = Self(2);
    /// The container's processors.
    pub const CPUS: Self = Self(4);
    /// When the container started.
    pub const START: Self = Self(8);
    /// How long the container has used processors.
    pub const CPU_TIME: Self = Self(1 << 30);
    /// What the container's processors have counted, which takes processors, their time, and start.
    pub const COUNTERS: Self = Self(16 | Self::CPUS.0 | Self::CPU_TIME.0 | Self::START.0);

    /// When the host was booted for the reader.
    pub const BOOT: Self = Self(1 << 31);
    /// The host's memory nodes, and which of them the reader may use.
    pub const NODES: Self = Self(1 << 32);
    /// How much of the container's memory is on which node.
    pub const NUMA_STAT: Self = Self(1 << 33 | Self::USAGE.0 | Self::LEVELS.0);

    /// What comes from the memory controller, and is read together.
    pub const MEMORY: Self = Self(
        Self::USAGE.0 | Self::LEVELS.0 | Self::NUMA_STAT.0 | Self::cgroup_file(CgroupFile::MemoryStat).0,
    );

    /// How many tasks the container has, and had.
    pub const LOAD: Self = Self(1 << 11 | Self::COUNTERS.0);

    /// A file of the container's cgroup.
    #[must_use]
    pub const fn cgroup_file(file: CgroupFile) -> Self {
        Self(1 << (5 + file as u32))
    }

    /// The kernel's own text of a file.
    #[must_use]
    pub const fn host_file(file: HostFile) -> Self {
        Self(1 << (12 + file as u32))
    }

    /// The kernel's own text of a file for a reader in no container, which gets nothing else.
    #[must_use]
    pub const fn native(file: HostFile) -> Self {
        Self(1 << (34 + file as u32))
    }

    /// The union of two needs.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The parts of this that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The parts that are in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether this includes any of `other`.
    #[must_use]
    pub const fn touches(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether this includes all of `other`.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_is_another_bit() {
        let mut all = vec![Needs::USAGE, Needs::LEVELS, Needs::CPUS, Needs::CPU_TIME, Needs::START];
        all.extend([Needs::BOOT, Needs::NODES]);
        all.extend(CgroupFile::ALL.map(Needs::cgroup_file));
        all.extend(HostFile::ALL.map(Needs::host_file));
        all.extend(HostFile::ALL.map(Needs::native));
        for (index, need) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| !need.covers(*other) && !other.covers(*need)));
        }
    }
}
