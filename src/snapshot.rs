//! Everything that was read for one answer: plain data, filled by [`source`](crate::source), consumed
//! by [`view`](crate::view).

use crate::bytes::{Bytes, Kib};
use crate::parse::meminfo::Meminfo;
use crate::parse::memory_stat::MemoryStat;

/// Which parts of a [`Snapshot`] a view wants loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// Usage and statistics of the container itself.
    pub const USAGE: Self = Self(1);
    /// The host's `/proc/meminfo`, and limits and headroom of every level: memory, swap, huge pages.
    pub const LEVELS: Self = Self(2);

    /// Both of two needs.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is within this.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One consistent reading.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The host's `/proc/meminfo`; loaded with [`Needs::LEVELS`].
    pub meminfo: Option<Meminfo>,
    /// Size of a page of memory, in which limits are counted.
    pub page: Kib,
    /// Whose numbers these are.
    pub scope: Scope,
}

/// Whose numbers a snapshot holds.
#[derive(Debug, Clone)]
pub enum Scope {
    /// The reader is in no container: the root cgroup, where the kernel charges nothing to a limit.
    Host(Box<Level>),
    /// The reader is in a container.
    Container(Container),
}

/// A container and every level above it.
#[derive(Debug, Clone)]
pub struct Container {
    /// The cgroups that have the memory controller, from the reader's own up to, not including, the root.
    pub levels: Vec<Level>,
    /// Which of `levels` is the container, whose usage and statistics are shown. Levels before it are
    /// the reader's sub-cgroups: their limits bind the reader too.
    pub index: usize,
    /// The machine's pools of huge pages as the container sees them. `None`: no hugetlb controller is on
    /// the reader's path, or the host has no huge pages, so that the host's figures are right as they are.
    pub huge_pages: Option<Vec<HugePool>>,
}

/// One cgroup with the memory controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    /// `memory.max` or `memory.limit_in_bytes`; `None` is no limit.
    pub limit: Option<Bytes>,
    /// `memory.current` or `memory.usage_in_bytes`. `None` where it was not needed, and in the root of
    /// cgroup v2, which has no such file.
    pub usage: Option<Bytes>,
    /// `memory.stat`, where needed.
    pub stat: Option<MemoryStat>,
    /// Caches of children off the reader's path that `memory.min` protects: within `stat`, and yet not
    /// reclaimable from here.
    pub protected: Bytes,
    /// Swap of this level.
    pub swap: Swap,
}

/// Limits on swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Swap {
    /// The kernel does not account for swap, or the host has none: only the host's figures bind.
    #[default]
    Unaccounted,
    /// cgroup v1, where the limit is on memory and swap together.
    V1 {
        /// `memory.memsw.limit_in_bytes`.
        memsw_limit: Option<Bytes>,
        /// `memory.swappiness`: with 0 the kernel never swaps this cgroup.
        swappiness: u64,
    },
    /// cgroup v2.
    V2 {
        /// `memory.swap.max`.
        limit: Option<Bytes>,
        /// `memory.swap.current`.
        usage: Bytes,
    },
}

/// The huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePool {
    /// Size of a page.
    pub size: Kib,
    /// Pages in the host's pool.
    pub host_total: u64,
    /// The reader's cgroups in the hugetlb controller's hierarchy, leaf first, without the root.
    pub levels: Vec<HugeLevel>,
}

/// Huge pages of one size in one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugeLevel {
    /// `hugetlb.SIZE.max` or `.limit_in_bytes`.
    pub limit: Option<Bytes>,
    /// `hugetlb.SIZE.current` or `.usage_in_bytes`.
    pub usage: Bytes,
    /// `hugetlb.SIZE.rsvd.current` or `.rsvd.usage_in_bytes`; 0 on kernels without it.
    pub reserved: Bytes,
}
