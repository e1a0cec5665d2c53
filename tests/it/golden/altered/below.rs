//! Readers in a cgroup below their container, in some hierarchies or in all.

use super::Altered;

const BOUNDARY: &str = "../boundary";
const OF_READER: &str = "proc/8/cgroup";

/// The reader of `v1-processors`, in a cgroup of its own where an init system has made one.
macro_rules! in_hierarchies {
    ($blkio:literal, $cpu:literal, $memory:literal) => {
        concat!(
            "7:blkio:/pod/ctr",
            $blkio,
            "\n6:cpuset:/pod/ctr\n5:cpu,cpuacct:/pod/ctr",
            $cpu,
            "\n4:memory:/pod/ctr",
            $memory,
            "\n1:name=systemd:/pod/ctr\n0::/\n"
        )
    };
}
macro_rules! of_service {
    ($file:literal) => {
        concat!("sys/fs/cgroup/memory/pod/ctr/ssh.service/", $file)
    };
}
macro_rules! leaf {
    ($file:literal) => {
        concat!("sys/fs/cgroup/pod/ctr/leaf/", $file)
    };
}

/// A host with hardly any memory left.
const SHORT: &str =
    "MemTotal: 16777216 kB\nMemFree: 10000 kB\nMemAvailable: 20000 kB\nCached: 10000 kB\nAnonPages: 0 kB\n";
const IN_LEAF: (&str, Option<&str>) = ("proc/31337/cgroup", Some("0::/pod/ctr/leaf\n"));
const STAT: (&str, Option<&str>) = (
    leaf!("memory.stat"),
    Some("anon 4194304\nfile 1048576\ninactive_file 1048576\nactive_file 0\nslab_reclaimable 0\n"),
);

pub const BELOW: &[Altered] = &[
    Altered {
        name: "a_service_in_the_memory_hierarchy_alone",
        case: "v1-processors",
        odd: &[
            (BOUNDARY, Some("/pod/ctr\n")),
            (OF_READER, Some(in_hierarchies!("", "", "/ssh.service"))),
            (of_service!("memory.limit_in_bytes"), Some("9223372036854771712\n")),
            (of_service!("memory.usage_in_bytes"), Some("4096\n")),
            (
                of_service!("memory.stat"),
                Some("total_cache 0\ntotal_rss 0\ntotal_inactive_file 0\ntotal_active_file 0\n"),
            ),
            (of_service!("memory.swappiness"), Some("60\n")),
            (of_service!("tasks"), Some("8\n")),
        ],
        as_if: &[],
        views: &["proc/stat", "proc/uptime", "proc/diskstats", "proc/cpuinfo"],
    },
    Altered {
        name: "a_service_in_all_hierarchies_but_that_of_memory",
        case: "v1-processors",
        odd: &[
            (BOUNDARY, Some("/pod/ctr\n")),
            (OF_READER, Some(in_hierarchies!("/ssh.service", "/ssh.service", ""))),
        ],
        as_if: &[],
        views: &["proc/stat", "proc/uptime", "proc/diskstats", "proc/cpuinfo", "proc/meminfo"],
    },
    // What the smaller limit is of is shown, however much the host has left.
    Altered {
        name: "a_smaller_limit_on_a_host_that_is_short_of_memory",
        case: "v2-swap-taken-by-sibling",
        odd: &[
            (BOUNDARY, Some("/pod/ctr\n")),
            IN_LEAF,
            STAT,
            (leaf!("memory.max"), Some("52428800\n")),
            (leaf!("memory.current"), Some("5242880\n")),
            ("proc/meminfo", Some(SHORT)),
        ],
        as_if: &[
            (BOUNDARY, Some("/pod/ctr/leaf\n")),
            IN_LEAF,
            STAT,
            (leaf!("memory.max"), Some("52428800\n")),
            (leaf!("memory.current"), Some("5242880\n")),
            ("proc/meminfo", Some(SHORT)),
        ],
        views: &["proc/meminfo"],
    },
    // Nothing is left below it, as below a level above the container.
    Altered {
        name: "a_malformed_usage_below_the_container",
        case: "v2-swap-taken-by-sibling",
        odd: &[
            (BOUNDARY, Some("/pod/ctr\n")),
            IN_LEAF,
            STAT,
            (leaf!("memory.max"), Some("8589934592\n")),
            (leaf!("memory.current"), Some("odd\n")),
            ("sys/fs/cgroup/pod/ctr/memory.max", Some("4294967296\n")),
        ],
        as_if: &[
            (BOUNDARY, Some("/pod/ctr\n")),
            IN_LEAF,
            STAT,
            (leaf!("memory.max"), Some("8589934592\n")),
            (leaf!("memory.current"), Some("8589934592\n")),
            ("sys/fs/cgroup/pod/ctr/memory.max", Some("4294967296\n")),
        ],
        views: &["proc/meminfo", "proc/swaps"],
    },
];
