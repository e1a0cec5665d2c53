//! Names of the files that are copied.

/// Files of a cgroup on the reader's path, of both versions.
pub(crate) const OF_CGROUP: &[&str] = &[
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_serviced_recursive",
    "cgroup.controllers",
    "cgroup.pressure",
    "cgroup.type",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.max",
    "cpu.pressure",
    "cpu.stat",
    "cpuacct.stat",
    "cpuacct.usage",
    "cpuacct.usage_sys",
    "cpuacct.usage_user",
    "cpuset.cpus",
    "cpuset.cpus.effective",
    "cpuset.cpus.exclusive.effective",
    "cpuset.cpus.partition",
    "cpuset.effective_cpus",
    "cpuset.effective_mems",
    "cpuset.mems.effective",
    "freezer.state",
    "io.pressure",
    "io.stat",
    "memory.events",
    "memory.limit_in_bytes",
    "memory.max",
    "memory.memsw.limit_in_bytes",
    "memory.memsw.usage_in_bytes",
    "memory.numa_stat",
    "memory.oom_control",
    "memory.pressure",
    "memory.stat",
    "memory.current",
    "memory.swap.current",
    "memory.swap.max",
    "memory.swappiness",
    "memory.usage_in_bytes",
];
/// Of these, with the size of a page between.
pub(crate) const OF_HUGE_PAGES: &[&str] = &[
    "current",
    "limit_in_bytes",
    "max",
    "rsvd.current",
    "rsvd.limit_in_bytes",
    "rsvd.max",
    "rsvd.usage_in_bytes",
    "usage_in_bytes",
];
/// Of a cgroup below the container,
pub(crate) const BELOW: &[&str] = &["memory.events", "memory.oom_control"];
/// and of any beside the path whose memory is protected.
pub(crate) const OF_PROTECTED: &[&str] = &["memory.min", "memory.stat", "memory.current"];
/// Of the host, besides those of [`HostFile`](cgprocfs_core::snapshot::HostFile).
pub(crate) const OF_HOST: &[&str] = &["meminfo", "spl/kstat/zfs/arcstats", "sys/vm/swappiness"];
/// Of its memory nodes.
pub(crate) const OF_NODES: &[&str] = &["has_cpu", "has_memory", "has_normal_memory", "online", "possible"];
/// Of each of these.
pub(crate) const OF_NODE: &[&str] = &["cpulist", "cpumap", "distance", "meminfo", "numastat", "vmstat"];
/// Links to namespaces, which readers of time look at as they are.
pub(crate) const CLOCKS: &[&str] = &["ns/time", "ns/time_for_children"];
