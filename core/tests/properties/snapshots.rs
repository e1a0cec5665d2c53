//! Properties of whole snapshots.

use super::invariants::*;
use super::strategies::*;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::meminfo::Meminfo as HostMeminfo;
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::snapshot::{Container, Level, Scope, Snapshot, Swap};
use cgprocfs_core::units::Bytes;
use cgprocfs_core::view::working_set::working_set;
use proptest::collection::vec;
use proptest::prelude::*;

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
}
