//! Loads snapshots: everything that is read for one answer.

use super::cgroup::ancestry::CgroupAncestry;
use super::cgroup::{cpus, raw_files};
use super::identity::caller::Caller;
use super::lookup::refuse_deep;
use super::source::{CpuView, Source};
use crate::error::Error;
use cgprocfs_core::snapshot::{CgroupFile, HostFile, Needs, Scope, Snapshot};

impl Source {
    /// Reads what a caller's view needs, except [`Needs::START`].
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if the cgroup is removed meanwhile, [`Error::TakesLong`] if only a caller that
    /// [may take long](Caller::may_take_long) may have it read.
    pub fn read_snapshot(
        &self,
        ancestry: &CgroupAncestry,
        caller: &Caller<'_>,
        needs: Needs,
    ) -> Result<Snapshot, Error> {
        refuse_deep(caller)?;
        let context = self.read_context(caller);
        let mut snapshot = ancestry.read_snapshot(needs, context)?;
        if let Scope::Container(_) = snapshot.scope {
            if needs.covers(Needs::CPUS) {
                snapshot.cpus = Some(cpus::cpus(context, self.cpu_view == CpuView::Quota)?);
            }
            if needs.covers(Needs::NODES) {
                let (sys, cpuset) = (self.host.sys.as_ref(), self.cgroup_mounts.cpuset.as_ref());
                snapshot.nodes = Some(self.nodes.of(sys, cpuset, caller)?);
            }
            let is_read = |file: &CgroupFile| snapshot.cgroup_files.iter().any(|(known, _)| known == file);
            let wanted = CgroupFile::ALL.into_iter().filter(|file| needs.covers(Needs::cgroup_file(*file)));
            let wanted: Vec<_> = wanted.filter(|file| !is_read(file)).collect();
            for file in wanted {
                snapshot.cgroup_files.push((file, raw_files::read_raw(context, file)?));
            }
        }
        snapshot.boot = self.callers.boot_of(caller);
        self.add_host_files(&mut snapshot, needs)?;
        Ok(snapshot)
    }

    /// Reads what a view needs for a reader that is in no container, or can't be seen.
    ///
    /// # Errors
    /// If the host's files can't be read.
    pub fn read_host_snapshot(&self, needs: Needs) -> Result<Snapshot, Error> {
        let mut snapshot = self.host.read_snapshot(&self.cgroup_mounts.memory, needs)?;
        self.add_host_files(&mut snapshot, needs)?;
        Ok(snapshot)
    }

    /// Reads the text of a file of the host.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn host_file(&self, file: HostFile) -> Result<Vec<u8>, Error> {
        self.host.host_file(file)
    }

    fn add_host_files(&self, snapshot: &mut Snapshot, needs: Needs) -> Result<(), Error> {
        for file in HostFile::ALL.into_iter().filter(|file| needs.covers(Needs::host_file(*file))) {
            let text = match (self.host.host_file(file), &snapshot.scope) {
                // Only root may read it, which this process need not be, and a container is shown nothing of it anyway.
                (Err(error), Scope::Container(_)) if file == HostFile::Slabinfo && error.is_denied() => {
                    Vec::new()
                }
                (text, _) => text?,
            };
            snapshot.host_files.push((file, text));
        }
        Ok(())
    }
}
