//! Looks up processes and cgroups: who a reader is, and which files belong to its container.

use super::cgroup::ancestry::CgroupAncestry;
use super::cgroup::caller::Caller;
use super::cgroup::id::{CgroupId, CgroupRef};
use super::identity::reader::Reader;
use super::procfs::process_error;
use super::read::read_with;
use super::source::Source;
use crate::error::Error;
use cgprocfs_core::parse::pid::Pid;

impl Source {
    /// Finds the container of a reader. The answer points into `text`.
    ///
    /// # Errors
    /// [`Error::ProcessGone`] if there is no such process, [`Error::TakesLong`] or [`Error::MayHang`] if it
    /// takes a search that the reader does not allow, others if the process can't be looked at.
    pub fn caller<'t>(&self, reader: Reader, text: &'t mut Vec<u8>) -> Result<Caller<'t>, Error> {
        self.callers.resolve(reader, self.proc_context(), text)
    }

    /// The path of a process's own cgroup, in the memory controller's hierarchy. It takes one file, which
    /// never blocks.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn cgroup_of(&self, pid: Pid) -> Result<Vec<u8>, Error> {
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
    /// [`Error::CgroupGone`] if it was removed, [`Error::TakesLong`] if there are so many ancestors that only
    /// a caller that [may take long](Caller::may_take_long) may open them.
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
}

/// Refuses a caller with so many ancestors that to read them takes long, unless it may.
pub(crate) fn refuse_deep(caller: &Caller<'_>) -> Result<(), Error> {
    match caller.is_deep() && !caller.may_take_long {
        true => Err(Error::TakesLong(caller.cgroup.into())),
        false => Ok(()),
    }
}
