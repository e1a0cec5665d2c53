//! One system to read.

use super::cgroup::levels::{CgroupAncestry, CgroupCache};
use super::cgroup::mounts::{CgroupMounts, CgroupMountsError};
use super::cgroup::pressure::PressureFile;
use super::cgroup::tasks::{self, Depth, TaskLook};
use super::cgroup::{cpus, paths, raw_files};
use super::host::files::HostFiles;
use super::host::nodes::HostNodes;
use super::host::system_directory::SystemDirectory;
use super::identity::caller::{Caller, Reader};
use super::identity::life::Life;
use super::identity::resolver::{self, CallerResolver};
use super::procfs::{Procfs, with_buffer};
use crate::confinement::namespace_reader::NamespaceReader;
use crate::error::{Error, escaped};
use cgprocfs_core::machine::{Machine, Ticks};
use cgprocfs_core::parse::proc_status;
use cgprocfs_core::snapshot::{CgroupFile, HostFile, Needs, Scope, Snapshot};
use rustix::fs::AtFlags;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// One system to read: this one, or a tree of files that looks like one.
pub struct Source {
    pub(crate) cgroup_mounts: CgroupMounts,
    pub(crate) procfs: Procfs,
    pub(crate) host: HostFiles,
    pub(crate) system_directory: SystemDirectory,
    pub(crate) nodes: HostNodes,
    pub(crate) callers: CallerResolver,
    pub(crate) levels: CgroupCache,
    pub(crate) cpu_view: CpuView,
}

/// What makes a container have fewer processors than the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CpuView {
    /// Its cpuset, and its limits on bandwidth.
    #[default]
    Quota,
    /// Its cpuset alone.
    Cpuset,
}

impl Source {
    /// Opens the system below `root`, which is `/` but in tests.
    ///
    /// `boundary` is the path, in the memory controller's hierarchy, of a cgroup that is known to be a
    /// container's.
    ///
    /// # Errors
    /// Where there is no memory controller, or procfs or the hierarchy can't be read.
    pub fn open(root: &Path, boundary: Option<Vec<u8>>) -> Result<Self, CgroupMountsError> {
        let procfs = Procfs::open(root)?;
        let cgroup_mounts = CgroupMounts::detect_by(root, &procfs)?;
        let host = HostFiles::open(&procfs, root)?;
        let callers = CallerResolver::new(&procfs, root, boundary);
        let system_directory = SystemDirectory::open(host.sys.as_ref());
        let (nodes, levels, cpu_view) = (HostNodes::default(), CgroupCache::default(), CpuView::default());
        Ok(Self { cgroup_mounts, procfs, host, system_directory, nodes, callers, levels, cpu_view })
    }

    /// Counts processors in another way.
    #[must_use]
    pub const fn counting_by(mut self, cpu_view: CpuView) -> Self {
        self.cpu_view = cpu_view;
        self
    }

    /// Keeps no more than about so many files open for processes and their namespaces.
    #[must_use]
    pub fn keeping(mut self, most_files: usize) -> Self {
        self.callers.bound(most_files);
        self
    }

    /// Has another process look into namespaces.
    #[must_use]
    pub fn looking_by(mut self, namespace_reader: NamespaceReader) -> Self {
        self.procfs.namespace_reader = Some(namespace_reader);
        self
    }

    /// The hierarchies that are read.
    #[must_use]
    pub fn cgroup_mounts(&self) -> &CgroupMounts {
        &self.cgroup_mounts
    }

    /// `/sys/devices/system/cpu` and `node` of the host.
    #[must_use]
    pub fn system_directory(&self) -> &SystemDirectory {
        &self.system_directory
    }

    /// Finds the container of a reader. The answer points into `text`.
    ///
    /// # Errors
    /// [`Error::ProcessGone`] if there is no such process, [`Error::TakesLong`] where it takes a search that is not to be done
    /// unless it may take long, [`Error::MayHang`] likewise, others where it can't be looked at.
    pub fn caller<'t>(&self, reader: Reader, text: &'t mut Vec<u8>) -> Result<Caller<'t>, Error> {
        self.callers.resolve(reader, &self.procfs, &self.cgroup_mounts, text)
    }

    /// The path of a process's cgroup, for who has to know no more: it takes one file, which never hangs.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn place_of(&self, pid: u32) -> Result<Vec<u8>, Error> {
        with_buffer(|text| {
            self.procfs.read_of(pid, "cgroup", text)?;
            self.cgroup_mounts.memory.path_in(text, pid).map(<[u8]>::to_vec)
        })
    }

    /// Opens a reader's cgroup and every level above it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it was removed.
    pub fn path(&self, memory: &[u8]) -> Result<CgroupAncestry, Error> {
        self.levels.path(&self.cgroup_mounts.memory, memory)
    }

    /// Opens a caller's cgroup and every level above it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it was removed, [`Error::TakesLong`] where there are so many that it is to be asked for again by
    /// somebody who [may take long](Caller::may_take_long).
    pub fn path_of(&self, caller: &Caller<'_>) -> Result<CgroupAncestry, Error> {
        if caller.is_deep() && !caller.may_take_long {
            return Err(Error::TakesLong(escaped(caller.memory)));
        }
        self.path(caller.memory)
    }

    /// Checks that a path that was opened before still leads to the same cgroup.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it leads to another one by now, or nowhere.
    pub fn verify(&self, path: &CgroupAncestry) -> Result<(), Error> {
        path.verify(&self.cgroup_mounts)
    }

    /// The tasks of the cgroup of this number and of those below it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it is not at this path any more.
    pub fn tasks(&self, cgroup: (u64, &[u8]), depth: Depth) -> Result<TaskLook, Error> {
        tasks::tasks(&self.cgroup_mounts, &self.procfs, cgroup, depth)
    }

    /// The cgroup that accounts for the processor time of a caller's container, if that has one of its own.
    ///
    /// # Errors
    /// Where the caller's place in that hierarchy can't be seen.
    pub fn accounting_cgroup<'t>(&self, caller: &Caller<'t>) -> Result<Option<&'t [u8]>, Error> {
        self.cgroup_mounts.cpuacct.as_ref().map_or(Ok(None), |cpuacct| caller.container_in(cpuacct))
    }

    /// How long an [accounting cgroup](Self::accounting_cgroup) has run, in nanoseconds; `None` where it is gone.
    #[must_use]
    pub fn run_time(&self, cgroup: &[u8]) -> Option<u64> {
        let cpuacct = self.cgroup_mounts.cpuacct.as_ref()?;
        let rate = self.host.machine.tick_rate;
        let time = with_buffer(|buffer| cpus::time_of(cpuacct, rate, cgroup, buffer));
        time.ok().flatten().map(|time| time.total)
    }

    /// The text of a file of the host.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn host_file(&self, file: HostFile) -> Result<Vec<u8>, Error> {
        self.host.host_file(file)
    }

    /// A file of a container's pressure, to be looked at again and again; `None` where that is not known.
    ///
    /// # Errors
    /// Where it can't be opened.
    pub fn pressure_of(&self, caller: &Caller<'_>, file: CgroupFile) -> Result<Option<PressureFile>, Error> {
        PressureFile::of_container(&self.cgroup_mounts, caller, file)
    }

    /// The host's.
    ///
    /// # Errors
    /// Where it can't be opened, as with a kernel that keeps no account.
    pub fn pressure_of_host(&self, native: HostFile) -> Result<PressureFile, Error> {
        PressureFile::of_host(&self.host, native)
    }

    /// Whether a caller is in another pid namespace than this process, where that was asked for.
    #[must_use]
    pub fn is_in_other_pid_namespace(&self, caller: &Caller<'_>) -> bool {
        self.callers.other_pid_namespace(caller).is_some()
    }

    /// The id of a process in its own pid namespace.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn innermost_pid(&self, pid: u32) -> Result<u32, Error> {
        let mut text = Vec::new();
        self.procfs.read_of(pid, "status", &mut text)?;
        let status = proc_status::parse(&text);
        let status = status.map_err(|e| Error::malformed(format!("/proc/{pid}/status"), e))?;
        Ok(status.innermost_pid.try_into().unwrap_or(pid))
    }

    /// Whether the cgroup of this number is still at this path.
    #[must_use]
    pub fn is_cgroup(&self, number: u64, path: &[u8]) -> bool {
        let directory = &self.cgroup_mounts.memory.dir;
        let found = rustix::fs::statat(directory, paths::relative(path), AtFlags::empty());
        found.is_ok_and(|found| found.st_ino == number)
    }

    /// Has the cgroup at `memory`, and every level above it, opened anew by the next [`path`](Self::path).
    pub fn forget(&self, memory: &[u8]) {
        self.levels.forget(memory);
    }

    /// Reads what a caller's view needs, but for [`Needs::START`].
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if the cgroup is removed meanwhile, [`Error::TakesLong`] where it is to be asked for again by
    /// somebody who [may take long](Caller::may_take_long).
    pub fn load(&self, path: &CgroupAncestry, caller: &Caller<'_>, needs: Needs) -> Result<Snapshot, Error> {
        if caller.is_deep() && !caller.may_take_long {
            return Err(Error::TakesLong(escaped(caller.memory)));
        }
        let mut snapshot =
            with_buffer(|buffer| path.load(needs, &self.host, &self.cgroup_mounts, caller, buffer))?;
        if let Scope::Container(_) = snapshot.scope {
            if needs.covers(Needs::CPUS) {
                let cpus = with_buffer(|buffer| {
                    cpus::cpus(
                        &self.host,
                        &self.cgroup_mounts,
                        caller,
                        self.cpu_view == CpuView::Quota,
                        buffer,
                    )
                })?;
                snapshot.cpus = Some(cpus);
            }
            if needs.covers(Needs::NODES) {
                let (sys, cpuset) = (self.host.sys.as_ref(), self.cgroup_mounts.cpuset.as_ref());
                snapshot.nodes = Some(with_buffer(|buffer| self.nodes.of(sys, cpuset, caller, buffer))?);
            }
            let is_read = |file: &CgroupFile| snapshot.cgroup_files.iter().any(|(known, _)| known == file);
            let wanted = CgroupFile::ALL.into_iter().filter(|file| needs.covers(Needs::cgroup_file(*file)));
            let wanted: Vec<_> = wanted.filter(|file| !is_read(file)).collect();
            for file in wanted {
                let text =
                    with_buffer(|buffer| raw_files::text_of(&self.cgroup_mounts, caller, file, buffer))?;
                snapshot.cgroup_files.push((file, text));
            }
        }
        snapshot.boot = self.callers.boot_of(caller);
        self.add_host_files(&mut snapshot, needs)?;
        Ok(snapshot)
    }

    /// Since when a caller's container runs. Nobody should wait for it who is needed by others: a process in the middle of an exec
    /// keeps whoever looks for as long as its tenant likes. `so_far` is lowered as older processes are found.
    ///
    /// # Errors
    /// Where the caller or its cgroup is gone.
    pub fn life(
        &self,
        container: (u64, &[u8]),
        caller: &Caller<'_>,
        so_far: &AtomicU64,
    ) -> Result<Life, Error> {
        self.callers.life(caller, container, &self.cgroup_mounts, &self.procfs, so_far)
    }

    /// Constants of the machine.
    #[must_use]
    pub const fn machine(&self) -> Machine {
        self.host.machine
    }

    /// When a process started that waits for us, after the boot.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn start_of_reader(&self, pid: u32) -> Result<Ticks, Error> {
        resolver::start_of(pid, &self.procfs)
    }

    /// Reads what a view needs for a reader that is in no container, or can't be seen.
    ///
    /// # Errors
    /// Where the host's files can't be read.
    pub fn load_host(&self, needs: Needs) -> Result<Snapshot, Error> {
        let mut snapshot = with_buffer(|buffer| self.host.load(&self.cgroup_mounts, needs, buffer))?;
        self.add_host_files(&mut snapshot, needs)?;
        Ok(snapshot)
    }

    fn add_host_files(&self, snapshot: &mut Snapshot, needs: Needs) -> Result<(), Error> {
        for file in HostFile::ALL.into_iter().filter(|file| needs.covers(Needs::host_file(*file))) {
            let text = match (self.host.host_file(file), &snapshot.scope) {
                // Root's alone, which this process need not be, and a container gets nothing of it anyway.
                (Err(error), Scope::Container(_)) if file == HostFile::Slabinfo && error.is_denied() => {
                    Vec::new()
                }
                (text, _) => text?,
            };
            snapshot.host_files.push((file, text));
        }
        Ok(())
    }

    /// Closes half of the files that are kept for the next who ask, of whoever has most.
    pub fn close_half(&self) {
        self.callers.close_half();
        self.levels.sweep();
    }

    /// Closes what belongs to processes, namespaces and cgroups that are gone.
    pub fn sweep(&self) {
        self.callers.sweep(&self.cgroup_mounts);
        self.levels.sweep();
    }
}
