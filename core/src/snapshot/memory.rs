//! The memory of a container: its levels, and what the machine has for it.

use super::huge_pages::HugePool;
use super::swap::Swap;
use crate::parse::meminfo::{Field, Meminfo};
use crate::parse::memory_stat::MemoryStat;
use crate::units::{Bytes, Kib};

/// A container and every level above it.
#[derive(Debug, Clone, Default)]
pub struct Container {
    /// The cgroups that have the memory controller, from the reader's own up to, not including, the root.
    pub levels: Vec<Level>,
    /// Which of `levels` is the container, whose usage and statistics are shown. Levels before it are
    /// the reader's sub-cgroups: their limits bind the reader too.
    pub index: usize,
    /// The machine's pools of huge pages as the container sees them. `None`: neither a hugetlb controller nor
    /// a cpuset limits the reader, or the host has no huge pages, so that the host's figures are right as
    /// they are.
    pub huge_pages: Option<Vec<HugePool>>,
    /// `memory.swappiness` of the reader's own cgroup, on cgroup v2 `vm.swappiness`; `None` where it was not
    /// needed.
    pub swappiness: Option<u64>,
    /// The memory nodes that the reader's cpuset lets it use; `None` where that is all of them.
    pub nodes: Option<NodeMemory>,
    /// What a cache of the host outside of its page cache could give back: ZFS's ARC, which `MemAvailable`
    /// leaves out. On which nodes it is, is not known.
    pub zfs_reclaimable: Kib,
}

/// The memory of some nodes of a machine together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// `MemTotal`.
    pub total: Kib,
    /// `MemFree`.
    pub free: Kib,
    /// Page cache and slabs that can be reclaimed.
    pub reclaimable: Kib,
}

/// How much memory there is where no cgroup limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How much there is, used or not.
    pub total: Kib,
    /// How much can be allocated without swapping.
    pub available: Kib,
}

impl Container {
    /// The level whose usage and statistics are shown: the container, unless a cgroup of the reader below it
    /// has a smaller limit than every level from the container up. That limit is the total then, and only
    /// that cgroup's own usage counts against it.
    #[must_use]
    pub fn effective_level(&self) -> usize {
        // A limit above the host's memory binds nothing, and its level was not read further.
        let binds = |index: &usize| self.levels[*index].stat.is_some();
        self.tightest_below(|level| level.limit).filter(binds).unwrap_or(self.index)
    }

    /// The levels below the container whose statistics have to be read because they are shown, where the
    /// machine has `room`: those with the smallest limits on memory, and on memory and swap together.
    #[must_use]
    pub fn levels_to_show(&self, room: Kib) -> [Option<usize>; 2] {
        let of_memory = self.tightest_below(|level| level.limit);
        let of_both = self.tightest_below(|level| match level.swap {
            Swap::V1 { limit, .. } => limit,
            Swap::V2 { .. } | Swap::Unaccounted | Swap::Malformed => None,
        });
        [of_memory.filter(|index| self.levels[*index].limit_below(room).is_some()), of_both]
    }

    /// The level whose swap is shown, by the same rule for limits on swap: unless one below the container has
    /// the smallest, it is the level whose memory is shown.
    #[must_use]
    pub fn swap_level(&self) -> usize {
        let is_known = |index: &usize| match self.levels[*index].swap {
            Swap::V2 { .. } => true,
            Swap::V1 { .. } => self.levels[*index].stat.is_some(),
            Swap::Unaccounted | Swap::Malformed => false,
        };
        let below = self.tightest_below(|level| level.swap.limit()).filter(is_known);
        below.unwrap_or_else(|| self.effective_level())
    }

    /// The level below the container that has a smaller limit than every level from the container up.
    fn tightest_below(&self, limit: impl Fn(&Level) -> Option<Bytes>) -> Option<usize> {
        let least = |levels: &[Level]| {
            levels.iter().enumerate().filter_map(|(index, level)| Some((limit(level)?, index))).min()
        };
        let (inner, outer) = self.levels.split_at(self.index.min(self.levels.len()));
        let (limit, index) = least(inner)?;
        least(outer).is_none_or(|(outer, _)| limit < outer).then_some(index)
    }

    /// How much memory the machine has for this container: the host's, or that of the nodes that it may use.
    #[must_use]
    pub fn room(&self, host: &Meminfo) -> Room {
        let total = host.kib(Field::MemTotal);
        let room = Room { total, available: (host.available() + self.zfs_reclaimable).min(total) };
        let Some(nodes) = self.nodes else { return room };
        let available = (nodes.available(host) + nodes.share(self.zfs_reclaimable, host)) - nodes.kept(host);
        Room { total: room.total.min(nodes.total), available: room.available.min(available).min(nodes.total) }
    }
}

impl NodeMemory {
    /// How much is free or can be reclaimed.
    fn available(&self, host: &Meminfo) -> Kib {
        // Before Linux 3.14 the host's own figure is what is free.
        if host.count(Field::MemAvailable).is_none() { self.free } else { self.free + self.reclaimable }
    }

    /// Not all of that is available: the kernel keeps some back (`si_mem_available()`, mm/show_mem.c). How
    /// much, only the host says, for all nodes together; these keep their share.
    fn kept(&self, host: &Meminfo) -> Kib {
        let Some(available) = host.count(Field::MemAvailable).map(Kib::new) else { return Kib::ZERO };
        let reclaimable =
            host.kib(Field::ActiveFile) + host.kib(Field::InactiveFile) + host.reclaimable_slab();
        self.share((host.kib(Field::MemFree) + reclaimable) - available, host)
    }

    /// These nodes' part of an amount that is known only for the whole host, in proportion to their memory.
    fn share(&self, of_host: Kib, host: &Meminfo) -> Kib {
        let whole = u128::from(host.kib(Field::MemTotal).get()).max(1);
        let share = u128::from(of_host.get()) * u128::from(self.total.get()) / whole;
        Kib::new(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// One cgroup with the memory controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    /// `memory.max` or `memory.limit_in_bytes`; `None` is no limit.
    pub limit: Option<Bytes>,
    /// `memory.current` or `memory.usage_in_bytes`. `None` where it was not needed, and in the root of
    /// cgroup v2, which has no such file.
    pub usage: Option<Bytes>,
    /// `memory.stat`, where needed: not of a level that has more left below its limit, even without them,
    /// than another.
    pub stat: Option<MemoryStat>,
    /// Caches of children off the reader's path that `memory.min` protects: within `stat`, and yet not
    /// reclaimable from here.
    pub protected: Bytes,
    /// Swap of this level.
    pub swap: Swap,
}

impl Level {
    /// The limit on memory, if it is below the `total` that there is anyway.
    #[must_use]
    pub fn limit_below(&self, total: Kib) -> Option<Kib> {
        self.limit.map(Bytes::to_kib).filter(|limit| *limit < total)
    }

    /// What is left below [such a limit](Self::limit_below) without any reclaim; `None` without one, or where
    /// usage is not known.
    #[must_use]
    pub fn unused_below(&self, total: Kib) -> Option<Kib> {
        Some(self.limit_below(total)? - self.usage?.to_kib())
    }

    /// What is left below it once the caches of this level are reclaimed, but for those that are
    /// [`protected`](Self::protected); `None` where statistics are not known either.
    #[must_use]
    pub fn headroom_below(&self, total: Kib) -> Option<Kib> {
        Some(self.limit_below(total)? + self.obtainable_caches()? - self.usage?.to_kib())
    }

    /// What is left below the limit of cgroup v1 on memory and swap together, without any reclaim; `None`
    /// without one.
    #[must_use]
    pub fn unused_with_swap(&self) -> Option<Kib> {
        let (limit, usage) = self.with_swap()?;
        Some(limit - usage)
    }

    /// What would be left below the limit on memory and swap together once the caches of this level are
    /// reclaimed; swapping gains nothing there. `None` without such a limit, and where statistics are not
    /// known.
    #[must_use]
    pub fn headroom_with_swap(&self) -> Option<Kib> {
        let (limit, usage) = self.with_swap()?;
        Some(limit + self.obtainable_caches()? - usage)
    }

    fn with_swap(&self) -> Option<(Kib, Kib)> {
        match self.swap {
            Swap::V1 { limit, usage } => Some((limit?.to_kib(), usage.to_kib())),
            Swap::V2 { .. } | Swap::Unaccounted | Swap::Malformed => None,
        }
    }

    fn obtainable_caches(&self) -> Option<Kib> {
        Some((self.stat.as_ref()?.reclaimable() - self.protected).to_kib())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Meminfo {
        let text = "MemTotal: 1000 kB\nMemFree: 500 kB\nMemAvailable: 580 kB\nActive(file): 60 kB\n\
            Inactive(file): 40 kB\nSReclaimable: 30 kB\nKReclaimable: 40 kB\n";
        Meminfo::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn room(nodes: Option<NodeMemory>, zfs_reclaimable: u64) -> (u64, u64) {
        let container =
            Container { nodes, zfs_reclaimable: Kib::new(zfs_reclaimable), ..Container::default() };
        let room = container.room(&host());
        (room.total.get(), room.available.get())
    }

    #[test]
    fn what_the_machine_has() {
        assert_eq!(room(None, 0), (1000, 580));
        assert_eq!(room(None, 300), (1000, 880));
        assert_eq!(room(None, 3000), (1000, 1000));
    }

    /// 60 of 640 are kept back, of which a node with half of the memory has half.
    #[test]
    fn what_some_nodes_have() {
        let node = |free, reclaimable| {
            Some(NodeMemory {
                total: Kib::new(500),
                free: Kib::new(free),
                reclaimable: Kib::new(reclaimable),
            })
        };
        assert_eq!(room(node(300, 100), 0), (500, 370));
        assert_eq!(room(node(10, 10), 0), (500, 0));
        // Of what a cache would give back as well.
        assert_eq!(room(node(10, 10), 50), (500, 15));
        assert_eq!(room(node(500, 500), 0), (500, 500));
    }
}
