//! The keys of `/proc/vmstat`, and of a node's `vmstat`, that are amounts of memory.

use crate::parse::meminfo::Field;
use crate::units::Kib;

/// What follows `nr_` in a key (`vmstat_text`, mm/vmstat.c), and the lines of `/proc/meminfo` that say the
/// same. Transparent huge pages are left out: their keys count them in a size that differs by architecture
/// (`HPAGE_PMD_NR`), and that is in no file which is read for anything else.
const KEYS: [(&str, &[Field]); 20] = [
    ("free_pages", &[Field::MemFree]),
    ("mlock", &[Field::Mlocked]),
    ("inactive_anon", &[Field::InactiveAnon]),
    ("active_anon", &[Field::ActiveAnon]),
    ("inactive_file", &[Field::InactiveFile]),
    ("active_file", &[Field::ActiveFile]),
    ("unevictable", &[Field::Unevictable]),
    ("anon_pages", &[Field::AnonPages]),
    ("mapped", &[Field::Mapped]),
    ("file_pages", &[Field::Cached]),
    ("dirty", &[Field::Dirty]),
    ("writeback", &[Field::Writeback]),
    ("write_pending", &[Field::Dirty, Field::Writeback]),
    ("shmem", &[Field::Shmem]),
    ("slab_reclaimable", &[Field::SReclaimable]),
    ("slab_unreclaimable", &[Field::SUnreclaim]),
    ("page_table_pages", &[Field::PageTables]),
    ("sec_page_table_pages", &[Field::SecPageTables]),
    ("swapcached", &[Field::SwapCached]),
    (KERNEL_STACK, &[Field::KernelStack]),
];
const KERNEL_STACK: &str = "kernel_stack";

/// The lines that together say the same as a key; `None` for a key that is no amount of memory.
pub(crate) fn fields_of(key: &str) -> Option<&'static [Field]> {
    let name = name(key);
    KEYS.iter().find(|(known, _)| Some(*known) == name).map(|(_, fields)| *fields)
}

/// An amount in the unit that a key counts in: kibibytes for kernel stacks, pages for all others.
pub(crate) fn in_its_unit(key: &str, amount: Kib, page: Kib) -> u64 {
    match name(key) {
        Some(KERNEL_STACK) => amount.get(),
        _ => amount.get() / page.get().max(1),
    }
}

/// The kernel counts its lists of reclaim twice, of nodes and of zones.
fn name(key: &str) -> Option<&str> {
    key.strip_prefix("nr_zone_").or_else(|| key.strip_prefix("nr_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_zones_are_those_of_nodes_and_stacks_are_in_kibibytes() {
        assert_eq!(fields_of("nr_zone_active_anon"), Some(&[Field::ActiveAnon][..]));
        assert_eq!(fields_of("nr_zone_write_pending"), Some(&[Field::Dirty, Field::Writeback][..]));
        assert_eq!(fields_of("nr_sec_page_table_pages"), Some(&[Field::SecPageTables][..]));
        assert_eq!(["active_anon", "nr_dirtied", "pgfault"].map(fields_of), [None; 3]);
        let (amount, page) = (Kib::new(48), Kib::new(16));
        assert_eq!(in_its_unit("nr_kernel_stack", amount, page), 48);
        assert_eq!(in_its_unit("nr_page_table_pages", amount, page), 3);
    }
}
