//! Loads snapshots: everything that is read for one answer.

use super::cgroup::ancestry::CgroupAncestry;
use super::cgroup::caller::Caller;
use super::cgroup::context::ReadContext;
use super::cgroup::{cpus, cpusets, host_memory, raw_files};
use super::lookup::refuse_deep;
use super::source::{CpuView, Source};
use crate::error::Error;
use cgprocfs_core::snapshot::{CgroupFile, HostFile, Needs, Nodes, Scope, Snapshot};
use std::sync::Arc;

impl Source {
    /// Reads what a caller's view needs, except [`Needs::START`] and what depends on it.
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
        let context = ReadContext { kept: ancestry.kept_files(), ..self.read_context(caller) };
        let mut snapshot = ancestry.read_memory(needs, context)?;
        self.add(&mut snapshot, needs, context)?;
        Ok(snapshot)
    }

    /// Adds to a snapshot, which has what `known` covers, whatever `needed` covers besides. Returns whether
    /// it could be extended: that of a container without the memory controller can't be, for its memory is
    /// the host's, and its processors are not.
    ///
    /// # Errors
    /// As [`read_snapshot`](Self::read_snapshot).
    pub fn extend_snapshot(
        &self,
        snapshot: &mut Snapshot,
        known: Needs,
        needed: Needs,
        ancestry: &CgroupAncestry,
        caller: &Caller<'_>,
    ) -> Result<bool, Error> {
        refuse_deep(caller)?;
        let is_extendable = |scope: &Scope| ancestry.in_root || matches!(scope, Scope::Container(_));
        if !is_extendable(&snapshot.scope) {
            return Ok(false);
        }
        let context = ReadContext { kept: ancestry.kept_files(), ..self.read_context(caller) };
        let missing = needed.without(known);
        if missing.touches(Needs::MEMORY) {
            // Its parts are of one moment.
            let memory = Needs::MEMORY.common(known.and(needed));
            let newer = ancestry.read_memory(memory, context)?;
            if !is_extendable(&newer.scope) {
                return Ok(false);
            }
            snapshot.replace_memory(newer);
        }
        self.add(snapshot, missing, context)?;
        Ok(true)
    }

    /// Reads what does not come from the memory controller.
    fn add(&self, snapshot: &mut Snapshot, needs: Needs, context: ReadContext<'_>) -> Result<(), Error> {
        let caller = context.caller;
        if let Scope::Container(_) = snapshot.scope {
            if let Some(kept) = context.kept.filter(|_| needs.touches(Needs::CPUS.and(Needs::CPU_TIME))) {
                kept.begin(caller.proc_cgroup);
            }
            if needs.touches(Needs::CPUS) {
                snapshot.cpus = Some(cpus::cpus(context, self.cpu_view == CpuView::Quota)?);
            }
            if let Some(cpus) = snapshot.cpus.as_mut().filter(|_| needs.touches(Needs::CPU_TIME)) {
                cpus::read_time(context, cpus)?;
                snapshot.uptime = Some(self.host.uptime()?);
            }
            if needs.touches(Needs::NODES) {
                snapshot.nodes = Some(self.nodes(caller)?);
            }
            let is_read = |file: &CgroupFile| snapshot.cgroup_files.iter().any(|(known, _)| known == file);
            let wanted = CgroupFile::ALL.into_iter().filter(|file| needs.covers(Needs::cgroup_file(*file)));
            let wanted: Vec<_> = wanted.filter(|file| !is_read(file)).collect();
            for file in wanted {
                snapshot.cgroup_files.push((file, raw_files::read_raw(context, file)?));
            }
        }
        if needs.touches(Needs::BOOT) {
            snapshot.boot = self.callers.boot_of(caller);
        }
        self.add_host_files(snapshot, needs)
    }

    /// The host's memory nodes, and which of them a caller's cpuset lets it use.
    fn nodes(&self, caller: &Caller<'_>) -> Result<Nodes, Error> {
        let host = self.nodes.get(self.host.sys.as_ref())?;
        let allowed = match &self.cgroup_mounts.cpuset {
            // Of a single node no cpuset leaves one out.
            Some(cpuset) if host.len() > 1 => cpusets::nodes(cpuset, caller)?,
            _ => None,
        };
        Ok(Nodes { host, allowed })
    }

    /// Reads what a view needs for a reader that is in no container, or can't be seen.
    ///
    /// # Errors
    /// If the host's files can't be read.
    pub fn read_host_snapshot(&self, needs: Needs) -> Result<Snapshot, Error> {
        let mut snapshot = host_memory::read_root(&self.host, &self.cgroup_mounts.memory, needs)?;
        self.add_host_files(&mut snapshot, needs)?;
        Ok(snapshot)
    }

    /// Reads the text of a file of the host.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn host_file(&self, file: HostFile) -> Result<Arc<[u8]>, Error> {
        self.host.host_file(file)
    }

    fn add_host_files(&self, snapshot: &mut Snapshot, needs: Needs) -> Result<(), Error> {
        let is_host = matches!(snapshot.scope, Scope::Host(_));
        let is_wanted = |file: &HostFile| {
            needs.covers(Needs::host_file(*file)) || is_host && needs.covers(Needs::native(*file))
        };
        for file in HostFile::ALL.into_iter().filter(is_wanted) {
            let text = match (self.host.host_file(file), &snapshot.scope) {
                // Only root may read it, which this process need not be, and a container is shown nothing of
                // it anyway.
                (Err(error), Scope::Container(_)) if file == HostFile::Slabinfo && error.is_denied() => {
                    Arc::default()
                }
                (text, _) => text?,
            };
            snapshot.host_files.push((file, text));
        }
        Ok(())
    }
}
