//! What the memory of a container comes to, for each line of `proc/meminfo`.

mod huge_pages;
pub mod provenance;
mod swap;
mod usage;
mod values;
pub(crate) mod vmstat_keys;

pub(crate) use self::values::Values;

use crate::error::ViewError;
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{Container, HugePool, Level, Snapshot};
use crate::units::Kib;

/// Values of some lines, for views that show them in another way.
///
/// # Errors
/// Where something that they are made from was not loaded.
pub(crate) fn values<const N: usize>(
    snapshot: &Snapshot,
    container: &Container,
    fields: [Field; N],
) -> Result<[Kib; N], ViewError> {
    let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
    let values = compute(host, container, snapshot.machine.page)?;
    Ok(fields.map(|field| values.get(field)))
}

/// How many huge pages of a pool the container may have, and how many of these it could take now.
pub(crate) fn huge_pages(pool: &HugePool) -> [u64; 2] {
    huge_pages::of_pool(pool)
}

/// How much of the container is swapped out.
///
/// # Errors
/// [`ViewError`], if the snapshot lacks what a line is made from, or a text in it is malformed.
pub(crate) fn swapped(snapshot: &Snapshot, container: &Container) -> Result<Kib, ViewError> {
    let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
    Ok(swap::used(host, level(container, container.swap_level())?))
}

/// The values of all lines.
///
/// # Errors
/// [`ViewError`], if the snapshot lacks what a line is made from, or a text in it is malformed.
pub(crate) fn compute(host: &Meminfo, container: &Container, page: Kib) -> Result<Values, ViewError> {
    let mut values = Values::new();
    // These say something of the machine that stays true inside a container: overcommit decides
    // ENOMEM for the host as a whole, and the rest are constants of the kernel and the hardware.
    for field in provenance::HOST_WIDE {
        values.set_count(*field, host.count(*field).unwrap_or(0));
    }
    let shown = level(container, container.effective_level())?;
    let left = usage::fill(&mut values, host, container, shown, page)?;
    swap::fill(&mut values, host, container, [shown, level(container, container.swap_level())?], left)?;
    huge_pages::fill(&mut values, host, container);
    Ok(values)
}

fn level(container: &Container, index: usize) -> Result<&Level, ViewError> {
    container.levels.get(index).ok_or(ViewError::NotLoaded("the container"))
}
