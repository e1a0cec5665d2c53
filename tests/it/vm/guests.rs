//! The guests that have something of their own to show.

/// A guest, and what is run there.
pub struct Guest {
    pub name: &'static str,
    pub kernel: &'static str,
    pub layout: &'static str,
    /// Modules of tests.
    pub tests: &'static [&'static str],
    /// For QEMU, and for the guest's init.
    pub options: &'static [&'static str],
    /// Tests that have to run there, and pass: those that the guest is for.
    pub shows: &'static [&'static str],
}

/// One test, with nothing beside it.
const LOAD: &[&str] = &["guest.filter=load_is_the_kernels", "guest.alone=yes"];
const NODES: &[&str] = &["qemu.nodes=2", "guest.filter=one_memory_node"];
const TWO_NODES: &[&str] = &["qemu.smp=4,sockets=2", "qemu.nodes=2"];
const OF_TOPOLOGY: &[&str] =
    &["topology::programs_agree", "topology::one_topology", "topology::a_cpuset_with_one_node"];
const OF_TIME: &[&str] = &[
    "processors::load_of_a_young_container",
    "processors::load_of_seven_hundred_cgroups",
    "processors::load_without_frozen_tasks",
    "processors::time_namespaces",
    "processors::time_under_contention",
    "processors::uptime_of_a_second_life",
    "processors::counters_never_go_back",
];

/// Only the first ones are run by default. Four processors make some boots crash, so that few guests have
/// them, and are booted once more.
pub static GUESTS: [Guest; 19] = [
    Guest {
        name: "vm::linux_6.12_v2_cpusets",
        kernel: "6.12",
        layout: "v2",
        tests: &["cpusets"],
        options: &["qemu.smp=4"],
        shows: &[
            "cpusets::some_are_given_away",
            "cpusets::all_are_given_away",
            "cpusets::some_are_given_away_by_no_partition",
            "cpusets::a_sub_cgroup_of_crun_is_isolated",
        ],
    },
    Guest {
        name: "vm::linux_6.12_v2_protected",
        kernel: "6.12",
        layout: "v2",
        tests: &["isolation"],
        options: &["guest.filter=isolation::protected"],
        shows: &["isolation::protected_children"],
    },
    Guest {
        name: "vm::linux_6.1_v2_mount",
        kernel: "6.1",
        layout: "v2",
        tests: &["mount"],
        options: &["guest.filter=unmounted"],
        shows: &["mount::unmounted_by_somebody_else"],
    },
    Guest {
        name: "vm::linux_6.1_no_memory_controller",
        kernel: "6.1",
        layout: "v2",
        tests: &["cli"],
        options: &["guest.filter=no_memory_controller", "cgroup_disable=memory"],
        shows: &["cli::no_memory_controller"],
    },
    // The others take a while. The first of them takes the longest.
    Guest {
        // Before 6.9 the kernel does not give a request out again.
        name: "vm::linux_6.1_survival",
        kernel: "6.1",
        layout: "v2",
        tests: &["survival"],
        options: &[],
        shows: &["survival::killed_again_and_again", "survival::silent_successors"],
    },
    Guest {
        name: "vm::linux_6.12_v2_isolation",
        kernel: "6.12",
        layout: "v2",
        tests: &["isolation"],
        options: &[],
        shows: &[
            "isolation::hanging_exec",
            "isolation::nested_400",
            "isolation::readers_64",
            "isolation::listings_in_small_pieces",
            "isolation::missing_names",
        ],
    },
    Guest {
        // A kernel that can't be asked for the init of a namespace.
        name: "vm::linux_6.1_hybrid_hanging",
        kernel: "6.1",
        layout: "hybrid",
        tests: &["isolation"],
        options: &["guest.filter=hanging"],
        shows: &["isolation::hanging_exec", "isolation::hanging_execs_in_many_cgroups"],
    },
    Guest {
        name: "vm::linux_6.12_v2_topology",
        kernel: "6.12",
        layout: "v2",
        tests: &["topology"],
        options: TWO_NODES,
        shows: OF_TOPOLOGY,
    },
    Guest {
        name: "vm::linux_6.1_v1_topology",
        kernel: "6.1",
        layout: "v1",
        tests: &["topology"],
        options: TWO_NODES,
        shows: OF_TOPOLOGY,
    },
    Guest {
        name: "vm::linux_6.12_v2_smt_off",
        kernel: "6.12",
        layout: "v2",
        tests: &["topology"],
        options: &["qemu.smp=4,cores=2,threads=2", "guest.smt=off"],
        shows: &["topology::programs_agree", "topology::one_topology"],
    },
    Guest {
        name: "vm::linux_6.12_v2_processors",
        kernel: "6.12",
        layout: "v2",
        tests: &["processors", "topology"],
        options: &[],
        shows: OF_TIME,
    },
    Guest {
        name: "vm::linux_6.1_hybrid_processors",
        kernel: "6.1",
        layout: "hybrid",
        tests: &["processors", "topology"],
        options: &[],
        shows: OF_TIME,
    },
    Guest {
        name: "vm::linux_6.1_hybrid_load",
        kernel: "6.1",
        layout: "hybrid",
        tests: &["processors"],
        options: LOAD,
        shows: &["processors::load_is_the_kernels"],
    },
    Guest {
        name: "vm::linux_6.12_v2_load",
        kernel: "6.12",
        layout: "v2",
        tests: &["processors"],
        options: LOAD,
        shows: &["processors::load_is_the_kernels"],
    },
    Guest {
        name: "vm::linux_6.1_v2_cpusets",
        kernel: "6.1",
        layout: "v2",
        tests: &["cpusets"],
        options: &["qemu.smp=4"],
        shows: &["cpusets::some_are_given_away", "cpusets::a_sub_cgroup_of_crun_is_isolated"],
    },
    Guest {
        name: "vm::linux_6.12_v2_nodes",
        kernel: "6.12",
        layout: "v2",
        tests: &["oracle"],
        options: NODES,
        shows: &["oracle::one_memory_node"],
    },
    Guest {
        name: "vm::linux_6.1_v1_nodes",
        kernel: "6.1",
        layout: "v1",
        tests: &["oracle"],
        options: NODES,
        shows: &["oracle::one_memory_node"],
    },
    Guest {
        name: "vm::linux_6.1_v2_zswap",
        kernel: "6.1-full",
        layout: "v2",
        tests: &["oracle"],
        options: &["zswap.enabled=1", "guest.swap=yes", "guest.filter=zswap"],
        shows: &["oracle::zswap"],
    },
    Guest {
        name: "vm::linux_6.12_v2_fleet",
        kernel: "6.12",
        layout: "v2",
        tests: &["fleet"],
        options: &["guest.filter=calls_of_a_cold_read"],
        shows: &["fleet::calls_of_a_cold_read"],
    },
];
/// So many of them are run without `CGPROCFS_VM=all`.
pub const BY_DEFAULT: usize = 4;

/// Tests that have to pass in a guest with swap whose memory controller is of v1.
pub const WITH_SWAP_ON_V1: &[&str] = &["oracle::memory_of_a_pod_whose_swap_a_sibling_fills"];

/// Tests that have to pass in a guest of the matrix with swap, or without.
pub const fn of_matrix(has_swap: bool) -> &'static [&'static str] {
    if has_swap {
        &[
            "oracle::swap",
            "oracle::swap_used_in_part",
            "oracle::swap_of_a_pod",
            "oracle::swap_of_a_pod_that_a_sibling_fills",
            "oracle::swap_of_a_pod_that_a_sibling_fills_in_part",
            "oracle::swappiness_0",
            "oracle::swappiness_0_of_a_pod",
            "oracle::swappiness_0_after_some_was_swapped",
            "oracle::swappiness_0_without_a_limit",
            "response::swap",
        ]
    } else {
        &["response::huge_pages", "response::kills_below"]
    }
}
