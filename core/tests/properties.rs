//! What holds for every snapshot, however wild, and for every text that the parsers are given.
#![allow(clippy::unwrap_used)]

use cgprocfs_core::machine::{Machine, TickRate};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::meminfo::{Field, Key, Meminfo as HostMeminfo};
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::parse::{
    counter, cpu_list, cpu_quota, cpu_time, flat_keyed, io_stat, mountinfo, proc_cgroup, proc_stat,
    proc_status, uptime,
};
use cgprocfs_core::snapshot::{
    CgroupFile, Container, HostFile, HugeLevel, HugePool, Level, NodeMemory, RawFile, Scope, Snapshot, Swap,
};
use cgprocfs_core::units::{Bytes, Kib, MAX};
use cgprocfs_core::view::ViewId;
use cgprocfs_core::view::working_set::working_set;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

const PAGE: u64 = 4;
const KERNEL_LINES: &str = include_str!("../../tests/fixtures/kernel-with-new-lines/root/proc/meminfo");

/// Sizes from nothing to beyond any machine, close to each other often.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..1u64 << 16, 0..1u64 << 27, 0..1u64 << 36, 0..=MAX, Just(MAX)]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    size().prop_map(Bytes::new)
}

fn limit() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![Just(None), bytes().prop_map(Some)]
}

prop_compose! {
    fn stat()(present in vec(any::<bool>(), 26), values in vec(bytes(), 26)) -> MemoryStat {
        let v = |index: usize| present[index].then(|| values[index]);
        MemoryStat {
            anon: Some(values[0]), file: Some(values[1]),
            inactive_file: Some(values[2]), active_file: Some(values[3]),
            shmem: v(4), file_mapped: v(5), file_dirty: v(6), file_writeback: v(7), swapcached: v(8),
            swap: v(9), anon_thp: v(10), file_thp: v(11), shmem_thp: v(12), inactive_anon: v(13),
            active_anon: v(14), unevictable: v(15), kernel: v(16), slab_reclaimable: v(17),
            slab_unreclaimable: v(18), kernel_stack: v(19), pagetables: v(20), sec_pagetables: v(21),
            percpu: v(22), vmalloc: v(23), zswap: v(24), zswapped: v(25), odd: Vec::new(),
        }
    }
}

/// Of each level of a container: all are of one version, and may be odd.
fn swaps() -> impl Strategy<Value = Vec<Swap>> {
    let of = |swap: fn((Option<Bytes>, Bytes)) -> Swap| vec((limit(), bytes()).prop_map(swap), 5);
    prop_oneof![
        1 => Just(vec![Swap::Unaccounted; 5]),
        1 => vec(prop_oneof![Just(Swap::Odd), Just(Swap::Unaccounted)], 5),
        3 => of(|(limit, usage)| Swap::V1 { limit, usage }),
        3 => of(|(limit, usage)| Swap::V2 { limit, usage }),
    ]
}

/// No counter of a kernel's.
fn odd() -> impl Strategy<Value = String> {
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
    fn level()(limit in limit(), usage in bytes(), stat in stat(), protected in bytes()) -> Level {
        Level { limit, usage: Some(usage), stat: Some(stat), protected, swap: Swap::Unaccounted }
    }
}

prop_compose! {
    fn pool()(
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
    fn host()(values in vec(size(), KERNEL_LINES.lines().count()), total in PAGE..1u64 << 40) -> HostMeminfo {
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
    fn snapshot()(
        meminfo in host(),
        mut levels in vec(level(), 1..5),
        swaps in swaps(),
        index in any::<prop::sample::Index>(),
        huge_pages in prop_oneof![Just(None), vec(pool(), 0..3).prop_map(Some)],
        swappiness in prop_oneof![Just(None), Just(Some(0)), Just(Some(60))],
        nodes in prop::option::of((size(), size(), size())),
        given_back in size(),
    ) -> Snapshot {
        levels.iter_mut().zip(swaps).for_each(|(level, swap)| level.swap = swap);
        let index = index.index(levels.len());
        let nodes = nodes.map(|(total, free, reclaimable)| NodeMemory {
            total: Kib::new(total), free: Kib::new(free), reclaimable: Kib::new(reclaimable),
        });
        let given_back = Kib::new(given_back);
        let scope = Scope::Container(Container { levels, index, huge_pages, swappiness, nodes, given_back });
        Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope)
    }
}

fn container(snapshot: &Snapshot) -> &Container {
    match &snapshot.scope {
        Scope::Container(container) => container,
        Scope::Host(_) => unreachable!(),
    }
}

/// The reader's own cgroup, which is made its container.
fn of_reader(snapshot: &mut Snapshot) -> &mut Level {
    let Scope::Container(container) = &mut snapshot.scope else { unreachable!() };
    container.index = 0;
    &mut container.levels[0]
}

fn render(path: &str, snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    ViewId::ALL.iter().find(|view| view.path() == path).unwrap().text(snapshot, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The printed numbers, which is what counts.
fn printed(snapshot: &Snapshot) -> HashMap<String, u64> {
    let text = render("proc/meminfo", snapshot);
    let line = |line: &str| {
        let (key, value) = line.split_once(':').unwrap();
        (key.to_string(), value.trim().trim_end_matches(" kB").parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// The invariants that hold on any input whatever.
fn check_invariants(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let p = printed(snapshot);
    let v = |key: &str| p[key];
    let host = snapshot.meminfo.as_ref().unwrap();
    let h = |field| host.kib(field).get();
    let levels = &container(snapshot).levels;

    // Totals.
    prop_assert!(v("MemTotal") >= PAGE);
    prop_assert!(v("MemTotal") <= h(Field::MemTotal));
    for limit in levels.iter().filter_map(|level| level.limit) {
        prop_assert!(v("MemTotal") * 1024 <= limit.get() || v("MemTotal") == PAGE);
    }
    // Free and available.
    prop_assert!(v("MemFree") <= v("MemAvailable") && v("MemAvailable") <= v("MemTotal"));
    prop_assert!(v("MemAvailable") >= PAGE);
    let caches = v("Buffers") + v("Cached") + v("SReclaimable");
    prop_assert!(v("MemAvailable") <= v("MemFree") + caches + PAGE);
    prop_assert!(v("MemFree") + caches <= v("MemTotal"));
    let room = container(snapshot).room(host);
    prop_assert!(v("MemAvailable") <= room.available.get().max(PAGE));
    prop_assert!(room.available <= room.total && room.total.get() <= h(Field::MemTotal));
    prop_assert!(v("MemTotal") <= room.total.get().max(PAGE));
    // What `top` draws: used by both of procps' definitions, and their difference.
    prop_assert!(v("MemTotal") - v("MemAvailable") <= v("MemTotal"));
    // Parts and wholes.
    prop_assert!(v("Shmem") <= v("Cached"));
    prop_assert_eq!(v("Active"), v("Active(anon)") + v("Active(file)"));
    prop_assert_eq!(v("Inactive"), v("Inactive(anon)") + v("Inactive(file)"));
    prop_assert!(v("Active(file)") + v("Inactive(file)") <= v("Cached"));
    prop_assert!(v("Mlocked") <= v("Unevictable"));
    prop_assert_eq!(v("Slab"), v("SReclaimable") + v("SUnreclaim"));
    prop_assert!(v("KReclaimable") >= v("SReclaimable"));
    prop_assert!(v("AnonHugePages") <= v("AnonPages"));
    prop_assert!(v("ShmemHugePages") <= v("Shmem"));
    prop_assert!(v("FileHugePages") <= v("Cached"));
    prop_assert!(v("Dirty") <= v("Cached") && v("Mapped") <= v("Cached"));
    // Swap; htop subtracts all three without a sign.
    prop_assert!(v("SwapTotal") <= h(Field::SwapTotal));
    prop_assert!(v("SwapFree") + v("SwapCached") <= v("SwapTotal"));
    prop_assert!(v("SwapFree") <= h(Field::SwapFree));
    prop_assert!(v("SwapFree") == 0 || container(snapshot).swappiness != Some(0));
    // No level's limit is passed by all that is promised, but for the page that is never denied.
    for level in levels {
        if let Some(left) = level.headroom_with_swap() {
            prop_assert!(v("MemAvailable") <= left.get().max(PAGE));
            if levels.iter().all(|level| matches!(level.swap, Swap::V1 { .. })) {
                prop_assert!(v("MemAvailable") + v("SwapFree") <= left.get() + PAGE);
            }
        }
    }
    // Huge pages, limited by a controller.
    if let Some(pools) = &container(snapshot).huge_pages {
        prop_assert!(v("HugePages_Free") <= v("HugePages_Total"));
        prop_assert!(v("HugePages_Rsvd") <= v("HugePages_Free"));
        if let [pool] = &pools[..]
            && pool.size.get() == 2048
        {
            prop_assert_eq!(v("Hugetlb"), v("HugePages_Total") * 2048);
        }
    }
    // Nothing that a container's memory is used for is more than it has.
    let used = [
        "MemFree",
        "Cached",
        "Active",
        "Inactive",
        "Unevictable",
        "AnonPages",
        "Mapped",
        "Shmem",
        "Slab",
        "Writeback",
        "KernelStack",
        "PageTables",
        "SecPageTables",
        "VmallocUsed",
        "Percpu",
        "Zswap",
    ];
    for key in used {
        prop_assert!(v(key) <= v("MemTotal"), "{} above total", key);
    }
    // No wrapped number anywhere, and nothing of the host's behind a key that nobody knows.
    for (line, key) in host.lines().iter().map(|line| (line, &line.key)) {
        match key {
            Key::Known(field) => prop_assert!(v(field.key()) <= MAX),
            Key::Unknown(key) => prop_assert_eq!(v(std::str::from_utf8(key).unwrap()), 0, "{:?}", line),
        }
    }
    let working_set: u64 = render("working_set", snapshot).trim().parse().unwrap();
    let level = &levels[container(snapshot).index];
    prop_assert!(working_set <= level.usage.unwrap().get() && working_set <= MAX);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants(snapshot in snapshot()) {
        check_invariants(&snapshot)?;
    }

    #[test]
    fn the_text_has_the_kernels_lines_and_columns(snapshot in snapshot()) {
        let text = render("proc/meminfo", &snapshot);
        let host = std::str::from_utf8(snapshot.meminfo.as_ref().unwrap().text()).unwrap();
        let key = |line: &str| line.split(':').next().unwrap().to_string();
        prop_assert_eq!(text.lines().map(key).collect::<Vec<_>>(), host.lines().map(key).collect::<Vec<_>>());
        prop_assert!(text.ends_with('\n') && text.len() < 4096);
        for (line, host) in text.lines().zip(host.lines()) {
            prop_assert!(line.len() < 80);
            prop_assert_eq!(line.ends_with(" kB"), host.ends_with(" kB"));
            let number = line.trim_end_matches(" kB");
            prop_assert!(number.len() >= 24 && number[16..].trim_start().bytes().all(|b| b.is_ascii_digit()), "{}", line);
        }
    }

    /// A limit lowered below what is in use, as `docker update` does: lxcfs printed 18446744073709472944
    /// kB.
    #[test]
    fn usage_above_a_lowered_limit(snapshot in snapshot(), limit in 0..1u64 << 20, over in 1..1u64 << 30) {
        let mut snapshot = snapshot;
        let level = of_reader(&mut snapshot);
        level.limit = Some(Bytes::new(limit));
        level.usage = Some(Bytes::new(limit + over));
        check_invariants(&snapshot)?;
        prop_assert_eq!(printed(&snapshot)["MemFree"], 0);
    }

    /// More swap in use than may be: lxcfs printed 18446744073709494804 kB.
    #[test]
    fn swap_above_a_lowered_swap_limit(snapshot in snapshot(), limit in 0..1u64 << 30, over in 1..1u64 << 30) {
        let mut snapshot = snapshot;
        of_reader(&mut snapshot).swap =
            Swap::V2 { limit: Some(Bytes::new(limit)), usage: Bytes::new(limit + over) };
        check_invariants(&snapshot)?;
        prop_assert_eq!(printed(&snapshot)["SwapFree"], 0);
    }

    /// Locked tmpfs is neither on an anonymous LRU list nor anonymous: lxcfs printed 18014398509421188 kB
    /// of AnonPages.
    #[test]
    fn locked_shared_memory(anon in 0..1u64 << 24, locked in 0..1u64 << 24) {
        let stat = MemoryStat {
            anon: Some(Bytes::new(anon)),
            file: Some(Bytes::new(locked)),
            shmem: Some(Bytes::new(locked)),
            unevictable: Some(Bytes::new(locked)),
            inactive_anon: Some(Bytes::new(anon)),
            active_anon: Some(Bytes::ZERO),
            inactive_file: Some(Bytes::ZERO),
            active_file: Some(Bytes::ZERO),
            ..MemoryStat::default()
        };
        let level = Level {
            limit: Some(Bytes::new(64 << 20)),
            usage: Some(Bytes::new(anon + locked)),
            stat: Some(stat),
            swap: Swap::Unaccounted,
            protected: Bytes::ZERO,
        };
        let meminfo = HostMeminfo::parse(KERNEL_LINES.into()).unwrap();
        let scope = Scope::Container(Container { levels: vec![level], ..Container::default() });
        let snapshot = Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope);
        check_invariants(&snapshot)?;
        let p = printed(&snapshot);
        prop_assert_eq!(p["AnonPages"], anon / 1024);
        prop_assert_eq!(p["Shmem"], locked / 1024);
        // None of it can be reclaimed.
        prop_assert_eq!(p["MemFree"], p["MemAvailable"]);
    }

    /// A snapshot that a kernel could print, in which every byte is somewhere: the LRU lists are anonymous
    /// memory and page cache again, and a program's used memory is what its cgroup uses less what can be
    /// reclaimed.
    #[test]
    fn a_consistent_snapshot_is_printed_as_it_is(
        pages in vec(0..1u64 << 14, 8), room in 0..1u64 << 14, host_pages in 1u64 << 20..1 << 24,
    ) {
        let [active_anon, inactive_anon, active_file, inactive_file, shmem, unevictable, slab, unreclaimable] =
            <[u64; 8]>::try_from(pages).unwrap();
        let shmem = shmem.min(active_anon + inactive_anon);
        let b = |pages: u64| Some(Bytes::new(pages * 4096));
        let anon = active_anon + inactive_anon - shmem;
        let file = active_file + inactive_file + shmem + unevictable;
        let usage = anon + file + slab + unreclaimable;
        let stat = MemoryStat {
            anon: b(anon), file: b(file), shmem: b(shmem), unevictable: b(unevictable),
            active_anon: b(active_anon), inactive_anon: b(inactive_anon),
            active_file: b(active_file), inactive_file: b(inactive_file),
            slab_reclaimable: b(slab), slab_unreclaimable: b(unreclaimable),
            ..MemoryStat::default()
        };
        let limit = b(usage + room).unwrap();
        let level = Level { limit: Some(limit), usage: b(usage), stat: Some(stat), ..Level::default() };
        let text = KERNEL_LINES
            .lines()
            .map(|line| match line.split(':').next().unwrap() {
                key @ ("MemTotal" | "MemFree" | "MemAvailable") => format!("{key}: {} kB\n", host_pages * 4),
                _ => format!("{line}\n"),
            })
            .collect::<String>();
        let meminfo = HostMeminfo::parse(text.into_bytes()).unwrap();
        let scope = Scope::Container(Container { levels: vec![level.clone()], ..Container::default() });
        let snapshot = Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope);
        check_invariants(&snapshot)?;
        let p = printed(&snapshot);
        let reclaimable = active_file + inactive_file + slab;
        prop_assert_eq!(p["MemTotal"], ((usage + room) * 4).max(PAGE));
        prop_assert_eq!(p["MemAvailable"], ((room + reclaimable) * 4).max(PAGE));
        prop_assert_eq!(p["MemFree"], room * 4);
        prop_assert_eq!(p["AnonPages"] + p["Cached"], p["Active"] + p["Inactive"] + p["Unevictable"]);
        prop_assert_eq!(working_set(&level), b(usage - inactive_file));
    }

    /// A service with a limit of its own in a system container that uses more than that: what others use is
    /// not what fills the service's limit, and what it can allocate is what its limit leaves.
    #[test]
    fn a_limited_cgroup_in_a_large_container(limit in 1u64..1 << 18, used in 0..1u64 << 18, cache in 0..1u64 << 18, others in 0..1u64 << 20) {
        let level = |limit: Option<u64>, anon: u64, file: u64| Level {
            limit: limit.map(|pages| Bytes::new(pages * 4096)),
            usage: Some(Bytes::new((anon + file) * 4096)),
            stat: Some(MemoryStat {
                anon: Some(Bytes::new(anon * 4096)),
                file: Some(Bytes::new(file * 4096)),
                inactive_file: Some(Bytes::new(file * 4096)),
                active_file: Some(Bytes::ZERO),
                ..MemoryStat::default()
            }),
            swap: Swap::Unaccounted,
            protected: Bytes::ZERO,
        };
        let (used, cache) = (used.min(limit), cache.min(limit - used.min(limit)));
        let levels = vec![level(Some(limit), used, cache), level(None, used + others, cache)];
        let meminfo = HostMeminfo::parse(KERNEL_LINES.into()).unwrap();
        let scope = Scope::Container(Container { levels, index: 1, ..Container::default() });
        let snapshot = Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope);
        check_invariants(&snapshot)?;
        let p = printed(&snapshot);
        prop_assert_eq!(p["MemTotal"], limit * 4);
        prop_assert_eq!(p["MemAvailable"], ((limit - used) * 4).max(PAGE));
        prop_assert_eq!(p["AnonPages"], used * 4);
    }

    /// A counter that makes no sense is 0, and makes no other line another one, in whatever view; one that nothing uses
    /// does not matter.
    #[test]
    fn an_odd_counter_makes_its_own_line_0(
        version in prop_oneof![Just(CgroupVersion::V1), Just(CgroupVersion::V2)],
        line in any::<prop::sample::Index>(),
        odd in odd(),
    ) {
        let lines: Vec<&str> = STATISTICS[usize::from(version == CgroupVersion::V2)].lines().collect();
        let line = line.index(lines.len());
        let (key, _) = lines[line].split_once(' ').unwrap();
        let shown = |of_key: &str| {
            let text = lines.iter().enumerate().map(|(index, known)| match known.split_once(' ') {
                Some((key, _)) if index == line => format!("{key} {of_key}\n"),
                _ => format!("{known}\n"),
            });
            all_views(version, &text.collect::<String>())
        };
        let whole = lines.join("\n") + "\n";
        let (with_odd, without) = (shown(&odd), all_views(version, &whole));
        // But for its own lines, and those that are computed from it, all is as if it were not odd.
        for (line, other) in with_odd[0].lines().zip(without[0].lines()) {
            let name = line.split(':').next().unwrap();
            let is_its_own = lines_of(key).contains(&name);
            // Without the page cache that is bounded by what its lists have, of which shared memory may be on another.
            let is_as_much = name == "MemAvailable" && line >= other && matches!(key, "file" | "total_cache");
            prop_assert!(line == other || is_its_own || is_as_much, "{key}: {line} instead of {other}");
        }
        prop_assert!(with_odd[1] == without[1] || key.ends_with("inactive_file"), "{}", key);
        prop_assert_eq!(&with_odd[2], &shown("0")[2], "{}", key);
        prop_assert_eq!(all_views(version, &format!("{whole}unused {odd}\n")), all_views(version, &whole));
    }

    /// Of the times of a cgroup the parts are odd at most: the other one says what such a part is.
    #[test]
    fn an_odd_part_of_a_time_is_the_rest_of_the_whole(user in 0..1u64 << 38, system in 0..1u64 << 38, odd in odd(), is_user in any::<bool>()) {
        let whole = user + system;
        let lines = |user: &str, system: &str| {
            format!("usage_usec {whole}\nuser_usec {user}\nsystem_usec {system}\nnr_throttled {odd}\n")
        };
        let (user, system) = (user.to_string(), system.to_string());
        let (user_odd, system_odd) = if is_user { (&odd, &system) } else { (&user, &odd) };
        let (time, none) = cpu_time::v2(lines(&user, &system).as_bytes()).unwrap();
        let (with_odd, keys) = cpu_time::v2(lines(user_odd, system_odd).as_bytes()).unwrap();
        prop_assert_eq!((time, none), (with_odd, Vec::new()));
        prop_assert_eq!(keys, [if is_user { "user_usec" } else { "system_usec" }]);
        let of_v1 = |user: &str, system: &str| {
            let text = format!("user {user}\nsystem {system}\n");
            cpu_time::v1(whole * 10_000_000, text.as_bytes(), TickRate::USUAL).unwrap()
        };
        prop_assert_eq!(of_v1(user_odd, system_odd).0, of_v1(&user, &system).0);
        let senseless = format!("usage_usec {odd}\nuser_usec 1\nsystem_usec 1\n");
        prop_assert!(cpu_time::v2(senseless.as_bytes()).is_err());
    }

    /// An odd usage of swap leaves none of it, and makes no other line another one than swap that is all taken.
    #[test]
    fn an_odd_usage_of_swap_leaves_none(snapshot in snapshot(), limit in limit(), odd in odd(), is_v1 in any::<bool>()) {
        let version = if is_v1 { CgroupVersion::V1 } else { CgroupVersion::V2 };
        let usage = |text: &str| counter::usage(format!("{text}\n").as_bytes()).ok();
        let with = |swap: Swap| {
            let mut snapshot = snapshot.clone();
            of_reader(&mut snapshot).swap = swap;
            snapshot
        };
        let snapshot = with(Swap::of(version, Some(limit), usage(&odd)));
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
    fn an_odd_usage_of_huge_pages_leaves_none(snapshot in snapshot(), pool in pool(), level in any::<prop::sample::Index>(), is_reserved in any::<bool>()) {
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

    /// Any bytes give a value or an error.
    #[test]
    fn parsers_take_any_bytes(text in vec(any::<u8>(), 0..400)) {
        parse_with_everything(&text);
    }

    /// So does what looks like the kernel's text and is damaged.
    #[test]
    fn parsers_take_damaged_files(text in prop::sample::select(samples()), at in any::<prop::sample::Index>(), with in vec(any::<u8>(), 0..4), cut in any::<bool>()) {
        let mut text = text;
        let at = at.index(text.len());
        let end = if cut { text.len() } else { (at + with.len()).min(text.len()) };
        text.splice(at..end, with);
        parse_with_everything(&text);
    }
}

/// Of a container on cgroup v1, and on v2.
const STATISTICS: [&str; 2] = [
    include_str!("../../tests/fixtures/v1-docker/root/sys/fs/cgroup/memory/memory.stat"),
    include_str!("../../tests/fixtures/v2-kubernetes/root/sys/fs/cgroup/memory.stat"),
];

/// What the views that are made from `memory.stat` say of a container with these statistics.
fn all_views(version: CgroupVersion, statistics: &str) -> Vec<String> {
    let level = Level {
        limit: Some(Bytes::new(1 << 40)),
        usage: Some(Bytes::new(1 << 34)),
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

/// The lines of `proc/meminfo` that say what a counter says, or a sum that it is in, or what it leaves of something.
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

fn samples() -> Vec<Vec<u8>> {
    vec![
        KERNEL_LINES.into(),
        include_bytes!("../../tests/fixtures/v2-kubernetes/root/sys/fs/cgroup/memory.stat").to_vec(),
        include_bytes!("../../tests/fixtures/v1-docker/root/sys/fs/cgroup/memory/memory.stat").to_vec(),
        include_bytes!("../../tests/fixtures/v1-docker/root/proc/self/mountinfo").to_vec(),
        include_bytes!("../../tests/fixtures/v1-docker/root/proc/4242/cgroup").to_vec(),
        include_bytes!("../../tests/fixtures/v1-docker/root/proc/4242/status").to_vec(),
        b"9223372036854771712\n".to_vec(),
    ]
}

fn parse_with_everything(text: &[u8]) {
    if let Ok(meminfo) = HostMeminfo::parse(text.to_vec()) {
        assert!(meminfo.lines().iter().all(|line| line.value.is_none_or(|value| value <= MAX)));
        let level = Level { usage: Some(Bytes::ZERO), stat: Some(MemoryStat::default()), ..Level::default() };
        let scope = Scope::Container(Container { levels: vec![level], ..Container::default() });
        let snapshot = Snapshot::of_memory(Some(meminfo.into()), Machine::USUAL, scope);
        render("proc/meminfo", &snapshot);
    }
    for version in [CgroupVersion::V1, CgroupVersion::V2] {
        let _ = MemoryStat::parse(version, text);
    }
    let _ = counter::number(text);
    let _ = counter::usage(text);
    let _ = counter::limit(text);
    let _ = mountinfo::Mount::parse_table(text);
    let _ = proc_cgroup::memberships(text).map(|lines| lines.collect::<Vec<_>>());
    let _ = (proc_stat::is_exiting(text), proc_stat::start_time(text));
    let _ = proc_status::state(text);
    let _ =
        (cpu_list::CpuList::parse(text), cpu_quota::CpuQuota::v2(text), cpu_quota::CpuQuota::v1(text, text));
    let _ = flat_keyed::flat_keyed(text).map(Iterator::count);
    let _ = (
        io_stat::DeviceIo::parse_all(CgroupVersion::V1, text),
        io_stat::DeviceIo::parse_all(CgroupVersion::V2, text),
        uptime::uptime(text),
    );
    let _ = proc_status::Status::parse(text);
}
