//! The names of the memory controller's files in a cgroup (`mm/memcontrol.c`, `mm/memcontrol-v1.c`).
//! `memory.stat` has the same name in both versions.

use super::CgroupVersion;

/// The names in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryFileNames {
    /// How much the cgroup uses.
    pub usage: &'static str,
    /// How much it may use.
    pub limit: &'static str,
    /// Limit and usage: with v1 of memory and swap together, with v2 of swap.
    pub swap: [&'static str; 2],
}

impl MemoryFileNames {
    /// The names in a version of the cgroup interface.
    #[must_use]
    pub const fn of(version: CgroupVersion) -> Self {
        match version {
            CgroupVersion::V1 => Self {
                usage: "memory.usage_in_bytes",
                limit: "memory.limit_in_bytes",
                swap: ["memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"],
            },
            CgroupVersion::V2 => Self {
                usage: "memory.current",
                limit: "memory.max",
                swap: ["memory.swap.max", "memory.swap.current"],
            },
        }
    }
}
