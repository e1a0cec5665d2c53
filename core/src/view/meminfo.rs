//! `proc/meminfo`: the host's file, line for line, with the container's values.

mod huge_pages;
mod memory;
pub mod provenance;
mod swap;
mod values;

use self::values::Values;
use super::contract::View;
use crate::error::ViewError;
use crate::parse::meminfo::{Field, Key, Meminfo as HostMeminfo};
use crate::snapshot::{Container, HugePool, Level, Needs, Scope, Snapshot};
use crate::units::Kib;
use std::io::Write;

/// The file that `free`, `top` and nearly every program that asks for memory reads.
///
/// It has exactly the lines of the running kernel's own file in their order, so that a program finds
/// what it looks for. A line that came with a kernel newer than this program reads 0, never the host's
/// figure. A reader outside any container gets the host's file unchanged.
pub struct Meminfo;

impl View for Meminfo {
    fn path(&self) -> &'static str {
        "proc/meminfo"
    }

    fn needs(&self) -> Needs {
        Needs::USAGE.and(Needs::LEVELS)
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
        match &snapshot.scope {
            Scope::Host(_) => out.extend_from_slice(host.text()),
            Scope::Container(container) => {
                let values = compute(host, container, snapshot.machine.page)?;
                print(host, &values, out);
            }
        }
        Ok(())
    }
}

/// Values of some lines, for views that show them in another way.
///
/// # Errors
/// Where what [`Meminfo`] needs was not loaded.
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
/// As [`values()`].
pub(super) fn swapped(snapshot: &Snapshot, container: &Container) -> Result<Kib, ViewError> {
    let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
    Ok(swap::used(host, level(container, container.swap_level())?))
}

fn compute(host: &HostMeminfo, container: &Container, page: Kib) -> Result<Values, ViewError> {
    let mut values = Values::new();
    // These say something of the machine that stays true inside a container: overcommit decides
    // ENOMEM for the host as a whole, and the rest are constants of the kernel and the hardware.
    for field in provenance::HOST_WIDE {
        values.set_count(*field, host.count(*field).unwrap_or(0));
    }
    let shown = level(container, container.effective_level())?;
    let left = memory::fill(&mut values, host, container, shown, page)?;
    swap::fill(&mut values, host, container, [shown, level(container, container.swap_level())?], left)?;
    huge_pages::fill(&mut values, host, container);
    Ok(values)
}

fn level(container: &Container, index: usize) -> Result<&Level, ViewError> {
    container.levels.get(index).ok_or(ViewError::NotLoaded("the container"))
}

/// `show_val_kb()` of `fs/proc/meminfo.c`: key and colon padded to 16, the number to 8; what a longer key takes, its number
/// does without.
fn print(host: &HostMeminfo, values: &Values, out: &mut Vec<u8>) {
    for line in host.lines() {
        let (key, value) = match &line.key {
            Key::Known(field) => (field.key().as_bytes(), values.get(*field).get()),
            Key::Unknown(key) => (&**key, 0),
        };
        out.extend_from_slice(key);
        out.push(b':');
        let padding = 15usize.saturating_sub(key.len());
        let width = 23usize.saturating_sub(key.len()).min(8);
        let unit = if line.in_kib { " kB" } else { "" };
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{:padding$}{value:width$}{unit}", "");
    }
}
