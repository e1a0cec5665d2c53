//! `proc/vmstat`: the kernel's keys with the container's counts.

use super::contract::View;
use super::{diskstats, meminfo};
use crate::error::ViewError;
use crate::parse::flat_keyed::{count_of, flat_keyed};
use crate::parse::meminfo::Field;
use crate::parse::{CgroupVersion, count};
use crate::snapshot::{CgroupFile, HostFile, Needs, Scope, Snapshot};
use std::collections::HashMap;
use std::io::Write;

/// The keys of the kernel's own file in their order (`vmstat_text`, mm/vmstat.c). A count is the cgroup's of the same name
/// in `memory.stat`, an amount of memory its `memory.stat` in pages, `nr_free_pages` and `nr_mlock` what
/// `proc/meminfo` has, `oom_kill` that of `memory.events`, and `pgpgin` and `pgpgout` the kibibytes that block devices read and wrote for it.
/// All else is 0: no cgroup counts it.
pub struct Vmstat;

impl View for Vmstat {
    fn path(&self) -> &'static str {
        HostFile::Vmstat.path()
    }

    fn claimed_size(&self) -> u64 {
        64 << 10
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Vmstat)
    }

    fn needs(&self) -> Needs {
        meminfo::Meminfo
            .needs()
            .and(Needs::cgroup_file(CgroupFile::MemoryStat))
            .and(Needs::cgroup_file(CgroupFile::MemoryEvents))
            .and(Needs::cgroup_file(CgroupFile::Io))
            .and(Needs::host_file(HostFile::Vmstat))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(HostFile::Vmstat)?;
        let counts = Counts::of(snapshot)?;
        let malformed = |error| ViewError::Malformed("/proc/vmstat", error);
        for (key, _) in flat_keyed(native).map_err(malformed)? {
            let Ok(key) = std::str::from_utf8(key) else { continue };
            // Writing to a Vec never fails.
            let _ = writeln!(out, "{key} {}", counts.get(key));
        }
        Ok(())
    }
}

struct Counts<'s> {
    version: CgroupVersion,
    /// `memory.stat`.
    stat: HashMap<&'s [u8], u64>,
    page_kib: u64,
    free_pages: u64,
    locked_pages: u64,
    oom_kill: u64,
    read_kib: u64,
    written_kib: u64,
}

/// Keys of `/proc/vmstat` that are an amount of memory, with those of `memory.stat` of cgroup v2 and v1.
const AMOUNTS: &[(&str, &str, &str)] = &[
    ("nr_inactive_anon", "inactive_anon", "total_inactive_anon"),
    ("nr_active_anon", "active_anon", "total_active_anon"),
    ("nr_inactive_file", "inactive_file", "total_inactive_file"),
    ("nr_active_file", "active_file", "total_active_file"),
    ("nr_unevictable", "unevictable", "total_unevictable"),
    ("nr_anon_pages", "anon", "total_rss"),
    ("nr_mapped", "file_mapped", "total_mapped_file"),
    ("nr_file_pages", "file", "total_cache"),
    ("nr_dirty", "file_dirty", "total_dirty"),
    ("nr_writeback", "file_writeback", "total_writeback"),
    ("nr_shmem", "shmem", "total_shmem"),
    ("nr_slab_reclaimable", "slab_reclaimable", ""),
    ("nr_slab_unreclaimable", "slab_unreclaimable", ""),
    ("nr_page_table_pages", "pagetables", ""),
    ("nr_swapcached", "swapcached", "total_swapcached"),
];

/// The kernel counts its lists of reclaim twice, of nodes and of zones.
fn amount(key: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let name = key.strip_prefix("nr_zone_").or_else(|| key.strip_prefix("nr_"));
    AMOUNTS.iter().find(|(known, ..)| known.strip_prefix("nr_") == name)
}

/// The text of a file of the container's cgroup; empty where there is none.
fn text(snapshot: &Snapshot, file: CgroupFile) -> Result<&[u8], ViewError> {
    Ok(snapshot.cgroup_file(file)?.map_or(&[], |raw| &raw.text))
}

impl<'s> Counts<'s> {
    fn of(snapshot: &'s Snapshot) -> Result<Self, ViewError> {
        let raw = snapshot.cgroup_file(CgroupFile::MemoryStat)?;
        let version = raw.map_or(CgroupVersion::V2, |raw| raw.version);
        let stat = flat_keyed(raw.map_or(&[], |raw| &raw.text[..]));
        let stat = stat.map_err(|e| ViewError::Malformed("memory.stat", e))?;
        let stat = stat.map(|(key, value)| (key, count(value).unwrap_or(0))).collect();
        let events = text(snapshot, CgroupFile::MemoryEvents)?;
        let devices = diskstats::devices(snapshot)?;
        let Scope::Container(container) = &snapshot.scope else {
            return Err(ViewError::NotLoaded("the container"));
        };
        let [free, locked] = meminfo::values(snapshot, container, [Field::MemFree, Field::Mlocked])?;
        let page_kib = snapshot.machine.page.get().max(1);
        let kib = |bytes: u64| bytes / 1024;
        Ok(Self {
            version,
            stat,
            page_kib,
            free_pages: free.get() / page_kib,
            locked_pages: locked.get() / page_kib,
            oom_kill: count_of(events, "oom_kill"),
            read_kib: kib(devices.iter().fold(0, |sum, io| sum.saturating_add(io.read_bytes))),
            written_kib: kib(devices.iter().fold(0, |sum, io| sum.saturating_add(io.written_bytes))),
        })
    }

    fn get(&self, key: &str) -> u64 {
        match key {
            "nr_free_pages" => self.free_pages,
            "nr_mlock" => self.locked_pages,
            "oom_kill" => self.oom_kill,
            "pgpgin" => self.read_kib,
            "pgpgout" => self.written_kib,
            // In kibibytes, unlike the rest.
            "nr_kernel_stack" => self.stat("kernel_stack").unwrap_or(0) / 1024,
            key => match amount(key) {
                Some((_, v2, v1)) => {
                    let key = match self.version {
                        CgroupVersion::V1 => v1,
                        CgroupVersion::V2 => v2,
                    };
                    self.stat(key).unwrap_or(0) / 1024 / self.page_kib
                }
                None if key.starts_with("nr_") => 0,
                None => match self.version {
                    // What has no `total_` leaves out the cgroups below.
                    CgroupVersion::V1 => self.stat(&format!("total_{key}")),
                    CgroupVersion::V2 => self.stat(key),
                }
                .unwrap_or(0),
            },
        }
    }

    fn stat(&self, key: &str) -> Option<u64> {
        self.stat.get(key.as_bytes()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::parse::meminfo::Meminfo;
    use crate::parse::memory_stat::MemoryStat;
    use crate::snapshot::{Container, Level, RawFile};
    use crate::units::Bytes;

    fn shown(version: CgroupVersion, stat: &str, events: &str, io: &str) -> String {
        let level = Level {
            limit: Some(Bytes::new(64 << 20)),
            usage: Some(Bytes::new(24 << 20)),
            stat: Some(MemoryStat { unevictable: Some(Bytes::new(12 << 10)), ..MemoryStat::default() }),
            ..Level::default()
        };
        let scope = Scope::Container(Container { levels: vec![level], ..Container::default() });
        let host = "MemTotal: 1048576 kB\nMemFree: 1048576 kB\nMemAvailable: 1048576 kB\nMlocked: 64 kB\n";
        let host = Meminfo::parse(host.as_bytes().to_vec()).unwrap();
        let mut snapshot = Snapshot::of_memory(Some(host.into()), Machine::USUAL, scope);
        let native = "nr_free_pages 9\nnr_zone_active_anon 9\nnr_mlock 9\nnr_anon_pages 9\nnr_kernel_stack 9\npgpgin 9\npgpgout 9\npgfault 9\nswpin_zero 9\noom_kill 9\n";
        snapshot.host_files.push((HostFile::Vmstat, native.as_bytes().into()));
        for (file, text) in
            [(CgroupFile::MemoryStat, stat), (CgroupFile::MemoryEvents, events), (CgroupFile::Io, io)]
        {
            snapshot.cgroup_files.push((file, Some(RawFile { version, text: text.into() })));
        }
        let mut out = Vec::new();
        Vmstat.render(&snapshot, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_odd_counter_makes_its_own_line_0() {
        let text = shown(
            CgroupVersion::V2,
            "anon 8192\npgfault -70\nactive_anon 18446744073709547520\n",
            "oom_kill x\n",
            "8:0 rbytes=-1\n",
        );
        for line in ["nr_anon_pages 2", "pgfault 0", "nr_zone_active_anon 0", "oom_kill 0", "pgpgin 0"] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_containers_counts_and_nothing_of_the_host() {
        let v2 = "anon 8192\nactive_anon 4096\nkernel_stack 16384\npgfault 70\n";
        assert_eq!(
            shown(
                CgroupVersion::V2,
                v2,
                "oom 5\noom_kill 4\n",
                "8:0 rbytes=2048 wbytes=1024 rios=1 wios=1\n8:1 rbytes=1024\n"
            ),
            "nr_free_pages 10240\nnr_zone_active_anon 1\nnr_mlock 3\nnr_anon_pages 2\nnr_kernel_stack 16\npgpgin 3\npgpgout 1\npgfault 70\nswpin_zero 0\noom_kill 4\n"
        );
        let v1 =
            "rss 4096\ntotal_active_anon 8192\npgfault 3\ntotal_rss 8192\ntotal_pgfault 71\ntotal_pgpgin 5\n";
        assert_eq!(
            shown(
                CgroupVersion::V1,
                v1,
                "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                "8:0 Read 2048\nTotal 2048\nTotal 0\n"
            ),
            "nr_free_pages 10240\nnr_zone_active_anon 2\nnr_mlock 3\nnr_anon_pages 2\nnr_kernel_stack 0\npgpgin 2\npgpgout 0\npgfault 71\nswpin_zero 0\noom_kill 2\n"
        );
    }
}
