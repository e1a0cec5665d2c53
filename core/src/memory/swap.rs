//! Swap: the smallest limit of all levels, and what is left below it.

use super::usage::Left;
use super::values::{Values, kib};
use crate::error::ViewError;
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{Container, Level, Swap};
use crate::units::{Bytes, Kib};

/// Fills in the lines about swap: statistics are those of `shown`, limit and usage those of `level`.
pub(super) fn fill(
    values: &mut Values,
    host: &Meminfo,
    container: &Container,
    [shown, level]: [&Level; 2],
    left: Left,
) -> Result<(), ViewError> {
    let stat = shown.stat.as_ref().ok_or(ViewError::NotLoaded("the container's memory.stat"))?;
    let host_total = host.kib(Field::SwapTotal);
    let host_free = host.kib(Field::SwapFree).min(host_total);

    let used = used(host, level).min(host_total);
    let (total, free) = if container.levels.iter().any(|level| level.swap == Swap::Malformed) {
        (Kib::ZERO, Kib::ZERO)
    } else {
        match level.swap {
            Swap::V1 { .. } => {
                let total = v1_limit(host, container).map_or(host_total, |limit| limit.min(host_total));
                // The part of a common limit that others have filled is to be had neither as memory nor as
                // swap.
                (total, (total - used).min(left.with_swap - left.memory))
            }
            Swap::V2 { .. } => {
                let (limit, headroom) = v2_limit_and_headroom(container);
                let total = limit.map_or(host_total, |limit| limit.min(host_total));
                (total, headroom.map_or(total - used, |headroom| headroom.min(total - used)))
            }
            Swap::Unaccounted | Swap::Malformed => (host_total, host_free),
        }
    };
    // With a swappiness of 0 the kernel does not swap, neither for a cgroup's limit nor for the host, but
    // kills (`get_scan_count()`, mm/vmscan.c): there is no more swap than what was swapped out before.
    let (total, free) = match level.swap {
        _ if container.swappiness != Some(0) => (total, free.min(host_free)),
        Swap::V1 { .. } | Swap::V2 { .. } => (total.min(used), Kib::ZERO),
        Swap::Unaccounted | Swap::Malformed => (Kib::ZERO, Kib::ZERO),
    };

    values.set(Field::SwapTotal, total);
    values.set(Field::SwapFree, free);
    values.set(Field::SwapCached, kib(stat.swapcached).min(total - free));
    values.set(Field::Zswap, kib(stat.zswap).min(values.get(Field::MemTotal)));
    values.set(Field::Zswapped, kib(stat.zswapped).min(total - free));
    Ok(())
}

/// How much of the container is swapped out. What is free may be less than the rest: others use the host's
/// swap too.
pub(super) fn used(host: &Meminfo, level: &Level) -> Kib {
    match level.swap {
        Swap::Unaccounted => host.kib(Field::SwapTotal) - host.kib(Field::SwapFree),
        Swap::V1 { .. } => kib(level.stat.as_ref().and_then(|stat| stat.swap)),
        Swap::V2 { usage, .. } => usage.to_kib(),
        Swap::Malformed => Kib::ZERO,
    }
}

/// v1 limits memory and swap together: what may be swapped is that less the memory limit, each the smallest
/// of all levels (`hierarchical_memsw_limit` and `hierarchical_memory_limit` of `memory.stat`). Where there
/// is less memory than its limit allows, more of both can be swap.
fn v1_limit(host: &Meminfo, container: &Container) -> Option<Kib> {
    let both = |level: &Level| match level.swap {
        Swap::V1 { limit, .. } => limit,
        Swap::V2 { .. } | Swap::Unaccounted | Swap::Malformed => None,
    };
    let both = container.levels.iter().filter_map(both).min()?;
    let memory = container.levels.iter().filter_map(|level| level.limit).map(Bytes::to_kib);
    Some(both.to_kib() - memory.fold(container.room(host).total, Kib::min))
}

fn v2_limit_and_headroom(container: &Container) -> (Option<Kib>, Option<Kib>) {
    let bounds = || {
        container.levels.iter().filter_map(|level| match level.swap {
            Swap::V2 { limit: Some(limit), usage } => Some((limit, usage)),
            _ => None,
        })
    };
    let limit = bounds().map(|(limit, _)| limit.to_kib()).min();
    let headroom = bounds().map(|(limit, usage)| (limit - usage).to_kib()).min();
    (limit, headroom)
}
