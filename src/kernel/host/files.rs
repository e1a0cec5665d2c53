//! The files of the host that are read for containers, too.

use super::shared::Shared;
use super::texts::HostTexts;
use crate::error::Error;
use crate::kernel::boot_clock;
use crate::kernel::cgroup::cgroup_files::CgroupFiles;
use crate::kernel::cgroup::huge_pages;
use crate::kernel::cgroup::memory_nodes::MemoryNodes;
use crate::kernel::cgroup::mounts::{CgroupMounts, Hierarchy};
use crate::kernel::identity::caller::Caller;
use crate::kernel::kernel_dir::KernelDir;
use crate::kernel::procfs::{Procfs, private_instance};
use crate::kernel::read::{LIST_DIR, PATH_DIR, READ, read_with};
use crate::rate_limited_log::odd_host_value;
use cgprocfs_core::machine::{BootTime, Machine, TickRate};
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::arcstats::Arcstats;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::parse::memory_stat::MemoryStat;
use cgprocfs_core::parse::uptime::Uptime;
use cgprocfs_core::snapshot::{Container, HostFile, Level, Needs, Scope, Snapshot};
use cgprocfs_core::units::{Bytes, Kib};
use rustix::fs::{CWD, Mode, openat};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long it is taken for granted whether ZFS is loaded.
const ZFS_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The files of the host that are read for every container.
pub(crate) struct HostFiles {
    meminfo: OwnedFd,
    latest_meminfo: Shared<Arc<Meminfo>>,
    texts: HostTexts,
    arc_given_back: Shared<Kib>,
    /// ZFS's numbers, if its module is loaded.
    arcstats: Shared<Option<Arc<OwnedFd>>>,
    hugepages: Option<OwnedFd>,
    nodes: MemoryNodes,
    /// `/proc`.
    pub(crate) proc: KernelDir,
    /// `/sys`; `None` if it can't be opened.
    pub(crate) sys: Option<KernelDir>,
    pub(crate) machine: Machine,
    /// Whether this is the running system, and no copy of its files.
    is_this_host: bool,
}

impl HostFiles {
    /// Opens the files below `root`.
    pub(crate) fn open(procfs: &Procfs, root: &Path) -> Result<Self, Error> {
        let proc = openat(&procfs.dir, ".", PATH_DIR, Mode::empty());
        let proc = proc.and_then(|dir| {
            if procfs.is_own { Ok(KernelDir::unattached(dir)) } else { KernelDir::attached(dir) }
        });
        let proc = proc.map_err(|e| Error::unreadable("/proc", e))?;
        let meminfo = proc.open("meminfo", READ).map_err(|e| Error::unreadable("/proc/meminfo", e))?;
        let hugepages = openat(CWD, root.join("sys/kernel/mm/hugepages"), LIST_DIR, Mode::empty()).ok();
        let machine = Machine {
            page: Bytes::new(rustix::param::page_size() as u64).to_kib(),
            tick_rate: TickRate::new(rustix::param::clock_ticks_per_second()),
        };
        let sys = open_sysfs(root);
        let nodes = MemoryNodes::open(sys.as_ref());
        let (latest_meminfo, texts, arc_given_back) = Default::default();
        let is_this_host = root == Path::new("/");
        Ok(Self {
            meminfo,
            latest_meminfo,
            texts,
            arc_given_back,
            arcstats: Shared::with_max_age(ZFS_RETRY_INTERVAL),
            hugepages,
            nodes,
            proc,
            sys,
            machine,
            is_this_host,
        })
    }

    /// Reads the text of a file that is a view for containers.
    pub(crate) fn host_file(&self, file: HostFile) -> Result<Arc<[u8]>, Error> {
        self.texts.text(file, &self.proc, self.sys.as_ref())
    }

    /// Frees what is too old to be used.
    pub(crate) fn sweep(&self) {
        self.texts.sweep();
        self.latest_meminfo.sweep();
    }

    /// How long the host has run.
    pub(crate) fn uptime(&self) -> Result<BootTime, Error> {
        if self.is_this_host {
            return Ok(boot_clock::now());
        }
        let text = self.host_file(HostFile::Uptime)?;
        let uptime = Uptime::parse(&text).map_err(|e| Error::malformed("/proc/uptime", e))?;
        Ok(uptime.now)
    }

    /// Reads which CPUs are online.
    pub(crate) fn online(&self) -> Result<CpuList, Error> {
        let file = HostFile::CpuOnline;
        CpuList::parse(&self.host_file(file)?).map_err(|e| Error::malformed(format!("/{}", file.path()), e))
    }

    /// Reads the host's `/proc/meminfo`.
    pub(crate) fn meminfo(&self) -> Result<Arc<Meminfo>, Error> {
        self.latest_meminfo.get(|| {
            let parsed = read_with(&self.meminfo, |text| Meminfo::parse(text.to_vec()));
            let parsed = parsed.map_err(|e| Error::unreadable("/proc/meminfo", e))?;
            let meminfo = parsed.map_err(|e| Error::malformed("/proc/meminfo", e))?;
            meminfo.odd_keys().for_each(|key| odd_host_value("/proc/meminfo", key));
            Ok(Arc::new(meminfo))
        })
    }

    /// Reads how much memory the host has for a caller, whatever the memory controller says.
    pub(crate) fn fill_room(
        &self,
        container: &mut Container,
        meminfo: &Meminfo,
        cgroup_mounts: &CgroupMounts,
        caller: &Caller<'_>,
    ) -> Result<(), Error> {
        container.given_back = self.given_back();
        let allowed = self.nodes.allowed(cgroup_mounts.cpuset.as_ref(), caller)?;
        container.nodes = match &allowed {
            Some(allowed) => self.nodes.memory(allowed)?,
            None => None,
        };
        if let Some(directory) = &self.hugepages {
            let nodes = allowed.as_ref().map(|allowed| (&self.nodes, allowed));
            container.huge_pages = huge_pages::pools(directory, meminfo, cgroup_mounts, caller, nodes)?;
        }
        Ok(())
    }

    /// Reads how much of its cache ZFS would give back. The module may be loaded at any time.
    fn given_back(&self) -> Kib {
        let open = || openat(&self.proc, "spl/kstat/zfs/arcstats", READ, Mode::empty()).ok().map(Arc::new);
        let Ok(Some(file)) = self.arcstats.get(|| Ok::<_, Infallible>(open())) else { return Kib::ZERO };
        let given_back = |text: &[u8]| match Arcstats::parse(text) {
            Ok(stats) => stats.given_back().to_kib(),
            Err(error) => {
                if let ParseError::Malformed(key) = error {
                    odd_host_value("/proc/spl/kstat/zfs/arcstats", key.as_bytes());
                }
                Kib::ZERO
            }
        };
        self.arc_given_back.get(|| read_with(file, given_back)).unwrap_or(Kib::ZERO)
    }

    /// Reads `vm.swappiness`, which on cgroup v2 is that of all cgroups.
    pub(crate) fn swappiness(&self) -> Option<u64> {
        let file = openat(&self.proc, "sys/vm/swappiness", READ, Mode::empty()).ok()?;
        read_with(file, number).ok()?.ok()
    }

    /// Reads the host's meminfo and, if usage is needed, the root cgroup's numbers.
    pub(crate) fn read_snapshot(&self, memory: &Hierarchy, needs: Needs) -> Result<Snapshot, Error> {
        let mut root = Level::default();
        if needs.covers(Needs::USAGE) {
            CgroupFiles::open(memory, memory.locate(b"/"))?.fill_usage(&mut root, None)?;
        }
        let usage_by_meminfo = needs.covers(Needs::USAGE) && root.stat.is_none();
        let meminfo = match needs.covers(Needs::LEVELS) || usage_by_meminfo {
            true => Some(self.meminfo()?),
            false => None,
        };
        if let (true, Some(meminfo)) = (usage_by_meminfo, &meminfo) {
            root.stat = Some(stat_by_meminfo(meminfo));
        }
        Ok(Snapshot::of_memory(meminfo, self.machine, Scope::Host(Box::new(root))))
    }
}

/// Opens the sysfs below `root`: for the real root an instance of our own, as with procfs, because somebody may have mounted our
/// views over the common one.
fn open_sysfs(root: &Path) -> Option<KernelDir> {
    let own = (root == Path::new("/")).then(|| private_instance("sysfs"));
    if let Some(Ok(directory)) = own {
        return Some(KernelDir::unattached(directory));
    }
    KernelDir::attached(openat(CWD, root.join("sys"), PATH_DIR, Mode::empty()).ok()?).ok()
}

/// The root's statistics by the host's meminfo, which has the same counters: before Linux 5.8 the root of cgroup v2 has no
/// `memory.stat`.
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
