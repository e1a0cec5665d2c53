//! The names of the files that are copied.

/// Files of a cgroup on the reader's path, of both cgroup versions.
pub(crate) const CGROUP_FILES: &[&str] = &[
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
/// Files of the hugetlb controller, of both versions, as named after `hugetlb.SIZE.`.
pub(crate) const HUGETLB_FILES: &[&str] = &[
    "current",
    "limit_in_bytes",
    "max",
    "rsvd.current",
    "rsvd.limit_in_bytes",
    "rsvd.max",
    "rsvd.usage_in_bytes",
    "usage_in_bytes",
];
/// Files of a cgroup below the container.
pub(crate) const NESTED_FILES: &[&str] = &["memory.events", "memory.oom_control"];
/// Files of a cgroup beside the reader's path whose memory is protected.
pub(crate) const PROTECTED_FILES: &[&str] = &["memory.min", "memory.stat", "memory.current"];
/// Files of the host's `/proc`, besides those of [`HostFile`](cgprocfs_core::snapshot::HostFile).
pub(crate) const PROC_FILES: &[&str] = &["meminfo", "spl/kstat/zfs/arcstats", "sys/vm/swappiness"];
/// Lists of memory nodes in `/sys/devices/system/node`.
pub(crate) const NODE_LISTS: &[&str] = &["has_cpu", "has_memory", "has_normal_memory", "online", "possible"];
/// Files of each memory node.
pub(crate) const NODE_FILES: &[&str] = &["cpulist", "cpumap", "distance", "meminfo", "numastat", "vmstat"];
/// Files of a processor's `topology` (include/linux/topology.h, drivers/base/topology.c).
pub(crate) const TOPOLOGY_FILES: &[&str] = &[
    "book_id",
    "book_siblings",
    "book_siblings_list",
    "cluster_cpus",
    "cluster_cpus_list",
    "cluster_id",
    "core_cpus",
    "core_cpus_list",
    "core_id",
    "core_siblings",
    "core_siblings_list",
    "die_cpus",
    "die_cpus_list",
    "die_id",
    "drawer_id",
    "drawer_siblings",
    "drawer_siblings_list",
    "package_cpus",
    "package_cpus_list",
    "physical_package_id",
    "thread_siblings",
    "thread_siblings_list",
];
/// Files of each of its caches (drivers/base/cacheinfo.c).
pub(crate) const CACHE_FILES: &[&str] = &[
    "coherency_line_size",
    "id",
    "level",
    "number_of_sets",
    "physical_line_partition",
    "shared_cpu_list",
    "shared_cpu_map",
    "size",
    "type",
    "ways_of_associativity",
];
/// Links to time namespaces, which are copied as they are.
pub(crate) const TIME_NAMESPACES: &[&str] = &["ns/time", "ns/time_for_children"];
