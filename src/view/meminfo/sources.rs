//! Where each line comes from, for people. The README's table is this one, and a test keeps it so.

use crate::parse::meminfo::Field::{self, *};

/// Lines that say of a container what they say of the host.
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
pub struct Source {
    /// The lines.
    pub fields: &'static [Field],
    /// On cgroup v2; a bare word is a key of the container's `memory.stat`.
    pub v2: &'static str,
    /// On cgroup v1; likewise.
    pub v1: &'static str,
}

const NOT_KNOWN: &str = "0: no cgroup counts it";

/// The source of every field that [`Field::ALL`] has.
pub const SOURCES: &[Source] = &[
    Source {
        fields: &[MemTotal],
        v2: "least `memory.max` of all levels, at most the host's memory",
        v1: "least `memory.limit_in_bytes` of all levels, at most the host's memory",
    },
    Source {
        fields: &[MemAvailable],
        v2: "least, over the host and all limited levels, of limit − usage + file LRU lists + slab_reclaimable",
        v1: "likewise, without slab",
    },
    Source {
        fields: &[MemFree],
        v2: "MemAvailable less the container's own reclaimable caches",
        v1: "likewise",
    },
    Source { fields: &[Buffers], v2: "0: counted in Cached", v1: "0: counted in Cached" },
    Source { fields: &[Cached], v2: "file", v1: "total_cache" },
    Source { fields: &[SwapCached], v2: "swapcached", v1: "total_swapcached" },
    Source {
        fields: &[Active, Inactive],
        v2: "sum of the two lines below",
        v1: "sum of the two lines below",
    },
    Source {
        fields: &[ActiveAnon, InactiveAnon, ActiveFile, InactiveFile],
        v2: "active_anon, inactive_anon, active_file, inactive_file",
        v1: "the same with total_",
    },
    Source { fields: &[Unevictable], v2: "unevictable", v1: "total_unevictable" },
    Source {
        fields: &[Mlocked],
        v2: "unevictable, at most the host's Mlocked: an upper bound",
        v1: "total_unevictable, likewise",
    },
    Source {
        fields: &[SwapTotal],
        v2: "least `memory.swap.max` of all levels, at most the host's swap",
        v1: "least memory+swap limit less least memory limit, at most the host's swap; 0 with swappiness 0",
    },
    Source {
        fields: &[SwapFree],
        v2: "least headroom of all levels, at most the host's SwapFree",
        v1: "SwapTotal less total_swap, at most the host's SwapFree",
    },
    Source { fields: &[Zswap, Zswapped], v2: "zswap, zswapped", v1: NOT_KNOWN },
    Source {
        fields: &[Dirty, Writeback],
        v2: "file_dirty, file_writeback",
        v1: "total_dirty, total_writeback",
    },
    Source { fields: &[AnonPages], v2: "anon", v1: "total_rss" },
    Source { fields: &[Mapped], v2: "file_mapped", v1: "total_mapped_file" },
    Source { fields: &[Shmem], v2: "shmem", v1: "total_shmem" },
    Source { fields: &[KReclaimable, SReclaimable], v2: "slab_reclaimable", v1: NOT_KNOWN },
    Source { fields: &[SUnreclaim], v2: "slab_unreclaimable", v1: NOT_KNOWN },
    Source { fields: &[Slab], v2: "SReclaimable + SUnreclaim", v1: NOT_KNOWN },
    Source {
        fields: &[KernelStack, PageTables, SecPageTables],
        v2: "kernel_stack, pagetables, sec_pagetables",
        v1: NOT_KNOWN,
    },
    Source { fields: &[VmallocUsed, Percpu], v2: "vmalloc, percpu", v1: NOT_KNOWN },
    Source { fields: &[AnonHugePages], v2: "anon_thp", v1: "total_rss_huge" },
    Source { fields: &[ShmemHugePages, FileHugePages], v2: "shmem_thp, file_thp", v1: NOT_KNOWN },
    Source {
        fields: &[HugePagesTotal, HugePagesFree, HugePagesRsvd],
        v2: "least `hugetlb.SIZE.max`, least headroom, `rsvd.current`, each at most the host's; the host's without a hugetlb controller",
        v1: "likewise from `limit_in_bytes`, `usage_in_bytes`, `rsvd.usage_in_bytes`",
    },
    Source { fields: &[HugePagesSurp], v2: "0 below a hugetlb controller", v1: "likewise" },
    Source { fields: &[Hugetlb], v2: "sum over all sizes of pages × size", v1: "likewise" },
    Source { fields: HOST_WIDE, v2: "the host's: true of a container too", v1: "the host's" },
    Source {
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
    for source in SOURCES {
        let keys: Vec<_> = source.fields.iter().map(|field| format!("`{}`", field.key())).collect();
        table += &format!("| {} | {} | {} |\n", keys.join(", "), source.v2, source.v1);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_exactly_one_source() {
        for &field in Field::ALL {
            let sources = SOURCES.iter().filter(|source| source.fields.contains(&field)).count();
            assert_eq!(sources, 1, "{}", field.key());
        }
    }
}
