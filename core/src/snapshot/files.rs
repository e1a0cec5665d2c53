//! Files of the kernel that are taken as they are.

use crate::parse::CgroupVersion;

/// A file of a container's cgroup that a view is made from, besides those of [`Level`](super::Level).
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
    /// All files that can be asked for.
    pub const ALL: [Self; 6] = [
        Self::PressureCpu,
        Self::PressureMemory,
        Self::PressureIo,
        Self::MemoryStat,
        Self::MemoryEvents,
        Self::Io,
    ];
}

/// The text of a file of a container's cgroup, with the version whose format it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFile {
    /// The version of the cgroup interface.
    pub version: CgroupVersion,
    /// The text as the kernel has written it.
    pub text: Vec<u8>,
}

/// A file of the kernel that a view is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFile {
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

impl HostFile {
    /// All files that can be asked for.
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
