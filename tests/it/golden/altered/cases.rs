//! What is odd in which tree, and what a reader is told it were.

use super::Altered;

const WRAPPED: Option<&str> = Some("18446744073709551615\n");
const OF_CPUS: &[&str] =
    &["proc/stat", "proc/uptime", "proc/loadavg", "proc/cpuinfo", "sys/devices/system/cpu/online"];
const WITHOUT_TIME: &[&str] = &["proc/cpuinfo", "proc/loadavg", "sys/devices/system/cpu/online"];
const MEMINFO: &[&str] = &["proc/meminfo"];
const OF_MEMORY: &[&str] = &["proc/meminfo", "working_set"];
const OF_SWAP: &[&str] = &["proc/meminfo", "proc/swaps"];

macro_rules! slice {
    ($file:literal) => {
        concat!("sys/fs/cgroup/kubepods.slice/", $file)
    };
}
macro_rules! burstable {
    ($file:literal) => {
        concat!("sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/", $file)
    };
}
macro_rules! scope {
    ($file:literal) => {
        concat!(
            "sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/",
            "kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice/cri-containerd-",
            "aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8.scope/",
            $file
        )
    };
}
macro_rules! node {
    ($file:literal) => {
        concat!("sys/devices/system/node/", $file)
    };
}

const NODE_1: &str =
    "Node 1 MemTotal:       134217728 kB\nNode 1 MemFree: 0 kB\nNode 1 Active(file):   524288 kB\n";

pub const CASES: &[Altered] = &[
    Altered {
        name: "v2_time_in_programs",
        case: "v2-processors",
        odd: &[(
            scope!("cpu.stat"),
            Some("usage_usec 30500000\nuser_usec -4\nsystem_usec 10200000\nnr_periods -1\n"),
        )],
        as_if: &[],
        views: OF_CPUS,
    },
    Altered {
        name: "v2_time_in_the_kernel",
        case: "v2-processors",
        odd: &[(scope!("cpu.stat"), Some("usage_usec 30500000\nuser_usec 20300000\nsystem_usec x\n"))],
        as_if: &[],
        views: OF_CPUS,
    },
    Altered {
        name: "v1_time_in_programs",
        case: "v1-processors",
        odd: &[("sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.stat", Some("user -1\nsystem 235\n"))],
        as_if: &[("sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.stat", Some("user 1085\nsystem 235\n"))],
        views: OF_CPUS,
    },
    // Who does not show it is not denied anything.
    Altered {
        name: "v2_whole_time",
        case: "v2-processors",
        odd: &[(scope!("cpu.stat"), Some("usage_usec -4\nuser_usec 1\nsystem_usec 1\n"))],
        as_if: &[],
        views: WITHOUT_TIME,
    },
    Altered {
        name: "v1_whole_time",
        case: "v1-processors",
        odd: &[("sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.usage", WRAPPED)],
        as_if: &[],
        views: WITHOUT_TIME,
    },
    Altered {
        name: "v2_quota",
        case: "v2-processors",
        odd: &[
            (slice!("cpu.max"), Some("max -5\n")),
            (burstable!("cpu.max"), Some("-1 100000\n")),
            (scope!("cpu.max"), Some("x\n")),
        ],
        as_if: &[
            (slice!("cpu.max"), Some("max 100000\n")),
            (burstable!("cpu.max"), Some("max 100000\n")),
            (scope!("cpu.max"), Some("max 100000\n")),
        ],
        views: OF_CPUS,
    },
    Altered {
        name: "v1_quota",
        case: "v1-processors",
        odd: &[("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", Some("-5\n"))],
        as_if: &[("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", Some("-1\n"))],
        views: OF_CPUS,
    },
    Altered {
        name: "v2_cpuset",
        case: "v2-processors",
        odd: &[(scope!("cpuset.cpus.effective"), Some("0-3,x\n"))],
        as_if: &[(scope!("cpuset.cpus.effective"), Some("0-3\n"))],
        views: OF_CPUS,
    },
    Altered {
        name: "v2_cpusets_of_all_levels",
        case: "v2-processors",
        odd: &[
            (scope!("cpuset.cpus.effective"), Some("0-3,x\n")),
            (scope!("cpuset.cpus.exclusive.effective"), Some("-\n")),
            ("sys/fs/cgroup/cpuset.cpus.effective", Some("0-3,x\n")),
        ],
        as_if: &[(scope!("cpuset.cpus.effective"), None), ("sys/fs/cgroup/cpuset.cpus.effective", None)],
        views: OF_CPUS,
    },
    Altered {
        name: "v1_cpuset",
        case: "v1-processors",
        odd: &[("sys/fs/cgroup/cpuset/pod/ctr/cpuset.effective_cpus", Some("0-3,x\n"))],
        as_if: &[("sys/fs/cgroup/cpuset/pod/ctr/cpuset.effective_cpus", None)],
        views: OF_CPUS,
    },
    // One above the container that makes no sense leaves nothing, and denies nobody below it his own numbers.
    Altered {
        name: "v2_usage_above",
        case: "v2-kubernetes",
        odd: &[(slice!("memory.current"), WRAPPED)],
        as_if: &[(slice!("memory.current"), Some("24696061952\n"))],
        views: OF_MEMORY,
    },
    Altered {
        name: "v1_usage_above",
        case: "v1-swap-taken-by-sibling",
        odd: &[("sys/fs/cgroup/memory/pod/memory.usage_in_bytes", WRAPPED)],
        as_if: &[("sys/fs/cgroup/memory/pod/memory.usage_in_bytes", Some("2147483648\n"))],
        views: OF_MEMORY,
    },
    Altered {
        name: "v2_swap_above",
        case: "v2-swap-taken-by-sibling",
        odd: &[("sys/fs/cgroup/pod/memory.swap.current", WRAPPED)],
        as_if: &[],
        views: OF_SWAP,
    },
    Altered {
        name: "v1_swap_above",
        case: "v1-swap-taken-by-sibling",
        odd: &[("sys/fs/cgroup/memory/pod/memory.memsw.usage_in_bytes", WRAPPED)],
        as_if: &[("sys/fs/cgroup/memory/pod/memory.memsw.usage_in_bytes", Some("3221225472\n"))],
        views: OF_SWAP,
    },
    Altered {
        name: "huge_pages_of_the_host",
        case: "v2-huge-pages",
        odd: &[("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", Some("x\n"))],
        as_if: &[("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", Some("0\n"))],
        views: MEMINFO,
    },
    Altered {
        name: "huge_pages_above",
        case: "v2-huge-pages",
        odd: &[("sys/fs/cgroup/pod/hugetlb.2MB.current", WRAPPED)],
        as_if: &[("sys/fs/cgroup/pod/hugetlb.2MB.current", Some("209715200\n"))],
        views: MEMINFO,
    },
    Altered {
        name: "huge_pages_reserved",
        case: "v2-huge-pages",
        odd: &[("sys/fs/cgroup/pod/ctr/hugetlb.2MB.rsvd.current", WRAPPED)],
        as_if: &[("sys/fs/cgroup/pod/ctr/hugetlb.2MB.rsvd.current", Some("0\n"))],
        views: MEMINFO,
    },
    Altered {
        name: "huge_pages_reserved_below_a_limit",
        case: "v2-huge-pages",
        odd: &[
            ("sys/fs/cgroup/pod/hugetlb.2MB.rsvd.max", Some("104857600\n")),
            ("sys/fs/cgroup/pod/hugetlb.2MB.rsvd.current", WRAPPED),
            ("sys/fs/cgroup/pod/ctr/hugetlb.2MB.rsvd.current", Some("0\n")),
        ],
        as_if: &[
            ("sys/fs/cgroup/pod/hugetlb.2MB.rsvd.max", Some("104857600\n")),
            ("sys/fs/cgroup/pod/hugetlb.2MB.rsvd.current", Some("104857600\n")),
            ("sys/fs/cgroup/pod/ctr/hugetlb.2MB.rsvd.current", Some("0\n")),
        ],
        views: MEMINFO,
    },
    Altered {
        name: "free_memory_of_a_node",
        case: "v2-one-memory-node",
        odd: &[(
            node!("node1/meminfo"),
            Some(
                "Node 1 MemTotal:       134217728 kB\nodd\nNode 1 MemFree: -1 kB\nNode 1 Active(file):   524288 kB\n",
            ),
        )],
        as_if: &[(node!("node1/meminfo"), Some(NODE_1))],
        views: &["proc/meminfo", "sys/devices/system/node/online"],
    },
    Altered {
        name: "the_total_of_a_node",
        case: "v2-one-memory-node",
        odd: &[(node!("node1/meminfo"), Some("Node 1 MemTotal:       -1 kB\nNode 1 MemFree: 0 kB\n"))],
        as_if: &[(node!("node1/meminfo"), Some("Node 1 MemTotal:       0 kB\nNode 1 MemFree: 0 kB\n"))],
        views: &["proc/meminfo", "sys/devices/system/node/online"],
    },
    Altered {
        name: "a_kernel_without_effective_cpusets",
        case: "v1-processors",
        odd: &[
            ("sys/fs/cgroup/cpuset/pod/ctr/cpuset.effective_cpus", None),
            ("sys/fs/cgroup/cpuset/pod/ctr/cpuset.cpus", Some("0,2\n")),
        ],
        as_if: &[],
        views: OF_CPUS,
    },
    Altered {
        name: "processors_that_are_offline",
        case: "v1-processors",
        odd: &[
            ("sys/fs/cgroup/cpuset/pod/ctr/cpuset.effective_cpus", Some("9\n")),
            ("sys/fs/cgroup/cpuset/pod/cpuset.effective_cpus", Some("0,2,9\n")),
        ],
        as_if: &[],
        views: OF_CPUS,
    },
    Altered {
        name: "a_node_that_is_gone",
        case: "v2-one-memory-node",
        odd: &[
            (node!("node1/meminfo"), None),
            (node!("node1/hugepages/hugepages-2048kB/nr_hugepages"), None),
            ("sys/fs/cgroup/ctr/cpuset.mems.effective", Some("1\n")),
        ],
        as_if: &[(node!("node1/meminfo"), None), ("sys/fs/cgroup/ctr/cpuset.mems.effective", Some("0-1\n"))],
        views: MEMINFO,
    },
    Altered {
        name: "nodes_of_a_cpuset",
        case: "v2-one-memory-node",
        odd: &[("sys/fs/cgroup/ctr/cpuset.mems.effective", Some("1,x\n"))],
        as_if: &[("sys/fs/cgroup/ctr/cpuset.mems.effective", None)],
        views: MEMINFO,
    },
];
