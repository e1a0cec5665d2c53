//! Snapshots and counters, however wild.

use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::meminfo::Meminfo as HostMeminfo;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::snapshot::{Container, HugeLevel, HugePool, Level, NodeMemory, Scope, Snapshot, Swap};
use cgprocfs_core::units::{Bytes, Kib, MAX};
use proptest::collection::vec;
use proptest::prelude::*;

pub const PAGE: u64 = 4;
pub const KERNEL_LINES: &str =
    include_str!("../../../tests/fixtures/kernel-with-new-lines/root/proc/meminfo");

/// Sizes from nothing to beyond any machine, close to each other often.
pub fn size() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..1u64 << 16, 0..1u64 << 27, 0..1u64 << 36, 0..=MAX, Just(MAX)]
}

pub fn bytes() -> impl Strategy<Value = Bytes> {
    size().prop_map(Bytes::new)
}

pub fn limit() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![Just(None), bytes().prop_map(Some)]
}

prop_compose! {
    pub fn stat()(present in vec(any::<bool>(), 26), values in vec(bytes(), 26)) -> MemoryStat {
        let v = |index: usize| present[index].then(|| values[index]);
        MemoryStat {
            anon: Some(values[0]), file: Some(values[1]),
            inactive_file: Some(values[2]), active_file: Some(values[3]),
            shmem: v(4), file_mapped: v(5), file_dirty: v(6), file_writeback: v(7), swapcached: v(8),
            swap: v(9), anon_thp: v(10), file_thp: v(11), shmem_thp: v(12), inactive_anon: v(13),
            active_anon: v(14), unevictable: v(15), kernel: v(16), slab_reclaimable: v(17),
            slab_unreclaimable: v(18), kernel_stack: v(19), pagetables: v(20), sec_pagetables: v(21),
            percpu: v(22), vmalloc: v(23), zswap: v(24), zswapped: v(25), malformed: Vec::new(),
        }
    }
}

/// Of each level of a container: all are of one version, and may be malformed.
pub fn swaps() -> impl Strategy<Value = Vec<Swap>> {
    let of = |swap: fn((Option<Bytes>, Bytes)) -> Swap| vec((limit(), bytes()).prop_map(swap), 5);
    prop_oneof![
        1 => Just(vec![Swap::Unaccounted; 5]),
        1 => vec(prop_oneof![Just(Swap::Malformed), Just(Swap::Unaccounted)], 5),
        3 => of(|(limit, usage)| Swap::V1 { limit, usage }),
        3 => of(|(limit, usage)| Swap::V2 { limit, usage }),
    ]
}

/// No counter of a kernel's.
pub fn malformed() -> impl Strategy<Value = String> {
    prop_oneof![
        "-[0-9]{1,19}",
        "[a-z]{1,9}",
        Just(String::new()),
        "1 [0-9]",
        (1u64 << 63..=u64::MAX).prop_map(|n| n.to_string()),
        Just("99999999999999999999".to_string()),
    ]
}

prop_compose! {
    pub fn level()(limit in limit(), usage in bytes(), stat in stat(), protected in bytes()) -> Level {
        Level { limit, usage: Some(usage), stat: Some(stat), protected, swap: Swap::Unaccounted }
    }
}

prop_compose! {
    pub fn pool()(
        size in prop_oneof![Just(64), Just(2048), Just(1 << 20)],
        host_total in 0..1u64 << 20,
        nodes_free in prop::option::of(0..1u64 << 20),
        levels in vec((limit(), prop::option::of(bytes()), limit(), prop::option::of(bytes())), 0..3),
        container in prop::option::of(0..3usize),
    ) -> HugePool {
        let level = |(limit, usage, reserved_limit, reserved)| HugeLevel { limit, usage, reserved_limit, reserved };
        let levels = levels.into_iter().map(level).collect();
        HugePool { size: Kib::new(size), host_total, nodes_free, levels, container }
    }
}

prop_compose! {
    /// The running kernel's lines with any values, in which free is not above total: that much is the
    /// kernel's word.
    pub fn host()(values in vec(size(), KERNEL_LINES.lines().count()), total in PAGE..1u64 << 40) -> HostMeminfo {
        let mut text = String::new();
        for (line, value) in KERNEL_LINES.lines().zip(values) {
            let (key, rest) = line.split_once(':').unwrap();
            let value = match key {
                "MemTotal" => total,
                "MemFree" | "MemAvailable" => value.min(total),
                "Hugepagesize" => 2048,
                _ => value,
            };
            let unit = if rest.ends_with("kB") { " kB" } else { "" };
            text += &format!("{key}: {value}{unit}\n");
        }
        HostMeminfo::parse(text.into_bytes()).unwrap()
    }
}

prop_compose! {
    pub fn snapshot()(
        meminfo in host(),
        mut levels in vec(level(), 1..5),
        swaps in swaps(),
        index in any::<prop::sample::Index>(),
        huge_pages in prop_oneof![Just(None), vec(pool(), 0..3).prop_map(Some)],
        swappiness in prop_oneof![Just(None), Just(Some(0)), Just(Some(60))],
        nodes in prop::option::of((size(), size(), size())),
        zfs_reclaimable in size(),
    ) -> Snapshot {
        levels.iter_mut().zip(swaps).for_each(|(level, swap)| level.swap = swap);
        let index = index.index(levels.len());
        let nodes = nodes.map(|(total, free, reclaimable)| NodeMemory {
            total: Kib::new(total), free: Kib::new(free), reclaimable: Kib::new(reclaimable),
        });
        let zfs_reclaimable = Kib::new(zfs_reclaimable);
        let scope = Scope::Container(Container { levels, index, huge_pages, swappiness, nodes, zfs_reclaimable });
        Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope)
    }
}
