//! The host's own files.

use super::cgroup_files::CgroupFiles;
use super::huge_pages;
use super::layout::Layout;
use super::procfs::{Procfs, READ, read_whole};
use crate::bytes::{Bytes, Kib};
use crate::error::Error;
use crate::parse::meminfo::{Field, Meminfo};
use crate::parse::memory_stat::MemoryStat;
use crate::snapshot::{HugePool, Level, Needs, Scope, Snapshot};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What is read of the host for every container.
pub(super) struct HostFiles {
    meminfo: OwnedFd,
    hugepages: Option<OwnedFd>,
    /// Size of a page.
    pub(super) page: Kib,
}

impl HostFiles {
    /// Opens the files below `root`.
    pub(super) fn open(procfs: &Procfs, root: &Path) -> Result<Self, Error> {
        // Never through a view that somebody laid over it: that would be waiting for ourselves.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
        let opened = match openat2(&procfs.dir, "meminfo", READ, Mode::empty(), resolve) {
            // Before Linux 5.6, or behind a filter that knows no openat2(2); a procfs of our own has
            // nothing laid over it anyway.
            Err(Errno::NOSYS) => openat(&procfs.dir, "meminfo", READ, Mode::empty()),
            opened => opened,
        };
        let meminfo = opened.map_err(|e| Error::unreadable("/proc/meminfo", e))?;
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let hugepages = openat(CWD, root.join("sys/kernel/mm/hugepages"), directory, Mode::empty()).ok();
        let page = Bytes::new(rustix::param::page_size() as u64).to_kib();
        Ok(Self { meminfo, hugepages, page })
    }

    /// The host's `/proc/meminfo`.
    pub(super) fn meminfo(&self, buffer: &mut Vec<u8>) -> Result<Meminfo, Error> {
        read_whole(&self.meminfo, buffer).map_err(|e| Error::unreadable("/proc/meminfo", e))?;
        Meminfo::parse(buffer.clone()).map_err(|e| Error::malformed("/proc/meminfo", e))
    }

    /// The pools of huge pages as a reader in the cgroup `path` of the hugetlb controller's hierarchy may
    /// use them.
    pub(super) fn huge_pages(
        &self,
        meminfo: &Meminfo,
        layout: &Layout,
        path: &[u8],
    ) -> Result<Option<Vec<HugePool>>, Error> {
        match (&self.hugepages, &layout.hugetlb) {
            (Some(directory), Some(hierarchy)) => huge_pages::pools(directory, meminfo, hierarchy, path),
            _ => Ok(None),
        }
    }

    /// The host's file and, where usage is needed, the root cgroup's numbers.
    pub(super) fn load(
        &self,
        layout: &Layout,
        needs: Needs,
        buffer: &mut Vec<u8>,
    ) -> Result<Snapshot, Error> {
        let mut root = Level::default();
        if needs.covers(Needs::USAGE) {
            CgroupFiles::open(&layout.memory, b"/")?.usage(&mut root, buffer)?;
        }
        let usage_by_meminfo = needs.covers(Needs::USAGE) && root.stat.is_none();
        let meminfo = match needs.covers(Needs::LEVELS) || usage_by_meminfo {
            true => Some(self.meminfo(buffer)?),
            false => None,
        };
        if let (true, Some(meminfo)) = (usage_by_meminfo, &meminfo) {
            root.stat = Some(stat_by_meminfo(meminfo));
        }
        Ok(Snapshot { meminfo, page: self.page, scope: Scope::Host(Box::new(root)) })
    }
}

/// Before Linux 5.8 the root of cgroup v2 has no `memory.stat`; the host's meminfo has the same counters.
fn stat_by_meminfo(meminfo: &Meminfo) -> MemoryStat {
    let bytes = |field| Some(Bytes::new(meminfo.kib(field).get().saturating_mul(1024)));
    let file = meminfo.kib(Field::Cached) + meminfo.kib(Field::Buffers);
    MemoryStat {
        anon: bytes(Field::AnonPages),
        file: Some(Bytes::new(file.get().saturating_mul(1024))),
        inactive_file: bytes(Field::InactiveFile),
        active_file: bytes(Field::ActiveFile),
        ..MemoryStat::default()
    }
}
