//! `memory.stat` of both cgroup versions, as one struct.

use super::flat_keyed::flat_keyed;
use super::{CgroupVersion, ParseError, decimal};
use crate::units::{Bytes, MAX};

macro_rules! memory_stat {
    ($($(#[$doc:meta])* $field:ident: $v1:expr, $v2:expr;)+) => {
        /// The counters that the views use, in bytes. `None` is a key that this kernel does not print.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct MemoryStat {
            $($(#[$doc])* pub $field: Option<Bytes>,)+
            /// Keys of counters that are malformed, and taken for 0.
            pub malformed: Vec<&'static str>,
        }

        impl MemoryStat {
    /// Parses the file. The values of keys that no view uses are not looked at. A counter that is not a
    /// number, or is above 2^53, is taken for 0: kernels have printed counters that had drifted below 0, with
    /// a sign or wrapped.
    ///
    /// # Errors
    /// Where the text is cut short, or the keys that every kernel prints (page cache, anonymous memory and
    /// the file LRU lists) are missing: a truncated file must not pass for a small cgroup.
    pub fn parse(version: CgroupVersion, text: &[u8]) -> Result<Self, ParseError> {
        let mut stat = Self::default();
        for (key, value) in flat_keyed(text)? {
            let Some((name, counter)) = stat.counter(version, key) else { continue };
            let value = decimal(value).ok().filter(|value| *value <= MAX);
            *counter = Some(Bytes::new(value.unwrap_or(0)));
            if value.is_none() {
                stat.malformed.push(name);
            }
        }
        let required = [
            ("anon", stat.anon),
            ("file", stat.file),
            ("inactive_file", stat.inactive_file),
            ("active_file", stat.active_file),
        ];
        for (key, value) in required {
            value.ok_or(ParseError::Missing(key))?;
        }
        Ok(stat)
    }

            /// The counter of a key, and the key; `None` where nothing uses it.
            fn counter(&mut self, version: CgroupVersion, key: &[u8]) -> Option<(&'static str, &mut Option<Bytes>)> {
                $(
                    let name: Option<&'static str> =
                        match version { CgroupVersion::V1 => $v1, CgroupVersion::V2 => $v2 };
                    if let Some(name) = name.filter(|name| name.as_bytes() == key) {
                        return Some((name, &mut self.$field));
                    }
                )+
                None
            }
        }
    };
}

memory_stat! {
    /// Anonymous memory that is mapped by a process.
    anon: Some("total_rss"), Some("anon");
    /// Page cache, tmpfs included.
    file: Some("total_cache"), Some("file");
    /// tmpfs, shared anonymous and System V shared memory.
    shmem: Some("total_shmem"), Some("shmem");
    /// Page cache mapped by a process.
    file_mapped: Some("total_mapped_file"), Some("file_mapped");
    /// Page cache that awaits writing.
    file_dirty: Some("total_dirty"), Some("file_dirty");
    /// Page cache being written.
    file_writeback: Some("total_writeback"), Some("file_writeback");
    /// Swap cache.
    swapcached: Some("total_swapcached"), Some("swapcached");
    /// Swapped-out memory; v1 only, v2 has it in a file of its own.
    swap: Some("total_swap"), None;
    /// Anonymous memory in huge pages.
    anon_thp: Some("total_rss_huge"), Some("anon_thp");
    /// Page cache in huge pages.
    file_thp: None, Some("file_thp");
    /// tmpfs in huge pages.
    shmem_thp: None, Some("shmem_thp");
    /// LRU list of anonymous memory and tmpfs not used lately.
    inactive_anon: Some("total_inactive_anon"), Some("inactive_anon");
    /// LRU list of anonymous memory and tmpfs in use.
    active_anon: Some("total_active_anon"), Some("active_anon");
    /// LRU list of page cache not used lately.
    inactive_file: Some("total_inactive_file"), Some("inactive_file");
    /// LRU list of page cache in use.
    active_file: Some("total_active_file"), Some("active_file");
    /// Memory that can't be reclaimed, such as locked pages.
    unevictable: Some("total_unevictable"), Some("unevictable");
    /// Kernel memory of every kind.
    kernel: None, Some("kernel");
    /// Slab memory that can be reclaimed.
    slab_reclaimable: None, Some("slab_reclaimable");
    /// Slab memory that cannot be reclaimed.
    slab_unreclaimable: None, Some("slab_unreclaimable");
    /// Kernel stacks.
    kernel_stack: None, Some("kernel_stack");
    /// Page tables.
    pagetables: None, Some("pagetables");
    /// Page tables of virtual machines and IOMMUs.
    sec_pagetables: None, Some("sec_pagetables");
    /// Per-CPU memory.
    percpu: None, Some("percpu");
    /// `vmalloc` memory.
    vmalloc: None, Some("vmalloc");
    /// Memory that compressed swap takes.
    zswap: None, Some("zswap");
    /// Swapped-out memory that is held compressed.
    zswapped: None, Some("zswapped");
}

impl MemoryStat {
    /// Whether a counter is malformed, by its names with cgroup v2 and v1.
    #[must_use]
    pub fn is_malformed(&self, names: [&str; 2]) -> bool {
        self.malformed.iter().any(|malformed| names.contains(malformed))
    }

    /// What the kernel can reclaim without swapping: page cache on the file LRU lists, which tmpfs and locked
    /// pages are not, and reclaimable slab.
    #[must_use]
    pub fn reclaimable(&self) -> Bytes {
        let [inactive, active, slab] = [self.inactive_file, self.active_file, self.slab_reclaimable];
        inactive.unwrap_or_default() + active.unwrap_or_default() + slab.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"cache 1\nrss 2\nrss_huge 3\nhierarchical_memory_limit 9223372036854771712\n\
        total_cache 10\ntotal_rss 20\ntotal_rss_huge 30\ntotal_mapped_file 40\n\
        total_inactive_file 50\ntotal_active_file 60\ntotal_swap 70\n";
    const V2: &[u8] = b"anon 1\nfile 2\nfile_mapped 3\nfile_dirty 4\ninactive_file 5\nactive_file 6\n\
        anon_thp 7\npgfault 18446744073709551615\n";

    #[test]
    fn keys_are_exact() {
        let v1 = MemoryStat::parse(CgroupVersion::V1, V1).unwrap();
        assert_eq!((v1.anon, v1.anon_thp), (Some(Bytes::new(20)), Some(Bytes::new(30))));
        assert_eq!((v1.file, v1.file_mapped), (Some(Bytes::new(10)), Some(Bytes::new(40))));
        let v2 = MemoryStat::parse(CgroupVersion::V2, V2).unwrap();
        assert_eq!((v2.file, v2.file_mapped), (Some(Bytes::new(2)), Some(Bytes::new(3))));
        assert_eq!((v2.anon, v2.anon_thp), (Some(Bytes::new(1)), Some(Bytes::new(7))));
    }

    #[test]
    fn absent_is_not_zero() {
        let v1 = MemoryStat::parse(CgroupVersion::V1, V1).unwrap();
        assert_eq!((v1.swapcached, v1.slab_reclaimable, v1.swap), (None, None, Some(Bytes::new(70))));
        assert_eq!(MemoryStat::parse(CgroupVersion::V2, V2).unwrap().swap, None);
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        for version in [CgroupVersion::V1, CgroupVersion::V2] {
            assert!(matches!(MemoryStat::parse(version, b""), Err(ParseError::Missing(_))));
        }
        assert!(matches!(MemoryStat::parse(CgroupVersion::V2, &V2[..14]), Err(ParseError::Missing(_))));
        assert_eq!(MemoryStat::parse(CgroupVersion::V2, &V2[..V2.len() - 4]), Err(ParseError::Truncated));
        assert_eq!(MemoryStat::parse(CgroupVersion::V2, b"anon\n"), Err(ParseError::Missing("anon")));
    }

    #[test]
    fn a_malformed_counter_is_0() {
        for malformed in ["-4096", "99999999999999999", "18446744073709547520", "x", "1 2", ""] {
            let text = String::from_utf8(V2.to_vec()).unwrap();
            let with = |value: &str| text.replace("file_dirty 4", &format!("file_dirty {value}"));
            let stat = MemoryStat::parse(CgroupVersion::V2, with(malformed).as_bytes()).unwrap();
            assert_eq!(stat.malformed, ["file_dirty"], "{malformed}");
            let zero = MemoryStat::parse(CgroupVersion::V2, with("0").as_bytes()).unwrap();
            assert_eq!(MemoryStat { malformed: Vec::new(), ..stat }, zero);
        }
        let negative = [V1, b"total_cache -4096\ncache -4096\n"].concat();
        let stat = MemoryStat::parse(CgroupVersion::V1, &negative).unwrap();
        assert_eq!((stat.file, &stat.malformed[..]), (Some(Bytes::ZERO), &["total_cache"][..]));
    }

    #[test]
    fn what_nothing_uses_is_not_looked_at() {
        for malformed in [&b"pgdemote_kswapd -5"[..], b"pgfault", b"cache -4096", b"\xff\xfe", b"anon_ x"] {
            let text = [V2, malformed, b"\n"].concat();
            assert_eq!(
                MemoryStat::parse(CgroupVersion::V2, &text),
                MemoryStat::parse(CgroupVersion::V2, V2),
                "{malformed:?}"
            );
        }
    }
}
