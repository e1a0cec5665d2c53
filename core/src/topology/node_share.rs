//! The lines of one node's `meminfo`.

use crate::parse::meminfo::Field;
use crate::units::Kib;

/// Lines of a node's meminfo that are a part of a line of the container's `proc/meminfo`: the name, that
/// line, and the keys of `memory.numa_stat` of cgroup v2 and v1 by which it is divided among the nodes.
pub(super) const LINES: [(&str, Field, [&str; 2]); 21] = [
    ("SwapCached", Field::SwapCached, ["swapcached", ""]),
    ("Active(anon)", Field::ActiveAnon, ["active_anon", "anon"]),
    ("Inactive(anon)", Field::InactiveAnon, ["inactive_anon", "anon"]),
    ("Active(file)", Field::ActiveFile, ["active_file", "file"]),
    ("Inactive(file)", Field::InactiveFile, ["inactive_file", "file"]),
    ("Unevictable", Field::Unevictable, ["unevictable", "unevictable"]),
    ("Mlocked", Field::Mlocked, ["unevictable", "unevictable"]),
    ("Dirty", Field::Dirty, ["file_dirty", "file"]),
    ("Writeback", Field::Writeback, ["file_writeback", "file"]),
    ("FilePages", Field::Cached, ["file", "file"]),
    ("Mapped", Field::Mapped, ["file_mapped", "file"]),
    ("AnonPages", Field::AnonPages, ["anon", "anon"]),
    // With v1 it is on the lists of anonymous memory.
    ("Shmem", Field::Shmem, ["shmem", "anon"]),
    ("KernelStack", Field::KernelStack, ["kernel_stack", ""]),
    ("PageTables", Field::PageTables, ["pagetables", ""]),
    ("SecPageTables", Field::SecPageTables, ["sec_pagetables", ""]),
    ("SReclaimable", Field::SReclaimable, ["slab_reclaimable", ""]),
    ("SUnreclaim", Field::SUnreclaim, ["slab_unreclaimable", ""]),
    ("AnonHugePages", Field::AnonHugePages, ["anon_thp", ""]),
    ("ShmemHugePages", Field::ShmemHugePages, ["shmem_thp", ""]),
    ("FileHugePages", Field::FileHugePages, ["file_thp", ""]),
];

/// The container's memory on one node, in kibibytes.
#[derive(Debug, Clone)]
pub(super) struct NodeShare {
    /// The host's number of the node.
    pub(super) number: u32,
    pub(super) total: u64,
    pub(super) free: u64,
    /// The values of [`LINES`].
    pub(super) lines: [u64; LINES.len()],
}

impl NodeShare {
    /// The value of a line of the node's meminfo; 0 for one that a container does not have.
    pub(super) fn line(&self, key: &str) -> u64 {
        let of =
            |key: &str| LINES.iter().position(|(known, ..)| *known == key).map_or(0, |line| self.lines[line]);
        match key {
            "MemTotal" => self.total,
            "MemFree" => self.free,
            "MemUsed" => self.total.saturating_sub(self.free),
            "Active" => of("Active(anon)") + of("Active(file)"),
            "Inactive" => of("Inactive(anon)") + of("Inactive(file)"),
            "KReclaimable" => of("SReclaimable"),
            "Slab" => of("SReclaimable") + of("SUnreclaim"),
            key => of(key),
        }
    }

    /// The node's part of a line of the container's `proc/meminfo`; 0 for one that nodes do not have.
    pub(super) fn part_of(&self, field: Field) -> Kib {
        match LINES.iter().position(|(_, known, _)| *known == field) {
            Some(line) => Kib::new(self.lines[line]),
            None if field == Field::MemFree => Kib::new(self.free),
            None => Kib::ZERO,
        }
    }
}
