//! A system to read: which files are open, and how it is opened.

use super::cgroup::cache::CgroupCache;
use super::cgroup::caller::Caller;
use super::cgroup::context::ReadContext;
use super::cgroup::mounts::{CgroupMounts, CgroupMountsError};
use super::host::files::HostFiles;
use super::host::nodes::HostNodes;
use super::host::system_directory::SystemDirectory;
use super::identity::context::ProcContext;
use super::identity::resolver::CallerResolver;
use super::procfs::Procfs;
use crate::confinement::namespace_reader::NamespaceReader;
use cgprocfs_core::machine::Machine;
use std::path::Path;

/// A system to read: this one, or a tree of files that looks like one.
pub struct Source {
    pub(crate) cgroup_mounts: CgroupMounts,
    pub(crate) procfs: Procfs,
    pub(crate) host: HostFiles,
    pub(crate) system_directory: SystemDirectory,
    pub(crate) nodes: HostNodes,
    pub(crate) callers: CallerResolver,
    pub(crate) cgroups: CgroupCache,
    pub(crate) cpu_view: CpuView,
}

/// What reduces the number of CPUs that a container sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CpuView {
    /// Its cpuset and its bandwidth limits.
    #[default]
    Quota,
    /// Its cpuset alone.
    Cpuset,
}

impl Source {
    /// Opens the system below `root`, which is `/` except in tests.
    ///
    /// `boundary` is the path, in the memory controller's hierarchy, of a cgroup that is known to be a
    /// container.
    ///
    /// # Errors
    /// Where there is no memory controller, or procfs or the hierarchy can't be read.
    pub fn open(root: &Path, boundary: Option<Vec<u8>>) -> Result<Self, CgroupMountsError> {
        let procfs = Procfs::open(root)?;
        let cgroup_mounts = CgroupMounts::detect_by(root, &procfs)?;
        let host = HostFiles::open(&procfs, root)?;
        let callers = CallerResolver::new(&procfs, root, boundary);
        let system_directory = SystemDirectory::open(host.sys.as_ref());
        let (nodes, cgroups, cpu_view) = (HostNodes::default(), CgroupCache::default(), CpuView::default());
        Ok(Self { cgroup_mounts, procfs, host, system_directory, nodes, callers, cgroups, cpu_view })
    }

    /// Counts CPUs in another way.
    #[must_use]
    pub const fn with_cpu_view(mut self, cpu_view: CpuView) -> Self {
        self.cpu_view = cpu_view;
        self
    }

    /// How CPUs are counted.
    #[must_use]
    pub const fn cpu_view(&self) -> CpuView {
        self.cpu_view
    }

    /// Keeps no more than about `max_files` files open for processes and their namespaces.
    #[must_use]
    pub fn with_max_open_files(mut self, max_files: usize) -> Self {
        self.callers.bound(max_files);
        self
    }

    /// Has another process look into namespaces.
    #[must_use]
    pub fn with_namespace_reader(mut self, namespace_reader: NamespaceReader) -> Self {
        self.procfs.namespace_reader = Some(namespace_reader);
        self
    }

    /// The hierarchies that are read.
    #[must_use]
    pub fn cgroup_mounts(&self) -> &CgroupMounts {
        &self.cgroup_mounts
    }

    /// The host's `/sys/devices/system`.
    #[must_use]
    pub fn system_directory(&self) -> &SystemDirectory {
        &self.system_directory
    }

    /// The constants of the machine.
    #[must_use]
    pub const fn machine(&self) -> Machine {
        self.host.machine
    }

    /// What processes are looked up by.
    pub(crate) fn proc_context(&self) -> ProcContext<'_> {
        ProcContext { procfs: &self.procfs, hierarchy: &self.cgroup_mounts.memory }
    }

    /// What a reading for a caller is made from.
    pub(crate) fn read_context<'c>(&'c self, caller: &'c Caller<'c>) -> ReadContext<'c> {
        ReadContext { cgroup_mounts: &self.cgroup_mounts, host: &self.host, caller, kept: None }
    }

    /// Closes half of the files that are kept open for later readers, those of whoever has most.
    pub fn close_half(&self) {
        self.callers.close_half();
        self.cgroups.sweep();
    }

    /// Closes all files that are kept open for later readers.
    pub fn close_all(&self) {
        self.callers.close_all();
        self.cgroups.sweep();
    }

    /// Closes what belongs to processes, namespaces and cgroups that are gone.
    pub fn sweep(&self) {
        self.host.sweep();
        self.system_directory.sweep();
        self.callers.sweep(&self.cgroup_mounts.memory);
        self.cgroups.sweep();
    }
}
