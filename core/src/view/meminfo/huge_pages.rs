//! Huge pages: the machine's pool, cut to the limits of the hugetlb controller.

use super::values::Values;
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{Container, HugeLevel, HugePool};
use crate::units::{Bytes, Kib};

pub(super) fn fill(values: &mut Values, host: &Meminfo, container: &Container) {
    let size = host.kib(Field::Hugepagesize);
    let Some(pools) = &container.huge_pages else {
        values.set(Field::Hugetlb, host.kib(Field::Hugetlb));
        for field in [Field::HugePagesTotal, Field::HugePagesFree, Field::HugePagesRsvd, Field::HugePagesSurp]
        {
            values.set_count(field, host.count(field).unwrap_or(0));
        }
        return;
    };
    // The `HugePages_…` lines are about the default size only, `Hugetlb` about all sizes
    // (`hugetlb_report_meminfo()` in mm/hugetlb.c).
    let hugetlb = pools.iter().map(|pool| pool.size.times(pages_total(pool))).sum();
    values.set(Field::Hugetlb, hugetlb);
    let Some(pool) = pools.iter().find(|pool| pool.size == size) else { return };
    let total = pages_total(pool);
    let of_host = |field| host.count(field).unwrap_or(0);
    let host_free = of_host(Field::HugePagesFree);
    let free = pages_free(pool, total).min(pool.nodes_free.map_or(host_free, |free| free.min(host_free)));
    // Without a hugetlb controller the container's pages cannot be told from others'.
    let reserved = if pool.levels.is_empty() { u64::MAX } else { pages_reserved(pool) };
    values.set_count(Field::HugePagesTotal, total);
    values.set_count(Field::HugePagesFree, free);
    values.set_count(Field::HugePagesRsvd, reserved.min(of_host(Field::HugePagesRsvd)).min(free));
}

/// Pages that the container may ever have, and those that it could take now.
pub(super) fn of_pool(pool: &HugePool) -> [u64; 2] {
    let total = pages_total(pool);
    [total, pages_free(pool, total)]
}

/// Pages that the container may ever have.
fn pages_total(pool: &HugePool) -> u64 {
    let limits = pool.levels.iter().flat_map(|level| [level.limit, level.reserved_limit]).flatten();
    limits.map(|limit| pages(limit, pool.size)).fold(pool.host_total, u64::min)
}

/// Pages that are promised to the container and not in use yet. The kernel's counter of a cgroup includes those that have come
/// into use since; its line for the host does not.
fn pages_reserved(pool: &HugePool) -> u64 {
    let container = pool.container.and_then(|index| pool.levels.get(index));
    let reserved = container.and_then(|level| Some(level.reserved? - level.usage?));
    reserved.map_or(0, |reserved| pages(reserved, pool.size))
}

/// Pages that the container could take now, including those that are promised to it, within its limits.
fn pages_free(pool: &HugePool, total: u64) -> u64 {
    let reserved = pages_reserved(pool);
    let left = |level: &HugeLevel| {
        let below =
            |limit: Bytes, usage: Option<Bytes>| usage.map_or(0, |usage| pages(limit - usage, pool.size));
        let in_use = level.limit.map(|limit| below(limit, level.usage));
        let promised = level.reserved_limit.map(|limit| below(limit, level.reserved) + reserved);
        in_use.into_iter().chain(promised).min()
    };
    pool.levels.iter().filter_map(left).fold(total, u64::min)
}

fn pages(bytes: Bytes, size: Kib) -> u64 {
    bytes.to_kib().get().checked_div(size.get()).unwrap_or(0)
}
