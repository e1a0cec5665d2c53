//! Everything that was read for one answer: plain data, filled by whoever reads the kernel's files, consumed
//! by [`view`](crate::view).

mod files;
mod huge_pages;
mod memory;
mod needs;
mod nodes;
mod swap;
mod text;

pub use self::files::{CgroupFile, HostFile, RawFile};
pub use self::huge_pages::{HugeLevel, HugePool};
pub use self::memory::{Container, Level, NodeMemory, Room};
pub use self::needs::Needs;
pub use self::nodes::{HostNode, Nodes};
pub use self::swap::Swap;
use crate::parse::pid::Pid;

use crate::cpu::Cpus;
use crate::cpu::account::CpuCounters;
use crate::error::ViewError;
use crate::load_average::LoadAvg;
use crate::machine::Machine;
use crate::parse::ParseError;
use crate::parse::meminfo::Meminfo;
use crate::parse::numa_stat::NumaStat;
use crate::time::{BootTime, ClockOffset, Ticks, WallTime};
use std::sync::Arc;

/// A consistent reading of everything that one answer is made from.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The host's `/proc/meminfo`; loaded with [`Needs::LEVELS`].
    pub meminfo: Option<Arc<Meminfo>>,
    /// The machine whose clock ticks and pages these numbers are in.
    pub machine: Machine,
    /// Whom the numbers belong to.
    pub scope: Scope,
    /// The container's processors; loaded with [`Needs::CPUS`].
    pub cpus: Option<Cpus>,
    /// How long the host had run when the time of the processors was read; loaded with [`Needs::CPU_TIME`].
    pub uptime: Option<BootTime>,
    /// The memory nodes; loaded with [`Needs::NODES`].
    pub nodes: Option<Nodes>,
    /// `memory.numa_stat` of the level whose numbers `proc/meminfo` shows, where the kernel counts by node;
    /// loaded with [`Needs::NUMA_STAT`].
    pub numa_stat: Option<NumaStat>,
    /// When the container started, after the host's boot; loaded with [`Needs::START`].
    pub start: Option<Ticks>,
    /// Whether that is certain. Until all of its processes were seen, it may have started earlier.
    pub start_is_certain: bool,
    /// When the host was booted, for the reader; loaded with [`Needs::BOOT`].
    pub boot: Boot,
    /// What the container's processors have counted; loaded with [`Needs::COUNTERS`].
    pub counters: Option<CpuCounters>,
    /// The container's load; loaded with [`Needs::LOAD`].
    pub load: Option<LoadAvg>,
    /// The process id of a reader in no container, in its own pid namespace, where that is another than ours;
    /// loaded with [`Needs::LOAD`].
    pub last_pid: Option<Pid>,
    /// Texts of files of the container's cgroup, `None` where it has no such file or no cgroup in that
    /// hierarchy; loaded with [`Needs::cgroup_file`].
    pub cgroup_files: Vec<(CgroupFile, Option<RawFile>)>,
    /// Texts of the kernel's own files; loaded with [`Needs::host_file`].
    pub host_files: Vec<(HostFile, Arc<[u8]>)>,
}

impl Snapshot {
    /// A snapshot with nothing but numbers of memory.
    #[must_use]
    pub const fn of_memory(meminfo: Option<Arc<Meminfo>>, machine: Machine, scope: Scope) -> Self {
        Self {
            meminfo,
            machine,
            scope,
            cpus: None,
            uptime: None,
            nodes: None,
            numa_stat: None,
            start: None,
            start_is_certain: false,
            boot: Boot { offset: ClockOffset::NONE, at: None },
            counters: None,
            load: None,
            last_pid: None,
            cgroup_files: Vec::new(),
            host_files: Vec::new(),
        }
    }

    /// How long the host had run when the processors were read.
    ///
    /// # Errors
    /// Where it was not loaded.
    pub fn uptime(&self) -> Result<BootTime, ViewError> {
        self.uptime.ok_or(ViewError::NotLoaded("the host's uptime"))
    }

    /// What the container's processors have counted.
    ///
    /// # Errors
    /// Where it was not loaded, or the time that the container has run is malformed.
    pub fn counters(&self) -> Result<&CpuCounters, ViewError> {
        let has_malformed_time = self.cpus.as_ref().is_some_and(|cpus| cpus.has_malformed_time);
        self.counters.as_ref().ok_or(match has_malformed_time {
            true => ViewError::Malformed("the cgroup's CPU time", ParseError::NotANumber),
            false => ViewError::NotLoaded("the processors' counters"),
        })
    }

    /// Replaces all that comes from the memory controller.
    pub fn replace_memory(&mut self, newer: Self) {
        (self.meminfo, self.scope, self.numa_stat) = (newer.meminfo, newer.scope, newer.numa_stat);
        self.cgroup_files.retain(|(file, _)| *file != CgroupFile::MemoryStat);
        self.cgroup_files.extend(newer.cgroup_files);
    }

    /// A file of the container's cgroup; `None` where there is none.
    ///
    /// # Errors
    /// Where it was not loaded.
    pub fn cgroup_file(&self, file: CgroupFile) -> Result<Option<&RawFile>, ViewError> {
        let found = self.cgroup_files.iter().find(|(known, _)| *known == file);
        found.map(|(_, raw)| raw.as_ref()).ok_or(ViewError::NotLoaded("a file of the container's cgroup"))
    }

    /// The kernel's own text of a file.
    ///
    /// # Errors
    /// Where it was not loaded.
    pub fn host_file(&self, file: HostFile) -> Result<&[u8], ViewError> {
        let found = self.host_files.iter().find(|(known, _)| *known == file);
        found.map(|(_, text)| &**text).ok_or(ViewError::NotLoaded(file.path()))
    }
}

/// The host's boot, as it looks from the reader's time namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Boot {
    /// How much longer ago the boot is in the reader's time namespace than on the host.
    pub offset: ClockOffset,
    /// When the host was booted, where the kernel's own text is not exact enough.
    pub at: Option<WallTime>,
}

/// Whom the numbers of a snapshot belong to.
#[derive(Debug, Clone)]
pub enum Scope {
    /// The reader is in no container: the root cgroup, where the kernel charges nothing to a limit.
    Host(Box<Level>),
    /// The reader is in a container.
    Container(Container),
}
