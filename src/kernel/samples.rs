//! What is read of a container now and then, and not for one answer: tasks, run time, pressure.

use super::cgroup::caller::Caller;
use super::cgroup::cpus;
use super::cgroup::id::CgroupRef;
use super::cgroup::kept_files::CgroupReader;
use super::cgroup::pressure::PressureFile;
use super::cgroup::tasks::{self, ScanLimits, TaskScan};
use super::source::Source;
use crate::error::Error;
use cgprocfs_core::snapshot::{CgroupFile, HostFile};
use cgprocfs_core::time::Nanos;

impl Source {
    /// Counts the tasks of a cgroup and of those below it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if the cgroup is not at its path any more.
    pub fn tasks(&self, cgroup: CgroupRef<'_>, limits: ScanLimits) -> Result<TaskScan, Error> {
        tasks::tasks(&self.cgroup_mounts, &self.procfs, cgroup, limits)
    }

    /// The path of the cgroup that accounts for the CPU time of a caller's container; `None` if the container
    /// has none of its own.
    ///
    /// # Errors
    /// If the caller's cgroup in that hierarchy can't be seen.
    pub fn accounting_cgroup<'t>(&self, caller: &Caller<'t>) -> Result<Option<&'t [u8]>, Error> {
        self.cgroup_mounts.cpuacct.as_ref().map_or(Ok(None), |cpuacct| caller.container_in(cpuacct))
    }

    /// How long an [accounting cgroup](Self::accounting_cgroup) has run; `None` if it is gone.
    #[must_use]
    pub fn run_time(&self, cgroup: &[u8]) -> Option<Nanos> {
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
}
