//! Everything that was read for one answer: plain data, filled by [`source`](crate::source), consumed
//! by [`view`](crate::view).

mod memory;
mod nodes;

pub use self::memory::{Container, HugeLevel, HugePool, Level, NodeMemory, Room, Swap};
pub use self::nodes::{HostNode, Nodes};

use crate::bytes::Kib;
use crate::ledger::Counters;
use crate::load::Load;
use crate::parse::cpu_list::CpuList;
use crate::parse::cpu_quota::MILLI;
use crate::parse::meminfo::Meminfo;
use crate::parse::numa_stat::NumaStat;
use crate::view::ViewError;

/// Which parts of a [`Snapshot`] a view wants loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs(u64);

impl Needs {
    /// Usage and statistics of the container itself.
    pub const USAGE: Self = Self(1);
    /// The host's `/proc/meminfo`, and limits and headroom of every level: memory, swap, huge pages.
    pub const LEVELS: Self = Self(2);
    /// Processors, and how long the container has used them.
    pub const CPUS: Self = Self(4);
    /// When the container started.
    pub const START: Self = Self(8);
    /// What the container's processors have counted, which takes processors, start and the host's uptime.
    pub const COUNTERS: Self = Self(16 | Self::CPUS.0 | Self::START.0 | Self::native(Native::Uptime).0);

    /// When the host was booted for the reader.
    pub const BOOT: Self = Self(1 << 31);
    /// The host's memory nodes, and which of them the reader may use.
    pub const NODES: Self = Self(1 << 32);
    /// How much of the container's memory is on which node.
    pub const NUMA_STAT: Self = Self(1 << 33 | Self::USAGE.0 | Self::LEVELS.0);

    /// How many tasks the container has, and had.
    pub const LOAD: Self = Self(1 << 11 | Self::CPUS.0 | Self::START.0 | Self::native(Native::Uptime).0);

    /// A file of the container's cgroup.
    #[must_use]
    pub const fn cgroup_file(file: CgroupFile) -> Self {
        Self(1 << (5 + file as u32))
    }

    /// The kernel's own text of a file.
    #[must_use]
    pub const fn native(file: Native) -> Self {
        Self(1 << (12 + file as u32))
    }

    /// Both of two needs.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What of this is not `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
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
    /// Loaded with [`Needs::CPUS`].
    pub cpus: Option<Cpus>,
    /// Loaded with [`Needs::NODES`].
    pub nodes: Option<Nodes>,
    /// Of the level whose numbers `proc/meminfo` shows, where the kernel keeps them apart by nodes; loaded with
    /// [`Needs::NUMA_STAT`].
    pub numa_stat: Option<NumaStat>,
    /// When the container started, in clock ticks after the host's boot; loaded with [`Needs::START`].
    pub start: Option<u64>,
    /// Loaded with [`Needs::BOOT`].
    pub boot: Boot,
    /// Loaded with [`Needs::COUNTERS`].
    pub counters: Option<Counters>,
    /// Loaded with [`Needs::LOAD`].
    pub load: Option<Load>,
    /// The process id of a reader in no container, in its own pid namespace, where that is another than ours; loaded with
    /// [`Needs::LOAD`].
    pub last_pid: Option<u32>,
    /// Texts of files of the container's cgroup, `None` where it has no such file or no cgroup in that hierarchy; loaded
    /// with [`Needs::cgroup_file`].
    pub cgroup_files: Vec<(CgroupFile, Option<Vec<u8>>)>,
    /// Texts of the kernel's own files; loaded with [`Needs::native`].
    pub natives: Vec<(Native, Vec<u8>)>,
}

impl Snapshot {
    /// One with numbers of memory alone.
    #[must_use]
    pub const fn of_memory(meminfo: Option<Meminfo>, page: Kib, scope: Scope) -> Self {
        Self {
            meminfo,
            page,
            scope,
            cpus: None,
            nodes: None,
            numa_stat: None,
            start: None,
            boot: Boot { offset: 0, at: None },
            counters: None,
            load: None,
            last_pid: None,
            cgroup_files: Vec::new(),
            natives: Vec::new(),
        }
    }

    /// The text of a file of the container's cgroup; `None` where there is none.
    ///
    /// # Errors
    /// Where it was not loaded.
    pub fn cgroup_file(&self, file: CgroupFile) -> Result<Option<&[u8]>, ViewError> {
        let found = self.cgroup_files.iter().find(|(known, _)| *known == file);
        found.map(|(_, text)| text.as_deref()).ok_or(ViewError::NotLoaded("a file of the container's cgroup"))
    }

    /// The kernel's own text of a file.
    ///
    /// # Errors
    /// Where it was not loaded.
    pub fn native(&self, file: Native) -> Result<&[u8], ViewError> {
        let found = self.natives.iter().find(|(known, _)| *known == file);
        found.map(|(_, text)| &**text).ok_or(ViewError::NotLoaded(file.path()))
    }
}

/// The boot as a reader has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Boot {
    /// How much longer ago it is in the reader's time namespace than it is here, in nanoseconds.
    pub offset: i64,
    /// When it was here, in nanoseconds of the wall clock, where the kernel's own text is not exact enough.
    pub at: Option<i64>,
}

/// A file of a container's cgroup that a view is made from, besides those of [`Level`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupFile {
    /// `cpu.pressure`
    PressureCpu,
    /// `memory.pressure`
    PressureMemory,
    /// `io.pressure`
    PressureIo,
    /// `memory.stat`
    MemoryStat,
    /// `memory.events`, or `memory.oom_control` of cgroup v1
    MemoryEvents,
    /// `io.stat`, or `blkio.throttle.io_service_bytes` and `io_serviced` of cgroup v1, one after the other
    Io,
}

impl CgroupFile {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PressureCpu,
        Self::PressureMemory,
        Self::PressureIo,
        Self::MemoryStat,
        Self::MemoryEvents,
        Self::Io,
    ];
}

/// A file of the kernel that a view is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// `/proc/cpuinfo`
    Cpuinfo,
    /// `/proc/stat`
    Stat,
    /// `/proc/uptime`
    Uptime,
    /// `/proc/loadavg`
    Loadavg,
    /// `/proc/swaps`
    Swaps,
    /// `/proc/vmstat`
    Vmstat,
    /// `/proc/diskstats`
    Diskstats,
    /// `/proc/slabinfo`
    Slabinfo,
    /// `/proc/pressure/cpu`
    PressureCpu,
    /// `/proc/pressure/memory`
    PressureMemory,
    /// `/proc/pressure/io`
    PressureIo,
    /// `/sys/devices/system/cpu/online`
    CpuOnline,
    /// `/sys/devices/system/cpu/present`
    CpuPresent,
    /// `/sys/devices/system/cpu/possible`
    CpuPossible,
    /// `/sys/devices/system/node/online`
    NodeOnline,
    /// `/sys/devices/system/node/possible`
    NodePossible,
    /// `/sys/devices/system/node/has_cpu`
    NodeHasCpu,
    /// `/sys/devices/system/node/has_memory`
    NodeHasMemory,
}

impl Native {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Cpuinfo,
        Self::Stat,
        Self::Uptime,
        Self::Loadavg,
        Self::Swaps,
        Self::Vmstat,
        Self::Diskstats,
        Self::Slabinfo,
        Self::PressureCpu,
        Self::PressureMemory,
        Self::PressureIo,
        Self::CpuOnline,
        Self::CpuPresent,
        Self::CpuPossible,
        Self::NodeOnline,
        Self::NodePossible,
        Self::NodeHasCpu,
        Self::NodeHasMemory,
    ];

    /// Where it is, without the slash at the start.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Cpuinfo => "proc/cpuinfo",
            Self::Stat => "proc/stat",
            Self::Uptime => "proc/uptime",
            Self::Loadavg => "proc/loadavg",
            Self::Swaps => "proc/swaps",
            Self::Vmstat => "proc/vmstat",
            Self::Diskstats => "proc/diskstats",
            Self::Slabinfo => "proc/slabinfo",
            Self::PressureCpu => "proc/pressure/cpu",
            Self::PressureMemory => "proc/pressure/memory",
            Self::PressureIo => "proc/pressure/io",
            Self::CpuOnline => "sys/devices/system/cpu/online",
            Self::CpuPresent => "sys/devices/system/cpu/present",
            Self::CpuPossible => "sys/devices/system/cpu/possible",
            Self::NodeOnline => "sys/devices/system/node/online",
            Self::NodePossible => "sys/devices/system/node/possible",
            Self::NodeHasCpu => "sys/devices/system/node/has_cpu",
            Self::NodeHasMemory => "sys/devices/system/node/has_memory",
        }
    }
}

/// Processors as a container has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpus {
    /// The host's that are online.
    pub online: CpuList,
    /// Those that the reader's cpuset lets it run on; `None` where there is no cpuset controller.
    pub allowed: Option<CpuList>,
    /// The smallest bandwidth limit of all levels, in thousandths of a processor.
    pub quota: Option<u64>,
    /// `None` where the container has no cgroup of its own that is accounted for.
    pub time: Option<CpuTime>,
}

/// How long processors have run a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In all, in nanoseconds: what the scheduler has measured.
    pub total: u64,
    /// Of that in its programs. This and [`system`](Self::system) may be counted by the tick of a clock, in a unit of its
    /// own, and then do not add up to the whole: it is their ratio that counts.
    pub user: u64,
    /// Of that in the kernel on their behalf.
    pub system: u64,
}

impl Cpus {
    /// The host's processors that stand for the container's: of those that it may run on, the first so many as its
    /// bandwidth fills at most, and at least one.
    #[must_use]
    pub fn usable(&self) -> CpuList {
        let allowed =
            self.allowed.as_ref().map_or_else(|| self.online.clone(), |list| list.within(&self.online));
        // A cpuset whose processors all went offline is let run elsewhere.
        let allowed = if allowed.is_empty() { self.online.clone() } else { allowed };
        let most = self
            .quota
            .map_or(usize::MAX, |milli| usize::try_from(milli.div_ceil(MILLI)).unwrap_or(usize::MAX));
        allowed.truncated(most.max(1))
    }

    /// How many processors the container sees.
    #[must_use]
    pub fn count(&self) -> usize {
        self.usable().len().max(1)
    }

    /// How much of a processor it may use, in thousandths: its bandwidth, or all of the processors that it sees.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        let all = (self.count() as u64).saturating_mul(MILLI);
        self.quota.map_or(all, |quota| quota.min(all))
    }
}

/// Whose numbers a snapshot holds.
#[derive(Debug, Clone)]
pub enum Scope {
    /// The reader is in no container: the root cgroup, where the kernel charges nothing to a limit.
    Host(Box<Level>),
    /// The reader is in a container.
    Container(Container),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(online: &str, allowed: Option<&str>, quota: Option<u64>) -> Cpus {
        let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
        Cpus { online: list(online), allowed: allowed.map(list), quota, time: None }
    }

    #[test]
    fn processors_of_a_container() {
        assert_eq!(cpus("0-3", None, None).count(), 4);
        assert_eq!(cpus("0-3", None, Some(1500)).count(), 2);
        assert_eq!(cpus("0-3", None, Some(1)).count(), 1);
        assert_eq!(cpus("0-3", None, Some(0)).count(), 1);
        assert_eq!(cpus("0-3", None, Some(9000)).count(), 4);
        assert_eq!(cpus("0-3", Some("2-3"), Some(9000)).usable().to_string(), "2-3");
        assert_eq!(cpus("0-3", Some("1,3"), Some(1000)).usable().to_string(), "1");
        assert_eq!(cpus("0-1", Some("2-3"), None).count(), 2, "a cpuset that is offline as a whole");
    }

    #[test]
    fn every_need_is_another_bit() {
        let mut all = vec![Needs::USAGE, Needs::LEVELS, Needs::CPUS, Needs::START, Needs::BOOT, Needs::NODES];
        all.extend(CgroupFile::ALL.map(Needs::cgroup_file));
        all.extend(Native::ALL.map(Needs::native));
        for (index, need) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| !need.covers(*other) && !other.covers(*need)));
        }
    }
}
