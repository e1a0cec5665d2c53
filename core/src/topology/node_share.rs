//! The lines of one node's `meminfo`.

use crate::parse::meminfo::Field;

/// Lines of a node's meminfo that are a part of a line of the container's `proc/meminfo`: the name, that
/// line, the keys of `memory.numa_stat` of cgroup v2 and v1 by which it is divided among the nodes, and its
/// key in the node's vmstat after `nr_`.
pub(super) const LINES: [(&str, Field, [&str; 2], &str); 21] = [
    ("SwapCached", Field::SwapCached, ["swapcached", ""], "swapcached"),
    ("Active(anon)", Field::ActiveAnon, ["active_anon", "anon"], "active_anon"),
    ("Inactive(anon)", Field::InactiveAnon, ["inactive_anon", "anon"], "inactive_anon"),
    ("Active(file)", Field::ActiveFile, ["active_file", "file"], "active_file"),
    ("Inactive(file)", Field::InactiveFile, ["inactive_file", "file"], "inactive_file"),
    ("Unevictable", Field::Unevictable, ["unevictable", "unevictable"], "unevictable"),
    ("Mlocked", Field::Mlocked, ["unevictable", "unevictable"], "mlock"),
    ("Dirty", Field::Dirty, ["file_dirty", "file"], "dirty"),
    ("Writeback", Field::Writeback, ["file_writeback", "file"], "writeback"),
    ("FilePages", Field::Cached, ["file", "file"], "file_pages"),
    ("Mapped", Field::Mapped, ["file_mapped", "file"], "mapped"),
    ("AnonPages", Field::AnonPages, ["anon", "anon"], "anon_pages"),
    // With v1 it is on the lists of anonymous memory.
    ("Shmem", Field::Shmem, ["shmem", "anon"], "shmem"),
    ("KernelStack", Field::KernelStack, ["kernel_stack", ""], "kernel_stack"),
    ("PageTables", Field::PageTables, ["pagetables", ""], "page_table_pages"),
    ("SecPageTables", Field::SecPageTables, ["sec_pagetables", ""], "sec_page_table_pages"),
    ("SReclaimable", Field::SReclaimable, ["slab_reclaimable", ""], "slab_reclaimable"),
    ("SUnreclaim", Field::SUnreclaim, ["slab_unreclaimable", ""], "slab_unreclaimable"),
    ("AnonHugePages", Field::AnonHugePages, ["anon_thp", ""], ""),
    ("ShmemHugePages", Field::ShmemHugePages, ["shmem_thp", ""], ""),
    ("FileHugePages", Field::FileHugePages, ["file_thp", ""], ""),
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
}
