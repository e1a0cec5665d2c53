//! The files of the host that are read for containers, too.

use super::node_files::NodeFiles;
use super::texts::HostTexts;
use super::ttl_cell::TtlCell;
use crate::error::Error;
use crate::kernel::boot_clock;
use crate::kernel::kernel_dir::KernelDir;
use crate::kernel::procfs::{Procfs, private_instance};
use crate::kernel::read::{LIST_DIR, PATH_DIR, READ, read_with};
use crate::rate_limited_log::malformed_host_value;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::arcstats::Arcstats;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::Meminfo;
use cgprocfs_core::parse::uptime::Uptime;
use cgprocfs_core::snapshot::HostFile;
use cgprocfs_core::time::{BootTime, TickRate};
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
    latest_meminfo: TtlCell<Arc<Meminfo>>,
    texts: HostTexts,
    arc_reclaimable: TtlCell<Kib>,
    /// ZFS's numbers, if its module is loaded.
    arcstats: TtlCell<Option<Arc<OwnedFd>>>,
    /// `/sys/kernel/mm/hugepages`; `None` if the kernel has no huge pages.
    pub(crate) huge_pages: Option<OwnedFd>,
    /// The memory nodes of a host that can ever have more than one.
    pub(crate) several_nodes: Option<NodeFiles>,
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
        let huge_pages = openat(CWD, root.join("sys/kernel/mm/hugepages"), LIST_DIR, Mode::empty()).ok();
        let machine = Machine {
            page: Bytes::new(rustix::param::page_size() as u64).to_kib(),
            tick_rate: TickRate::new(rustix::param::clock_ticks_per_second()),
        };
        let sys = open_sysfs(root);
        let several_nodes = sys.as_ref().and_then(NodeFiles::open_several);
        let (latest_meminfo, texts, arc_reclaimable) = Default::default();
        let is_this_host = root == Path::new("/");
        Ok(Self {
            meminfo,
            latest_meminfo,
            texts,
            arc_reclaimable,
            arcstats: TtlCell::with_max_age(ZFS_RETRY_INTERVAL),
            huge_pages,
            several_nodes,
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
            meminfo.malformed_keys().for_each(|key| malformed_host_value("/proc/meminfo", key));
            Ok(Arc::new(meminfo))
        })
    }

    /// Reads how much of its cache ZFS would give back. The module may be loaded at any time.
    pub(crate) fn zfs_reclaimable(&self) -> Kib {
        let open = || openat(&self.proc, "spl/kstat/zfs/arcstats", READ, Mode::empty()).ok().map(Arc::new);
        let Ok(Some(file)) = self.arcstats.get(|| Ok::<_, Infallible>(open())) else { return Kib::ZERO };
        let zfs_reclaimable = |text: &[u8]| match Arcstats::parse(text) {
            Ok(stats) => stats.zfs_reclaimable().to_kib(),
            Err(error) => {
                if let ParseError::Malformed(key) = error {
                    malformed_host_value("/proc/spl/kstat/zfs/arcstats", key.as_bytes());
                }
                Kib::ZERO
            }
        };
        self.arc_reclaimable.get(|| read_with(file, zfs_reclaimable)).unwrap_or(Kib::ZERO)
    }

    /// Reads `vm.swappiness`, which on cgroup v2 is that of all cgroups.
    pub(crate) fn swappiness(&self) -> Option<u64> {
        let file = openat(&self.proc, "sys/vm/swappiness", READ, Mode::empty()).ok()?;
        let swappiness = read_with(file, number).ok()?.ok();
        if swappiness.is_none() {
            malformed_host_value("/proc/sys/vm/swappiness", b"swappiness");
        }
        swappiness
    }
}

/// Opens the sysfs below `root`: for the real root an instance of our own, as with procfs, because somebody
/// may have mounted our views over the common one.
fn open_sysfs(root: &Path) -> Option<KernelDir> {
    let own = (root == Path::new("/")).then(|| private_instance("sysfs"));
    if let Some(Ok(directory)) = own {
        return Some(KernelDir::unattached(directory));
    }
    KernelDir::attached(openat(CWD, root.join("sys"), PATH_DIR, Mode::empty()).ok()?).ok()
}
