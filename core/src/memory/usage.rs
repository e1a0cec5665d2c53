//! Total, free, available, and what the memory is used for.

use super::values::{Values, kib};
use crate::error::ViewError;
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{Container, Level, Room};
use crate::units::{Bytes, Kib};

pub(super) fn fill(
    values: &mut Values,
    host: &Meminfo,
    container: &Container,
    level: &Level,
    page: Kib,
) -> Result<Left, ViewError> {
    let stat = level.stat.as_ref().ok_or(ViewError::NotLoaded("the container's memory.stat"))?;
    let usage = level.usage.ok_or(ViewError::NotLoaded("the container's usage"))?.to_kib();
    let room = container.room(host);
    let total = total(room, container, page);

    // A malformed counter, which is 0, bounds no other.
    let bound = |names, counter: Kib| if stat.is_malformed(names) { total } else { counter };
    let cached = kib(stat.file).min(total);
    let most_cached = bound(["file", "total_cache"], cached);
    let inactive_file = kib(stat.inactive_file).min(most_cached);
    let active_file = kib(stat.active_file).min(most_cached - inactive_file);
    let shmem = kib(stat.shmem).min(most_cached);
    let caches = cached.max(inactive_file + active_file + shmem).min(most_cached);
    let slab_reclaimable = kib(stat.slab_reclaimable).min(total - caches);
    let caches = caches + slab_reclaimable;

    // MemFree is derived from MemAvailable, not computed beside it: a sibling's page cache can be reclaimed,
    // but it is not in the container's Cached, and `top` subtracts one from the other.
    let left = Left::of(host, container, room)?;
    let obtainable = left.memory.min(total);
    let reclaimable = inactive_file + active_file + slab_reclaimable;
    let free = (obtainable - reclaimable).min(total - usage).min(total - caches);
    let available = obtainable.max(page).min(free + caches + page).min(total);

    let active_anon = kib(stat.active_anon).min(total - active_file);
    let inactive_anon = kib(stat.inactive_anon).min(total - inactive_file);
    let unevictable = kib(stat.unevictable).min(total);
    let anon = kib(stat.anon).min(total);
    let slab_unreclaimable = kib(stat.slab_unreclaimable).min(total - slab_reclaimable);

    for (field, value) in [
        (Field::MemTotal, total),
        (Field::MemFree, free),
        (Field::MemAvailable, available),
        (Field::Cached, cached),
        (Field::Active, active_anon + active_file),
        (Field::Inactive, inactive_anon + inactive_file),
        (Field::ActiveAnon, active_anon),
        (Field::InactiveAnon, inactive_anon),
        (Field::ActiveFile, active_file),
        (Field::InactiveFile, inactive_file),
        (Field::Unevictable, unevictable),
        (Field::Mlocked, host.kib(Field::Mlocked).min(unevictable)),
        (Field::Dirty, kib(stat.file_dirty).min(most_cached)),
        (Field::Writeback, kib(stat.file_writeback).min(total)),
        (Field::AnonPages, anon),
        (Field::Mapped, kib(stat.file_mapped).min(most_cached)),
        (Field::Shmem, shmem),
        (Field::KReclaimable, slab_reclaimable),
        (Field::Slab, slab_reclaimable + slab_unreclaimable),
        (Field::SReclaimable, slab_reclaimable),
        (Field::SUnreclaim, slab_unreclaimable),
        (Field::KernelStack, kib(stat.kernel_stack).min(total)),
        (Field::PageTables, kib(stat.pagetables).min(total)),
        (Field::SecPageTables, kib(stat.sec_pagetables).min(total)),
        (Field::VmallocUsed, kib(stat.vmalloc).min(total)),
        (Field::Percpu, kib(stat.percpu).min(total)),
        (Field::AnonHugePages, kib(stat.anon_thp).min(bound(["anon", "total_rss"], anon))),
        (Field::ShmemHugePages, kib(stat.shmem_thp).min(bound(["shmem", "total_shmem"], shmem))),
        (Field::FileHugePages, kib(stat.file_thp).min(most_cached)),
    ] {
        values.set(field, value);
    }
    Ok(left)
}

/// The smallest limit of all levels and the machine's memory, in whole pages and never 0: `ps` divides by it.
fn total(room: Room, container: &Container, page: Kib) -> Kib {
    let limits = container.levels.iter().filter_map(|level| level.limit);
    limits.map(Bytes::to_kib).fold(room.total, Kib::min).floor_to(page).max(page)
}

/// What a process of the container could still allocate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// How much without swapping: the least of what each limited level, and the machine, has left once its
    /// caches are reclaimed.
    ///
    /// This is `si_mem_available()` (`mm/show_mem.c`) carried over to cgroups. A cgroup has neither a low
    /// watermark nor reserves, so nothing is held back: the kernel reclaims a cgroup's page cache to the last
    /// page before it kills. tmpfs and locked memory are on other LRU lists and do not count, nor does what
    /// `memory.min` of a sibling protects.
    pub(super) memory: Kib,
    /// How much of memory and swap together, where cgroup v1 limits both together; otherwise what the machine
    /// has.
    pub(super) with_swap: Kib,
}

impl Left {
    fn of(host: &Meminfo, container: &Container, room: Room) -> Result<Self, ViewError> {
        let levels = &container.levels;
        let with_swap = || levels.iter().filter_map(Level::headroom_with_swap);
        let memory = levels.iter().filter_map(|level| level.headroom_below(room.total));
        let left = Self {
            memory: memory.chain(with_swap()).fold(room.available, Kib::min),
            with_swap: with_swap().fold(room.available + host.kib(Field::SwapFree), Kib::min),
        };
        // A level whose caches were not read has at least as much left without them.
        let is_enough = |level: &Level| {
            let is_limited = level.limit_below(room.total).is_some();
            level.stat.is_some()
                || (!is_limited || level.unused_below(room.total).is_some_and(|unused| unused >= left.memory))
                    && level.unused_with_swap().is_none_or(|unused| unused >= left.with_swap)
        };
        if levels.iter().all(is_enough) {
            Ok(left)
        } else {
            Err(ViewError::NotLoaded("a level's memory.stat"))
        }
    }
}
