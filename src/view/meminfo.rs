//! `proc/meminfo`: the host's file, line for line, with the container's values.

mod huge_pages;
mod memory;
pub mod provenance;
mod swap;

use super::{View, ViewError};
use crate::bytes::{Bytes, Kib, MAX};
use crate::parse::meminfo::{Field, Key, Meminfo as HostMeminfo};
use crate::snapshot::{Container, HugePool, Level, Needs, Scope, Snapshot};
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

    fn ino(&self) -> u64 {
        16
    }

    fn needs(&self) -> Needs {
        Needs::USAGE.and(Needs::LEVELS)
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
        match &snapshot.scope {
            Scope::Host(_) => out.extend_from_slice(host.text()),
            Scope::Container(container) => {
                let values = Values::compute(host, container, snapshot.page)?;
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
pub(super) fn values<const N: usize>(
    snapshot: &Snapshot,
    container: &Container,
    fields: [Field; N],
) -> Result<[Kib; N], ViewError> {
    let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
    let values = Values::compute(host, container, snapshot.page)?;
    Ok(fields.map(|field| values.get(field)))
}

/// How many huge pages of a pool the container may have, and how many of these it could take now.
pub(super) fn huge_pages(pool: &HugePool) -> [u64; 2] {
    huge_pages::of_pool(pool)
}

/// How much of the container is swapped out.
///
/// # Errors
/// As [`values`].
pub(super) fn swapped(snapshot: &Snapshot, container: &Container) -> Result<Kib, ViewError> {
    let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
    let level = container.levels.get(shown(container)).ok_or(ViewError::NotLoaded("the container"))?;
    Ok(swap::used(host, level))
}

/// A value for every field: kibibytes, or a plain count for the `HugePages_…` lines.
struct Values([u64; Field::ALL.len()]);

impl Values {
    fn compute(host: &HostMeminfo, container: &Container, page: Kib) -> Result<Self, ViewError> {
        let mut values = Self([0; Field::ALL.len()]);
        // These say something of the machine that stays true inside a container: overcommit decides
        // ENOMEM for the host as a whole, and the rest are constants of the kernel and the hardware.
        for field in provenance::HOST_WIDE {
            values.0[*field as usize] = host.count(*field).unwrap_or(0);
        }
        let shown = container.levels.get(shown(container)).ok_or(ViewError::NotLoaded("the container"))?;
        let left = memory::fill(&mut values, host, container, shown, page)?;
        swap::fill(&mut values, host, container, shown, left)?;
        huge_pages::fill(&mut values, host, container);
        Ok(values)
    }

    fn set(&mut self, field: Field, value: Kib) {
        self.0[field as usize] = value.get();
    }

    /// For the lines without a unit.
    fn set_count(&mut self, field: Field, value: u64) {
        self.0[field as usize] = value.min(MAX);
    }

    fn get(&self, field: Field) -> Kib {
        Kib::new(self.0[field as usize])
    }
}

/// Which level's usage and statistics are shown: the container's, but where a cgroup of the reader below
/// that has a smaller limit than all from the container up. Its limit is the total then, and what else is
/// in the container is not what fills it.
pub(crate) fn shown(container: &Container) -> usize {
    let least = |levels: &[Level]| {
        levels.iter().enumerate().filter_map(|(index, level)| Some((level.limit?, index))).min()
    };
    let (inner, outer) = container.levels.split_at(container.index.min(container.levels.len()));
    match (least(inner), least(outer)) {
        (Some((limit, index)), outer) if outer.is_none_or(|(outer, _)| limit < outer) => {
            match container.levels[index].stat {
                Some(_) => index,
                // A limit above the host's memory: it binds nothing, and was not read further.
                None => container.index,
            }
        }
        _ => container.index,
    }
}

/// Of a counter of `memory.stat`, 0 where this kernel has none. Rounded down one by one, before anything is
/// added: not all counters are whole pages.
fn kib(counter: Option<Bytes>) -> Kib {
    counter.map_or(Kib::ZERO, Bytes::to_kib)
}

/// `show_val_kb()` of `fs/proc/meminfo.c`: key and colon padded to 16, the number to 8; what a longer key takes, its number
/// does without.
fn print(host: &HostMeminfo, values: &Values, out: &mut Vec<u8>) {
    for line in host.lines() {
        let (key, value) = match &line.key {
            Key::Known(field) => (field.key().as_bytes(), values.0[*field as usize]),
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
