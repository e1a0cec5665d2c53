//! Swap: the smallest limit of all levels, and what is left below it.

use super::{Values, kib};
use crate::bytes::Kib;
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{Container, Level, Swap};
use crate::view::ViewError;

pub(super) fn fill(
    values: &mut Values,
    host: &Meminfo,
    container: &Container,
    level: &Level,
) -> Result<(), ViewError> {
    let stat = level.stat.as_ref().ok_or(ViewError::NotLoaded("the container's memory.stat"))?;
    let host_total = host.kib(Field::SwapTotal);
    let host_free = host.kib(Field::SwapFree).min(host_total);

    let (total, free) = match level.swap {
        Swap::Unaccounted => (host_total, host_free),
        Swap::V1 { swappiness: 0, .. } => (Kib::ZERO, Kib::ZERO),
        Swap::V1 { .. } => {
            let total = v1_limit(container).map_or(host_total, |limit| limit.min(host_total));
            (total, (total - kib(stat.swap)).min(host_free))
        }
        Swap::V2 { usage, .. } => {
            let (limit, headroom) = v2_limit_and_headroom(container);
            let total = limit.map_or(host_total, |limit| limit.min(host_total));
            let free = (total - usage.to_kib()).min(host_free);
            (total, headroom.map_or(free, |headroom| headroom.min(free)))
        }
    };

    values.set(Field::SwapTotal, total);
    values.set(Field::SwapFree, free);
    values.set(Field::SwapCached, kib(stat.swapcached).min(total - free));
    values.set(Field::Zswap, kib(stat.zswap).min(values.get(Field::MemTotal)));
    values.set(Field::Zswapped, kib(stat.zswapped).min(total - free));
    Ok(())
}

/// How much of the container is swapped out. What is free may be less than the rest: others use the host's swap too.
pub(super) fn used(host: &Meminfo, level: &Level) -> Kib {
    match level.swap {
        Swap::Unaccounted => host.kib(Field::SwapTotal) - host.kib(Field::SwapFree),
        Swap::V1 { .. } => kib(level.stat.as_ref().and_then(|stat| stat.swap)),
        Swap::V2 { usage, .. } => usage.to_kib(),
    }
}

/// v1 limits memory and swap together: what may be swapped is that less the memory limit, each the
/// smallest of all levels (`hierarchical_memsw_limit` and `hierarchical_memory_limit` of `memory.stat`).
fn v1_limit(container: &Container) -> Option<Kib> {
    let memsw = |level: &Level| match level.swap {
        Swap::V1 { memsw_limit, .. } => memsw_limit,
        Swap::V2 { .. } | Swap::Unaccounted => None,
    };
    let memsw = container.levels.iter().filter_map(memsw).min()?;
    let memory = container.levels.iter().filter_map(|level| level.limit).min().unwrap_or(memsw);
    Some((memsw - memory).to_kib())
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
