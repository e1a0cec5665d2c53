//! Finds the container of a process.

use super::context::ProcContext;
use super::life::{Life, LifeSearch};
use super::namespace_cache::NamespaceCache;
use super::process_cache::ProcessCache;
use super::reader::Reader;
use super::time_namespaces::TimeNamespaces;
use crate::error::Error;
use crate::kernel::cgroup::caller::{Caller, without_crun_subgroup};
use crate::kernel::cgroup::id::CgroupRef;
use crate::kernel::cgroup::listed_ids::{Bounds, listed_ids};
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::cgroup::paths::is_at_or_below;
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::Procfs;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_stat::ProcStat;
use cgprocfs_core::snapshot::{Boot, Needs};
use cgprocfs_core::time::{ClockOffset, Ticks};
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// How many of a container's processes are asked when they were started: it takes some 10 µs each.
const SEARCH_BOUNDS: Bounds = Bounds { cgroups: 4_000, ids: 16_384 };

/// Finds the container of a process.
pub(crate) struct CallerResolver {
    processes: ProcessCache,
    namespaces: NamespaceCache,
    time_namespaces: TimeNamespaces,
    own_cgroup_namespace: Option<NamespaceId>,
    own_pid_namespace: Option<NamespaceId>,
    /// The path of a cgroup that is known to be a container, whatever the rules say.
    boundary: Option<Vec<u8>>,
}

impl CallerResolver {
    pub(crate) fn new(procfs: &Procfs, root: &Path, boundary: Option<Vec<u8>>) -> Self {
        let own = |file| procfs.own_namespace_id(file);
        Self {
            processes: ProcessCache::default(),
            namespaces: NamespaceCache::default(),
            time_namespaces: TimeNamespaces::new(procfs, root),
            own_cgroup_namespace: own("ns/cgroup"),
            own_pid_namespace: own("ns/pid"),
            boundary,
        }
    }

    /// Finds the container of a reader. The answer points into `text`.
    pub(crate) fn resolve<'t>(
        &self,
        reader: Reader,
        context: ProcContext<'_>,
        text: &'t mut Vec<u8>,
    ) -> Result<Caller<'t>, Error> {
        let Reader { pid, max_age, needs, may_search, may_hang } = reader;
        let ProcContext { procfs, hierarchy } = context;
        let is_own_cgroup_namespace = |number| Some(number) == self.own_cgroup_namespace;
        // The start of a container is found by way of its init.
        let wants_pid = |number| needs.covers(Needs::START) || is_own_cgroup_namespace(number);
        let mut namespaces = self.processes.read(context, pid, text, wants_pid)?;
        let mut root_len = None;
        if !is_own_cgroup_namespace(namespaces.cgroup) {
            let path = hierarchy.path_in(text, pid)?;
            root_len = self.namespaces.root_len(namespaces.cgroup, (pid, path), may_search, context)?;
            if root_len.is_none_or(|length| length <= 1) {
                // The rule of the cgroup namespace does not apply, and the next one needs the pid namespace.
                namespaces = self.processes.read(context, pid, text, |_| true)?;
            }
        }
        let boot_offset = match needs.covers(Needs::BOOT) {
            true => self.time_namespaces.offset_of(pid, procfs)?,
            false => ClockOffset::NONE,
        };
        let text: &'t [u8] = text;
        let cgroup = hierarchy.path_in(text, pid)?;
        let caller = |container| Caller {
            cgroup,
            container,
            proc_cgroup: text,
            pid,
            pid_namespace: namespaces.pid.filter(|_| needs.covers(Needs::START)),
            boot_offset,
            may_take_long: may_search,
            may_hang,
        };
        if cgroup == b"/" {
            if hierarchy.version == CgroupVersion::V1 {
                refuse_exiting(pid, procfs)?;
            }
            return Ok(caller(cgroup));
        }

        let by_boundary = self.boundary.as_ref().filter(|boundary| is_at_or_below(cgroup, boundary));
        // A namespace that was made in the root cgroup marks no container: the root is the host.
        let by_cgroup_namespace = root_len.filter(|length| *length > 1);
        let mut container = by_boundary.map(Vec::len).or(by_cgroup_namespace).map(|length| &cgroup[..length]);
        let other_namespace = namespaces.pid.filter(|&number| Some(number) != self.own_pid_namespace);
        if let (None, Some(number)) = (container, other_namespace) {
            container = self.namespaces.init_cgroup(number, &caller(cgroup), max_age, context)?;
        }
        let container = container.filter(|container| container.len() > 1).unwrap_or(cgroup);
        Ok(caller(without_crun_subgroup(container)))
    }

    /// The number of the caller's pid namespace, if that is another than ours.
    pub(crate) fn other_pid_namespace(&self, caller: &Caller<'_>) -> Option<NamespaceId> {
        caller.pid_namespace.filter(|&namespace| Some(namespace) != self.own_pid_namespace)
    }

    /// The id of a process in its own pid namespace, by what is remembered of it, or by `find`.
    pub(crate) fn innermost_pid(
        &self,
        pid: Pid,
        find: impl FnOnce() -> Result<Pid, Error>,
    ) -> Result<Pid, Error> {
        self.processes.innermost_pid(pid, find)
    }

    /// The boot as it is for a caller.
    pub(crate) fn boot_of(&self, caller: &Caller<'_>) -> Boot {
        self.time_namespaces.boot(caller.boot_offset)
    }

    /// Finds out when the caller's container started: when its oldest process did. That is the init of its
    /// pid namespace, if it is in the container, or a process in the container's cgroup or below. The init of
    /// a pod's shared pid namespace is in another container, and one that was made within the container is
    /// younger.
    ///
    /// It may take as long as a tenant likes. `so_far` is lowered as older processes are found.
    pub(crate) fn life(
        &self,
        caller: &Caller<'_>,
        container: CgroupRef<'_>,
        context: ProcContext<'_>,
        so_far: &AtomicU64,
    ) -> Result<Life, Error> {
        let mut search = LifeSearch::new(context.procfs, so_far);
        search.add(caller.pid)?;
        let mut known = [caller.pid, caller.pid];
        let init = match self.other_pid_namespace(caller) {
            Some(namespace) => self.namespaces.init_in(container.path, namespace, caller, context)?,
            None => None,
        };
        if let Some(init) = init.filter(|&init| init != caller.pid) {
            known[1] = init;
            // It may end meanwhile, which is no error.
            let _ = search.add(init);
        }
        // Pids are reused once all were used, so the oldest process may have any of them.
        let listed = listed_ids(context.hierarchy, container, "cgroup.procs", SEARCH_BOUNDS)?;
        for pid in listed.ids.into_iter().filter(|pid| !known.contains(pid)) {
            let _ = search.add(pid);
        }
        Ok(search.end())
    }

    /// Keeps no more than about `max_files` files open.
    pub(crate) fn bound(&mut self, max_files: usize) {
        self.processes.bound(max_files / 4);
        self.namespaces.bound(max_files - max_files / 4);
    }

    /// Closes half of the files, those of whoever has most.
    pub(crate) fn close_half(&self) {
        self.processes.forget_half();
        self.namespaces.drop_half();
    }

    /// Closes all files.
    pub(crate) fn close_all(&self) {
        self.processes.clear();
        self.namespaces.clear();
    }

    /// Closes what belongs to processes and namespaces that are gone.
    pub(crate) fn sweep(&self, hierarchy: &Hierarchy) {
        self.processes.clear();
        self.namespaces.sweep(hierarchy);
    }
}

/// When a process started, since the boot. For a process in the middle of an exec this blocks until that is
/// over; a reader that waits for an answer is in no exec.
pub(crate) fn start_of(pid: Pid, procfs: &Procfs) -> Result<Ticks, Error> {
    stat_of(pid, procfs).map(|stat| stat.start)
}

fn stat_of(pid: Pid, procfs: &Procfs) -> Result<ProcStat, Error> {
    let mut text = Vec::new();
    procfs.read_of(pid, "stat", &mut text)?;
    ProcStat::parse(&text).map_err(|e| Error::malformed(format!("/proc/{pid}/stat"), e))
}

/// Whether two processes are in the same pid namespace. It may take as long as a tenant likes.
pub(crate) fn share_pid_namespace(pid: Pid, other: Pid, procfs: &Procfs) -> bool {
    let namespace = |pid| procfs.namespace_id(pid, "ns/pid").ok();
    namespace(pid).is_some_and(|number| namespace(other) == Some(number))
}

/// Refuses a process that is exiting. On cgroup v1 such a process is reported to be in the root
/// (`proc_cgroup_show()`, kernel/cgroup/cgroup.c), which does not make it a process of the host.
fn refuse_exiting(pid: Pid, procfs: &Procfs) -> Result<(), Error> {
    match stat_of(pid, procfs)?.is_exiting {
        true => Err(Error::ProcessGone(pid)),
        false => Ok(()),
    }
}
