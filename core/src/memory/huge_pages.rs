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

/// Pages that are promised to the container and not in use yet. The kernel's counter of a cgroup includes
/// those that have come into use since; its line for the host does not.
fn pages_reserved(pool: &HugePool) -> u64 {
    let container = pool.container.and_then(|index| pool.levels.get(index));
    container.map_or(0, |level| promised(level, pool.size))
}

fn promised(level: &HugeLevel, size: Kib) -> u64 {
    let promised = level.reserved.zip(level.usage).map(|(reserved, usage)| reserved - usage);
    promised.map_or(0, |promised| pages(promised, size))
}

/// Pages that the container could take now, including those that are promised to it, within its limits.
fn pages_free(pool: &HugePool, total: u64) -> u64 {
    let reserved = pages_reserved(pool);
    let left = |(index, level): (usize, &HugeLevel)| {
        // Below the container, what is promised to others in it is not to be had.
        let is_below = pool.container.is_some_and(|container| index < container);
        let reserved = if is_below { promised(level, pool.size) } else { reserved };
        let below =
            |limit: Bytes, usage: Option<Bytes>| usage.map_or(0, |usage| pages(limit - usage, pool.size));
        let in_use = level.limit.map(|limit| below(limit, level.usage));
        let reservable = level.reserved_limit.map(|limit| below(limit, level.reserved) + reserved);
        in_use.into_iter().chain(reservable).min()
    };
    pool.levels.iter().enumerate().filter_map(left).fold(total, u64::min)
}

fn pages(bytes: Bytes, size: Kib) -> u64 {
    bytes.to_kib().get().checked_div(size.get()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is promised to others in the container is not to be had below a limit of the reader's own.
    #[test]
    fn a_reservation_limit_below_the_container() {
        let bytes = |pages: u64| Some(Bytes::new(pages << 21));
        let sub = HugeLevel {
            reserved_limit: bytes(32),
            reserved: bytes(20),
            usage: bytes(20),
            ..HugeLevel::default()
        };
        let container = HugeLevel { reserved: bytes(38), usage: bytes(20), ..HugeLevel::default() };
        let pool = |levels: Vec<HugeLevel>, container| HugePool {
            size: Kib::new(2048),
            host_total: 100,
            nodes_free: None,
            levels,
            container: Some(container),
        };
        assert_eq!(of_pool(&pool(vec![sub, container], 1)), [32, 12]);
        // The same limit of the container's, with all that is promised to it.
        let limited = HugeLevel { reserved_limit: bytes(40), ..container };
        assert_eq!(of_pool(&pool(vec![limited], 0)), [40, 20]);
    }
}
