//! Counters that make no sense.

use super::invariants::*;
use super::strategies::*;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::cpu_stat::CpuStat;
use cgprocfs_core::parse::meminfo::{Field, Meminfo as HostMeminfo};
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::parse::{CgroupVersion, counter};
use cgprocfs_core::snapshot::{
    CgroupFile, Container, HostFile, HugePool, Level, RawFile, Scope, Snapshot, Swap,
};
use cgprocfs_core::time::{Nanos, TickRate};
use cgprocfs_core::units::{Bytes, Kib, MAX};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A counter that makes no sense is 0, and makes no other line another one, in whatever view; one that
    /// nothing uses does not matter.
    #[test]
    fn a_malformed_counter_makes_its_own_line_0(
        version in prop_oneof![Just(CgroupVersion::V1), Just(CgroupVersion::V2)],
        limit in prop_oneof![Just(None), (0..USAGE * 2).prop_map(|above| Some(Bytes::new(USAGE + above)))],
        line in any::<prop::sample::Index>(),
        malformed in malformed(),
    ) {
        let all_views = |statistics: &str| all_views(version, limit, statistics);
        let lines: Vec<&str> = STATISTICS[usize::from(version == CgroupVersion::V2)].lines().collect();
        let line = line.index(lines.len());
        let (key, _) = lines[line].split_once(' ').unwrap();
        let shown = |of_key: &str| {
            let text = lines.iter().enumerate().map(|(index, known)| match known.split_once(' ') {
                Some((key, _)) if index == line => format!("{key} {of_key}\n"),
                _ => format!("{known}\n"),
            });
            all_views(&text.collect::<String>())
        };
        let whole = lines.join("\n") + "\n";
        let (with_malformed, with_0, without) = (shown(&malformed), shown("0"), all_views(&whole));
        // But for its own lines, and those that are computed from it, all is as if it were not malformed.
        for ((line, of_0), other) in with_malformed[0].lines().zip(with_0[0].lines()).zip(without[0].lines()) {
            let name = line.split(':').next().unwrap();
            let is_its_own = lines_of(key).contains(&name);
            // Without the page cache that is bounded by what its lists have, of which shared memory may be on
            // another.
            let is_as_much = name == "MemAvailable" && line >= other && matches!(key, "file" | "total_cache");
            // Below a limit, what is available has the part of it that could be reclaimed: that of 0 is none.
            let can_be_reclaimed =
                ["active_file", "inactive_file", "slab_reclaimable"].iter().any(|part| key.ends_with(part));
            let is_less = name == "MemAvailable" && line == of_0 && limit.is_some() && can_be_reclaimed;
            prop_assert!(
                line == other || is_its_own || is_as_much || is_less,
                "{key}: {line} instead of {other}"
            );
        }
        prop_assert!(with_malformed[1] == without[1] || key.ends_with("inactive_file"), "{}", key);
        // An amount is that of meminfo, and a count that is malformed is 0.
        for (line, of_zero) in with_malformed[2].lines().zip(with_0[2].lines()) {
            let (name, pages) = line.split_once(' ').unwrap();
            match AMOUNTS_OF_VMSTAT.iter().find(|(amount, _)| *amount == name) {
                Some((_, field)) => {
                    let page = Machine::USUAL.page.get();
                    let amount = kib_of(field, &with_malformed[0]);
                    prop_assert_eq!(pages.parse::<u64>().unwrap(), amount / page, "{}: {}", key, name);
                }
                None => prop_assert_eq!(line, of_zero, "{}", key),
            }
        }
        prop_assert_eq!(all_views(&format!("{whole}unused {malformed}\n")), all_views(&whole));
    }

    /// Of the times of a cgroup the parts are malformed at most: the other one says what such a part is.
    #[test]
    fn a_malformed_part_of_a_time_is_the_rest_of_the_whole(user in 0..1u64 << 38, system in 0..1u64 << 38, malformed in malformed(), is_user in any::<bool>()) {
        let whole = user + system;
        let lines = |user: &str, system: &str| {
            format!("usage_usec {whole}\nuser_usec {user}\nsystem_usec {system}\nnr_throttled {malformed}\n")
        };
        let (user, system) = (user.to_string(), system.to_string());
        let (user_malformed, system_malformed) = if is_user { (&malformed, &system) } else { (&user, &malformed) };
        let plain = CpuStat::parse(lines(&user, &system).as_bytes()).unwrap();
        let with_malformed = CpuStat::parse(lines(user_malformed, system_malformed).as_bytes()).unwrap();
        prop_assert_eq!((plain.time, plain.malformed), (with_malformed.time, Vec::new()));
        prop_assert_eq!(with_malformed.malformed, [if is_user { "user_usec" } else { "system_usec" }]);
        let of_v1 = |user: &str, system: &str| {
            let text = format!("user {user}\nsystem {system}\n");
            CpuStat::parse_v1(Nanos::new(whole * 10_000_000), text.as_bytes(), TickRate::USUAL).unwrap()
        };
        prop_assert_eq!(of_v1(user_malformed, system_malformed).time, of_v1(&user, &system).time);
        let senseless = format!("usage_usec {malformed}\nuser_usec 1\nsystem_usec 1\n");
        prop_assert!(CpuStat::parse(senseless.as_bytes()).is_err());
    }

    /// A malformed usage of swap leaves none of it, and makes no other line another one than swap that is all
    /// taken.
    #[test]
    fn a_malformed_usage_of_swap_leaves_none(snapshot in snapshot(), limit in limit(), malformed in malformed(), is_v1 in any::<bool>()) {
        let version = if is_v1 { CgroupVersion::V1 } else { CgroupVersion::V2 };
        let usage = |text: &str| counter::usage(format!("{text}\n").as_bytes()).ok();
        let with = |swap: Swap| {
            let mut snapshot = snapshot.clone();
            of_reader(&mut snapshot).swap = swap;
            snapshot
        };
        let snapshot = with(Swap::of(version, Some(limit), usage(&malformed)));
        check_invariants(&snapshot)?;
        // With one limit on both together, memory that is given back can be swap.
        let is_real = snapshot.meminfo.as_ref().unwrap().kib(Field::SwapTotal) <= Bytes::new(MAX).to_kib();
        prop_assert!(is_v1 || !is_real || printed(&snapshot)["SwapFree"] == 0);
        if let Some(limit) = limit {
            let full = with(Swap::of(version, Some(Some(limit)), usage(&limit.to_string())));
            prop_assert_eq!(render("proc/meminfo", &snapshot), render("proc/meminfo", &full));
        }
    }

    /// Likewise huge pages.
    #[test]
    fn a_malformed_usage_of_huge_pages_leaves_none(snapshot in snapshot(), pool in pool(), level in any::<prop::sample::Index>(), is_reserved in any::<bool>()) {
        let mut snapshot = snapshot;
        let mut pool = HugePool { size: Kib::new(2048), ..pool };
        prop_assume!(!pool.levels.is_empty());
        let index = level.index(pool.levels.len());
        let level = &mut pool.levels[index];
        if is_reserved { level.reserved = None } else { level.usage = None };
        let is_limited = if is_reserved { level.reserved_limit } else { level.limit }.is_some();
        let is_container = pool.container == Some(index);
        let Scope::Container(container) = &mut snapshot.scope else { unreachable!() };
        container.huge_pages = Some(vec![pool.clone()]);
        check_invariants(&snapshot)?;
        let p = printed(&snapshot);
        // What is promised to the container is its own still.
        prop_assert!(!is_limited || is_reserved && !is_container && pool.container.is_some() || p["HugePages_Free"] == 0);
        prop_assert!(!is_container || p["HugePages_Rsvd"] == 0);
    }
}

/// Of a container on cgroup v1, and on v2.
const STATISTICS: [&str; 2] = [
    include_str!("../../../tests/fixtures/v1-docker/root/sys/fs/cgroup/memory/memory.stat"),
    include_str!("../../../tests/fixtures/v2-kubernetes/root/sys/fs/cgroup/memory.stat"),
];

/// What the container uses.
const USAGE: u64 = 1 << 30;

/// What the views that are made from `memory.stat` say of a container with this limit and these statistics.
fn all_views(version: CgroupVersion, limit: Option<Bytes>, statistics: &str) -> Vec<String> {
    let level = Level {
        limit,
        usage: Some(Bytes::new(USAGE)),
        stat: Some(MemoryStat::parse(version, statistics.as_bytes()).unwrap()),
        ..Level::default()
    };
    let meminfo = HostMeminfo::parse(KERNEL_LINES.into()).unwrap();
    let container = Container { levels: vec![level], ..Container::default() };
    let mut snapshot = Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, Scope::Container(container));
    snapshot.cgroup_files.push((CgroupFile::MemoryStat, Some(RawFile { version, text: statistics.into() })));
    snapshot.cgroup_files.push((CgroupFile::MemoryEvents, None));
    snapshot.cgroup_files.push((CgroupFile::Io, None));
    let keys = "nr_free_pages 1\nnr_inactive_file 1\nnr_anon_pages 1\nnr_slab_reclaimable 1\nnr_dirty 1\npgfault 1\npgscan_kswapd 1\n";
    snapshot.host_files.push((HostFile::Vmstat, keys.as_bytes().into()));
    ["proc/meminfo", "working_set", "proc/vmstat"].map(|view| render(view, &snapshot)).to_vec()
}

/// Keys of `proc/vmstat` that are amounts, and the lines of `proc/meminfo` with the same.
const AMOUNTS_OF_VMSTAT: [(&str, &str); 5] = [
    ("nr_free_pages", "MemFree:"),
    ("nr_inactive_file", "Inactive(file):"),
    ("nr_anon_pages", "AnonPages:"),
    ("nr_slab_reclaimable", "SReclaimable:"),
    ("nr_dirty", "Dirty:"),
];

fn kib_of(field: &str, meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The lines of `proc/meminfo` that say what a counter says, or a sum that it is in, or what it leaves of
/// something.
fn lines_of(key: &str) -> &'static [&'static str] {
    match key.strip_prefix("total_").unwrap_or(key) {
        "file" | "cache" => &["Cached"],
        "anon" | "rss" => &["AnonPages"],
        "shmem" => &["Shmem"],
        "file_mapped" | "mapped_file" => &["Mapped"],
        "file_dirty" | "dirty" => &["Dirty"],
        "file_writeback" | "writeback" => &["Writeback"],
        "swapcached" => &["SwapCached"],
        "swap" => &["SwapFree"],
        "anon_thp" | "rss_huge" => &["AnonHugePages"],
        "file_thp" => &["FileHugePages"],
        "shmem_thp" => &["ShmemHugePages"],
        "inactive_anon" => &["Inactive(anon)", "Inactive"],
        "active_anon" => &["Active(anon)", "Active"],
        "inactive_file" => &["Inactive(file)", "Inactive", "MemFree"],
        "active_file" => &["Active(file)", "Active", "MemFree"],
        "unevictable" => &["Unevictable", "Mlocked"],
        "slab_reclaimable" => &["SReclaimable", "KReclaimable", "Slab", "MemFree"],
        "slab_unreclaimable" => &["SUnreclaim", "Slab"],
        "kernel_stack" => &["KernelStack"],
        "pagetables" => &["PageTables"],
        "sec_pagetables" => &["SecPageTables"],
        "percpu" => &["Percpu"],
        "vmalloc" => &["VmallocUsed"],
        "zswap" => &["Zswap"],
        "zswapped" => &["Zswapped"],
        _ => &[],
    }
}
