//! Where each line comes from, for people. The table in the documentation is this one, and a test keeps it
//! so.

use crate::parse::meminfo::Field::{self, *};

/// Lines that a container has with the host's values.
pub(super) const HOST_WIDE: &[Field] = &[
    CommitLimit,
    CommittedAs,
    VmallocTotal,
    Hugepagesize,
    DirectMap4k,
    DirectMap64k,
    DirectMap1M,
    DirectMap2M,
    DirectMap4M,
    DirectMap1G,
    DirectMap2G,
];

/// Where the value of some lines comes from.
pub struct Provenance {
    /// The lines.
    pub fields: &'static [Field],
    /// On cgroup v2; a bare word is a key of the container's `memory.stat`.
    pub v2: &'static str,
    /// On cgroup v1; a bare word is a key of the container's `memory.stat`.
    pub v1: &'static str,
}

const NOT_KNOWN: &str = "0: no cgroup counts it";

/// The source of every field that [`Field::ALL`] has.
pub const PROVENANCE: &[Provenance] = &[
    Provenance {
        fields: &[MemTotal],
        v2: "least `memory.max` of all levels, at most the memory of the nodes in its cpuset",
        v1: "least `memory.limit_in_bytes` of all levels, likewise",
    },
    Provenance {
        fields: &[MemAvailable],
        v2: "least, over the host, the nodes in its cpuset and all limited levels, of limit − usage + file LRU lists + slab_reclaimable − what siblings' memory.min protects of these; the host's with what ZFS gives back (`size` − `c_min` of arcstats, and of some nodes their share of it)",
        v1: "likewise, without slab and memory.min, of limits on memory and of those on memory and swap together",
    },
    Provenance {
        fields: &[MemFree],
        v2: "MemAvailable less the container's own reclaimable caches",
        v1: "likewise",
    },
    Provenance { fields: &[Buffers], v2: "0: counted in Cached", v1: "0: counted in Cached" },
    Provenance { fields: &[Cached], v2: "file", v1: "total_cache" },
    Provenance { fields: &[SwapCached], v2: "swapcached", v1: "total_swapcached" },
    Provenance {
        fields: &[Active, Inactive],
        v2: "sum of the two lines below",
        v1: "sum of the two lines below",
    },
    Provenance {
        fields: &[ActiveAnon, InactiveAnon, ActiveFile, InactiveFile],
        v2: "active_anon, inactive_anon, active_file, inactive_file",
        v1: "the same with total_",
    },
    Provenance { fields: &[Unevictable], v2: "unevictable", v1: "total_unevictable" },
    Provenance {
        fields: &[Mlocked],
        v2: "unevictable, at most the host's Mlocked: an upper bound",
        v1: "total_unevictable, likewise",
    },
    Provenance {
        fields: &[SwapTotal],
        v2: "least `memory.swap.max` of all levels, at most the host's swap; with `vm.swappiness` 0 what is swapped already",
        v1: "least memory+swap limit less least memory limit, at most the host's swap; likewise with its `memory.swappiness`",
    },
    Provenance {
        fields: &[SwapFree],
        v2: "least headroom of all levels, at most the host's SwapFree; 0 with swappiness 0",
        v1: "SwapTotal less total_swap, at most the host's SwapFree and what the memory+swap limits of all levels leave besides MemAvailable; likewise",
    },
    Provenance { fields: &[Zswap, Zswapped], v2: "zswap, zswapped", v1: NOT_KNOWN },
    Provenance {
        fields: &[Dirty, Writeback],
        v2: "file_dirty, file_writeback",
        v1: "total_dirty, total_writeback",
    },
    Provenance { fields: &[AnonPages], v2: "anon", v1: "total_rss" },
    Provenance { fields: &[Mapped], v2: "file_mapped", v1: "total_mapped_file" },
    Provenance { fields: &[Shmem], v2: "shmem", v1: "total_shmem" },
    Provenance { fields: &[KReclaimable, SReclaimable], v2: "slab_reclaimable", v1: NOT_KNOWN },
    Provenance { fields: &[SUnreclaim], v2: "slab_unreclaimable", v1: NOT_KNOWN },
    Provenance { fields: &[Slab], v2: "SReclaimable + SUnreclaim", v1: NOT_KNOWN },
    Provenance {
        fields: &[KernelStack, PageTables, SecPageTables],
        v2: "kernel_stack, pagetables, sec_pagetables",
        v1: NOT_KNOWN,
    },
    Provenance { fields: &[VmallocUsed, Percpu], v2: "vmalloc, percpu", v1: NOT_KNOWN },
    Provenance { fields: &[AnonHugePages], v2: "anon_thp", v1: "total_rss_huge" },
    Provenance { fields: &[ShmemHugePages, FileHugePages], v2: "shmem_thp, file_thp", v1: NOT_KNOWN },
    Provenance {
        fields: &[HugePagesTotal, HugePagesFree, HugePagesRsvd],
        v2: "least `hugetlb.SIZE.max` and `rsvd.max`, least headroom below these, the container's `rsvd.current` − `current` and no more than is free, each at most the host's, or that of the nodes in its cpuset; the host's where nothing limits it",
        v1: "likewise from `limit_in_bytes`, `rsvd.limit_in_bytes`, `usage_in_bytes`, `rsvd.usage_in_bytes`",
    },
    Provenance { fields: &[HugePagesSurp], v2: "0 below a hugetlb controller", v1: "likewise" },
    Provenance { fields: &[Hugetlb], v2: "sum over all sizes of pages × size", v1: "likewise" },
    Provenance { fields: HOST_WIDE, v2: "the host's: true of a container too", v1: "the host's" },
    Provenance {
        fields: &[
            ShadowCallStack,
            NfsUnstable,
            Bounce,
            WritebackTmp,
            VmallocChunk,
            HardwareCorrupted,
            ShmemPmdMapped,
            FilePmdMapped,
            CmaTotal,
            CmaFree,
            Unaccepted,
            Balloon,
        ],
        v2: NOT_KNOWN,
        v1: NOT_KNOWN,
    },
];

/// The table in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| line | cgroup v2 | cgroup v1 |\n|---|---|---|\n");
    for lines in PROVENANCE {
        let keys: Vec<_> = lines.fields.iter().map(|field| format!("`{}`", field.key())).collect();
        table += &format!("| {} | {} | {} |\n", keys.join(", "), lines.v2, lines.v1);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_exactly_one_provenance() {
        for &field in Field::ALL {
            let count = PROVENANCE.iter().filter(|lines| lines.fields.contains(&field)).count();
            assert_eq!(count, 1, "{}", field.key());
        }
    }
}
