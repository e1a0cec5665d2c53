//! Looks up processes and cgroups: who a reader is, and which files belong to its container.

use super::cgroup::ancestry::CgroupAncestry;
use super::cgroup::caller::Caller;
use super::cgroup::cpus;
use super::cgroup::id::{CgroupId, CgroupRef};
use super::cgroup::kept_files::CgroupReader;
use super::cgroup::pressure::PressureFile;
use super::cgroup::tasks::{self, ScanLimits, TaskScan};
use super::identity::life::Life;
use super::identity::reader::Reader;
use super::identity::resolver;
use super::procfs::process_error;
use super::read::read_with;
use super::source::Source;
use crate::error::Error;
use cgprocfs_core::machine::Ticks;
use cgprocfs_core::parse::proc_status::Status;
use cgprocfs_core::snapshot::{CgroupFile, HostFile};
use std::sync::atomic::AtomicU64;

impl Source {
    /// Finds the container of a reader. The answer points into `text`.
    ///
    /// # Errors
    /// [`Error::ProcessGone`] if there is no such process, [`Error::TakesLong`] or [`Error::MayHang`] if it takes a search that the
    /// reader does not allow, others if the process can't be looked at.
    pub fn caller<'t>(&self, reader: Reader, text: &'t mut Vec<u8>) -> Result<Caller<'t>, Error> {
        self.callers.resolve(reader, self.proc_context(), text)
    }

    /// The path of a process's own cgroup, in the memory controller's hierarchy. It takes one file, which never blocks.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cgroup_of(&self, pid: u32) -> Result<Vec<u8>, Error> {
        let file = self.procfs.open_of(pid, "cgroup")?;
        let path = read_with(file, |text| self.cgroup_mounts.memory.path_in(text, pid).map(<[u8]>::to_vec));
        path.map_err(|e| process_error(pid, "cgroup", e))?
    }

    /// Opens the cgroup at a path of the memory controller's hierarchy, and all its ancestors.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it was removed.
    pub fn ancestry(&self, cgroup: &[u8]) -> Result<CgroupAncestry, Error> {
        self.cgroups.ancestry(&self.cgroup_mounts.memory, cgroup)
    }

    /// Opens a caller's cgroup and all its ancestors.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it was removed, [`Error::TakesLong`] if there are so many ancestors that only a caller that
    /// [may take long](Caller::may_take_long) may open them.
    pub fn ancestry_of(&self, caller: &Caller<'_>) -> Result<CgroupAncestry, Error> {
        refuse_deep(caller)?;
        self.ancestry(caller.cgroup)
    }

    /// Checks that the path of an ancestry still leads to the same cgroup.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it leads to another one by now, or nowhere.
    pub fn verify(&self, ancestry: &CgroupAncestry) -> Result<(), Error> {
        ancestry.verify(&self.cgroup_mounts)
    }

    /// Has a cgroup, and all its ancestors, opened anew by the next [`ancestry`](Self::ancestry).
    pub fn forget(&self, cgroup: &[u8]) {
        self.cgroups.forget(cgroup);
    }

    /// Whether this cgroup is still at its path.
    #[must_use]
    pub fn is_cgroup(&self, cgroup: CgroupRef<'_>) -> bool {
        let status = self.cgroup_mounts.memory.locate(cgroup.path).status();
        status.is_ok_and(|status| CgroupId::new(status.st_ino) == cgroup.id)
    }

    /// Counts the tasks of a cgroup and of those below it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if the cgroup is not at its path any more.
    pub fn tasks(&self, cgroup: CgroupRef<'_>, limits: ScanLimits) -> Result<TaskScan, Error> {
        tasks::tasks(&self.cgroup_mounts, &self.procfs, cgroup, limits)
    }

    /// The path of the cgroup that accounts for the CPU time of a caller's container; `None` if the container has none of its own.
    ///
    /// # Errors
    /// If the caller's cgroup in that hierarchy can't be seen.
    pub fn accounting_cgroup<'t>(&self, caller: &Caller<'t>) -> Result<Option<&'t [u8]>, Error> {
        self.cgroup_mounts.cpuacct.as_ref().map_or(Ok(None), |cpuacct| caller.container_in(cpuacct))
    }

    /// How long an [accounting cgroup](Self::accounting_cgroup) has run, in nanoseconds; `None` if it is gone.
    #[must_use]
    pub fn run_time(&self, cgroup: &[u8]) -> Option<u64> {
        let cpuacct = self.cgroup_mounts.cpuacct.as_ref()?;
        let reader = CgroupReader { hierarchy: cpuacct, kept: None };
        let time = cpus::time_of(reader, self.host.machine.tick_rate, cgroup);
        time.ok().flatten().map(|time| time.total)
    }

    /// Opens a file of pressure of a caller's container; `None` if its pressure is not known.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn pressure_of(&self, caller: &Caller<'_>, file: CgroupFile) -> Result<Option<PressureFile>, Error> {
        PressureFile::of_container(&self.cgroup_mounts, caller, file)
    }

    /// Opens a file of the host's pressure.
    ///
    /// # Errors
    /// If the file can't be opened, as with a kernel without pressure stall information.
    pub fn pressure_of_host(&self, file: HostFile) -> Result<PressureFile, Error> {
        PressureFile::of_host(&self.host, file)
    }

    /// Whether a caller is in another pid namespace than this process, if that was requested.
    #[must_use]
    pub fn is_in_other_pid_namespace(&self, caller: &Caller<'_>) -> bool {
        self.callers.other_pid_namespace(caller).is_some()
    }

    /// Whether a process is in the pid namespace of this one. To ask may hang while it is in an exec.
    #[must_use]
    pub fn is_in_own_pid_namespace(&self, pid: u32) -> bool {
        let own = self.procfs.own_namespace_id("ns/pid");
        own.is_some() && self.procfs.namespace_id(pid, "ns/pid").ok() == own
    }

    /// The id of a process in its own pid namespace.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn innermost_pid(&self, pid: u32) -> Result<u32, Error> {
        self.callers.innermost_pid(pid, || {
            let mut text = Vec::new();
            self.procfs.read_of(pid, "status", &mut text)?;
            let status = Status::parse(&text);
            let status = status.map_err(|e| Error::malformed(format!("/proc/{pid}/status"), e))?;
            Ok(status.innermost_pid.try_into().unwrap_or(pid))
        })
    }

    /// When a process that waits for an answer started, since the boot.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn start_of_reader(&self, pid: u32) -> Result<Ticks, Error> {
        resolver::start_of(pid, &self.procfs)
    }

    /// Finds out when a caller's container started. It is not for a thread that others need: a process in the middle of an exec
    /// blocks it for as long as the tenant likes. `so_far` is lowered as older processes are found.
    ///
    /// # Errors
    /// If the caller or its cgroup is gone.
    pub fn life(
        &self,
        container: CgroupRef<'_>,
        caller: &Caller<'_>,
        so_far: &AtomicU64,
    ) -> Result<Life, Error> {
        self.callers.life(caller, container, self.proc_context(), so_far)
    }
}

/// Refuses a caller with so many ancestors that to read them takes long, unless it may.
pub(crate) fn refuse_deep(caller: &Caller<'_>) -> Result<(), Error> {
    match caller.is_deep() && !caller.may_take_long {
        true => Err(Error::TakesLong(caller.cgroup.into())),
        false => Ok(()),
    }
}
