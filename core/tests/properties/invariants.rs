//! What holds for every snapshot.

use super::strategies::PAGE;
use cgprocfs_core::parse::meminfo::{Field, Key};
use cgprocfs_core::snapshot::{Container, Level, Scope, Snapshot, Swap};
use cgprocfs_core::units::MAX;
use cgprocfs_core::view::ViewId;
use proptest::prelude::*;
use std::collections::HashMap;

pub fn container(snapshot: &Snapshot) -> &Container {
    match &snapshot.scope {
        Scope::Container(container) => container,
        Scope::Host(_) => unreachable!(),
    }
}

/// The reader's own cgroup, which is made its container.
pub fn of_reader(snapshot: &mut Snapshot) -> &mut Level {
    let Scope::Container(container) = &mut snapshot.scope else { unreachable!() };
    container.index = 0;
    &mut container.levels[0]
}

pub fn render(path: &str, snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    ViewId::ALL.iter().find(|view| view.path() == path).unwrap().text(snapshot, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The printed numbers, which is what counts.
pub fn printed(snapshot: &Snapshot) -> HashMap<String, u64> {
    let text = render("proc/meminfo", snapshot);
    let line = |line: &str| {
        let (key, value) = line.split_once(':').unwrap();
        (key.to_string(), value.trim().trim_end_matches(" kB").parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// The invariants that hold on any input whatever.
pub fn check_invariants(snapshot: &Snapshot) -> Result<(), TestCaseError> {
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
        if pools.len() == 1 && pools[0].size.get() == 2048 {
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
