//! `proc/vmstat`: the kernel's keys with the container's counts.

use super::contract::View;
use super::{diskstats, meminfo};
use crate::error::ViewError;
use crate::memory::{self, Values, vmstat_keys};
use crate::parse::flat_keyed::{count_of, flat_keyed};
use crate::parse::{CgroupVersion, count};
use crate::snapshot::{CgroupFile, HostFile, Needs, Scope, Snapshot};
use crate::units::Kib;
use std::collections::HashMap;
use std::io::Write;

/// The keys of the kernel's own file in their order (`vmstat_text`, mm/vmstat.c). A count is the cgroup's of
/// the same name in `memory.stat`, an amount of memory what `proc/meminfo` says of the same, in pages,
/// `oom_kill` that of `memory.events`, and `pgpgin` and `pgpgout` the kibibytes that block devices read and
/// wrote for it. All else is 0: no cgroup counts it.
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
    page: Kib,
    /// The values of all lines of `proc/meminfo`.
    amounts: Values,
    oom_kill: u64,
    read_kib: u64,
    written_kib: u64,
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
        let host = snapshot.meminfo.as_ref().ok_or(ViewError::NotLoaded("the host's meminfo"))?;
        let amounts = memory::compute(host, container, snapshot.machine.page)?;
        let kib = |bytes: u64| bytes / 1024;
        Ok(Self {
            version,
            stat,
            page: snapshot.machine.page,
            amounts,
            oom_kill: count_of(events, "oom_kill"),
            read_kib: kib(devices.iter().fold(0, |sum, io| sum.saturating_add(io.read_bytes))),
            written_kib: kib(devices.iter().fold(0, |sum, io| sum.saturating_add(io.written_bytes))),
        })
    }

    fn get(&self, key: &str) -> u64 {
        match key {
            "oom_kill" => self.oom_kill,
            "pgpgin" => self.read_kib,
            "pgpgout" => self.written_kib,
            key => match vmstat_keys::fields_of(key) {
                Some(fields) => {
                    let amount = fields.iter().map(|field| self.amounts.get(*field)).sum();
                    vmstat_keys::in_its_unit(key, amount, self.page)
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

    fn bytes(bytes: u64) -> Option<Bytes> {
        Some(Bytes::new(bytes))
    }

    fn level(limit: u64, usage: u64, stat: MemoryStat) -> Level {
        Level { limit: bytes(limit), usage: bytes(usage), stat: Some(stat), ..Level::default() }
    }

    /// Of a container, with `stat` and the other files of its cgroup.
    fn of(container: Container, version: CgroupVersion, [stat, events, io]: [&str; 3]) -> String {
        let host = "MemTotal: 1048576 kB\nMemFree: 1048576 kB\nMemAvailable: 1048576 kB\nActive(anon): 0 kB\nMlocked: 64 kB\nAnonPages: 0 kB\nKernelStack: 0 kB\nSecPageTables: 0 kB\n";
        let host = Meminfo::parse(host.as_bytes().to_vec()).unwrap();
        let scope = Scope::Container(container);
        let mut snapshot = Snapshot::of_memory(Some(host.into()), Machine::USUAL, scope);
        let native = "nr_free_pages 9\nnr_zone_active_anon 9\nnr_mlock 9\nnr_anon_pages 9\nnr_sec_page_table_pages 9\nnr_kernel_stack 9\npgpgin 9\npgpgout 9\npgfault 9\nswpin_zero 9\noom_kill 9\n";
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

    fn shown(version: CgroupVersion, amounts: MemoryStat, files: [&str; 3]) -> String {
        let amounts = MemoryStat { unevictable: bytes(12 << 10), ..amounts };
        let levels = vec![level(64 << 20, 24 << 20, amounts)];
        of(Container { levels, ..Container::default() }, version, files)
    }

    #[test]
    fn a_malformed_counter_makes_its_own_line_0() {
        let amounts = MemoryStat { anon: bytes(8192), ..MemoryStat::default() };
        let text = shown(CgroupVersion::V2, amounts, ["pgfault -70\n", "oom_kill x\n", "8:0 rbytes=-1\n"]);
        for line in ["nr_anon_pages 2", "pgfault 0", "nr_zone_active_anon 0", "oom_kill 0", "pgpgin 0"] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_containers_counts_and_nothing_of_the_host() {
        let io = "8:0 rbytes=2048 wbytes=1024 rios=1 wios=1\n8:1 rbytes=1024\n";
        let amounts = MemoryStat {
            anon: bytes(8192),
            active_anon: bytes(4096),
            kernel_stack: bytes(16_384),
            sec_pagetables: bytes(20_480),
            ..MemoryStat::default()
        };
        assert_eq!(
            shown(CgroupVersion::V2, amounts, ["pgfault 70\n", "oom 5\noom_kill 4\n", io]),
            "nr_free_pages 10240\nnr_zone_active_anon 1\nnr_mlock 3\nnr_anon_pages 2\nnr_sec_page_table_pages 5\nnr_kernel_stack 16\npgpgin 3\npgpgout 1\npgfault 70\nswpin_zero 0\noom_kill 4\n"
        );
        let amounts = MemoryStat { anon: bytes(8192), active_anon: bytes(8192), ..MemoryStat::default() };
        let files = [
            "pgfault 3\ntotal_pgfault 71\ntotal_pgpgin 5\n",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "8:0 Read 2048\nTotal 2048\nTotal 0\n",
        ];
        assert_eq!(
            shown(CgroupVersion::V1, amounts, files),
            "nr_free_pages 10240\nnr_zone_active_anon 2\nnr_mlock 3\nnr_anon_pages 2\nnr_sec_page_table_pages 0\nnr_kernel_stack 0\npgpgin 2\npgpgout 0\npgfault 71\nswpin_zero 0\noom_kill 2\n"
        );
    }

    #[test]
    fn amounts_are_those_of_the_level_that_meminfo_shows() {
        let anon = |anon| MemoryStat { anon: bytes(anon), ..MemoryStat::default() };
        let levels = vec![level(8 << 20, 2 << 20, anon(1 << 20)), level(64 << 20, 60 << 20, anon(50 << 20))];
        let container = Container { levels, index: 1, ..Container::default() };
        let text = of(container, CgroupVersion::V2, ["anon 52428800\npgfault 70\n", "", ""]);
        // Events are the container's.
        for line in ["nr_anon_pages 256", "nr_free_pages 1024", "pgfault 70"] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }
}
