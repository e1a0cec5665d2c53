//! Who is asking: from a process id to the cgroup of its container.

use super::caller::{Caller, Reader, without_crun_subgroup};
use super::life::{Life, Search};
use super::namespaces::NamespaceCache;
use super::process_cache::ProcessCache;
use super::time_namespaces::TimeNamespaces;
use crate::error::Error;
use crate::kernel::cgroup::mounts::CgroupMounts;
use crate::kernel::cgroup::paths::is_at_or_below;
use crate::kernel::cgroup::subtree::{self, Bounds};
use crate::kernel::procfs::Procfs;
use cgprocfs_core::machine::Ticks;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::proc_stat::{is_exiting, start_time};
use cgprocfs_core::snapshot::{Boot, Needs};
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// So many of a container's processes are asked when they were started: it takes some 10 µs each.
const PROCESSES: Bounds = Bounds { cgroups: 4_000, ids: 16_384 };

/// Finds the container of a process.
pub(crate) struct CallerResolver {
    readers: ProcessCache,
    namespaces: NamespaceCache,
    time_namespaces: TimeNamespaces,
    own_cgroup_namespace: Option<u64>,
    own_pid_namespace: Option<u64>,
    /// A cgroup that is known to be a container's, whatever the rules say.
    boundary: Option<Vec<u8>>,
}

impl CallerResolver {
    pub(crate) fn new(procfs: &Procfs, root: &Path, boundary: Option<Vec<u8>>) -> Self {
        let own = |file| procfs.own_namespace_id(file);
        Self {
            readers: ProcessCache::default(),
            namespaces: NamespaceCache::default(),
            time_namespaces: TimeNamespaces::new(procfs, root),
            own_cgroup_namespace: own("ns/cgroup"),
            own_pid_namespace: own("ns/pid"),
            boundary,
        }
    }

    /// Finds the container of a reader; `text` is the buffer that the answer points into.
    pub(crate) fn resolve<'t>(
        &self,
        reader: Reader,
        procfs: &Procfs,
        cgroup_mounts: &CgroupMounts,
        text: &'t mut Vec<u8>,
    ) -> Result<Caller<'t>, Error> {
        let Reader { pid, max_age, needs, may_take_long, may_hang } = reader;
        let own_cgroup_namespace = |number| Some(number) == self.own_cgroup_namespace;
        // Who asks how old a container is asks for its init.
        let asks_pid = |number| needs.covers(Needs::START) || own_cgroup_namespace(number);
        let mut namespaces = self.readers.read(procfs, pid, text, asks_pid, &cgroup_mounts.memory)?;
        let mut by_cgroup_namespace = None;
        if !own_cgroup_namespace(namespaces.cgroup) {
            let path = cgroup_mounts.memory.path_in(text, pid)?;
            by_cgroup_namespace = self.namespaces.root_of(
                namespaces.cgroup,
                (pid, path),
                may_take_long,
                procfs,
                &cgroup_mounts.memory,
            )?;
            if by_cgroup_namespace.is_none_or(|length| length <= 1) {
                // That rule does not apply: the next one needs what was not asked for at first.
                namespaces = self.readers.read(procfs, pid, text, |_| true, &cgroup_mounts.memory)?;
            }
        }
        let boot_offset = match needs.covers(Needs::BOOT) {
            true => self.time_namespaces.offset_of(pid, procfs)?,
            false => 0,
        };
        let text: &'t [u8] = text;
        let memory = cgroup_mounts.memory.path_in(text, pid)?;
        let caller = |container_length| Caller {
            memory,
            container_length,
            membership: text,
            pid,
            pid_namespace: namespaces.pid.filter(|_| needs.covers(Needs::START)),
            boot_offset,
            may_take_long,
            may_hang,
        };
        if memory == b"/" {
            if cgroup_mounts.memory.version == CgroupVersion::V1 {
                refuse_exiting(pid, procfs)?;
            }
            return Ok(caller(memory.len()));
        }

        let by_boundary = self.boundary.as_ref().filter(|boundary| is_at_or_below(memory, boundary));
        // A namespace that was made in the root cgroup marks no container: the root is the host.
        let below_root = |length: &usize| *length > 1;
        let mut container = by_boundary.map(Vec::len).or(by_cgroup_namespace.filter(below_root));
        if container.is_none()
            && let Some(number) = namespaces.pid.filter(|&number| Some(number) != self.own_pid_namespace)
        {
            let namespaces = &self.namespaces;
            container =
                namespaces.init_of(number, &caller(memory.len()), max_age, procfs, &cgroup_mounts.memory)?;
        }
        let container = container.filter(below_root).unwrap_or(memory.len());
        Ok(caller(without_crun_subgroup(&memory[..container]).len()))
    }

    /// The caller's pid namespace, if that is another than ours.
    pub(crate) fn other_pid_namespace(&self, caller: &Caller<'_>) -> Option<u64> {
        caller.pid_namespace.filter(|&namespace| Some(namespace) != self.own_pid_namespace)
    }

    /// The boot as a caller has it.
    pub(crate) fn boot_of(&self, caller: &Caller<'_>) -> Boot {
        self.time_namespaces.boot(caller.boot_offset)
    }

    /// Since when the reader's container runs: since its oldest process, which is its pid namespace's init, if that is in it, or
    /// is found in its cgroup, or below that. The init of a pod's shared pid namespace is in another container, and one that
    /// was made within the container is younger.
    ///
    /// It may take as long as a tenant likes. `so_far` is lowered as processes are found that are older.
    pub(crate) fn life(
        &self,
        caller: &Caller<'_>,
        container: (u64, &[u8]),
        cgroup_mounts: &CgroupMounts,
        procfs: &Procfs,
        so_far: &AtomicU64,
    ) -> Result<Life, Error> {
        let mut search = Search::new(procfs, so_far);
        search.look_at(caller.pid)?;
        let mut known = [caller.pid, caller.pid];
        if let Some(namespace) = self.other_pid_namespace(caller)
            && let Some(init) =
                self.namespaces.init_in(container.1, namespace, caller, procfs, &cgroup_mounts.memory)?
            && init != caller.pid
        {
            known[1] = init;
            // One that ends meanwhile is no error.
            let _ = search.look_at(init);
        }
        // Ids are given out anew once all were used: the oldest may be any of them.
        let listed = subtree::ids(&cgroup_mounts.memory, container, "cgroup.procs", PROCESSES)?;
        for pid in listed.ids.into_iter().filter(|pid| !known.contains(pid)) {
            let _ = search.look_at(pid);
        }
        Ok(search.end())
    }

    /// Keeps no more than about so many files open.
    pub(crate) fn bound(&mut self, most_files: usize) {
        self.readers.bound(most_files / 4);
        self.namespaces.bound(most_files / 2);
    }

    pub(crate) fn close_half(&self) {
        self.readers.forget_half();
        self.namespaces.let_go_of_half();
    }

    pub(crate) fn sweep(&self, cgroup_mounts: &CgroupMounts) {
        self.readers.clear();
        self.namespaces.sweep(&cgroup_mounts.memory);
    }
}

/// When a process started. To ask about one that is in the middle of an exec takes until that is over; a reader that waits for
/// us is in no exec.
pub(crate) fn start_of(pid: u32, procfs: &Procfs) -> Result<Ticks, Error> {
    let mut text = Vec::new();
    procfs.read_of(pid, "stat", &mut text)?;
    start_time(&text).map_err(|e| Error::malformed(format!("/proc/{pid}/stat"), e))
}

/// Whether a process is in the same pid namespace as another, whose init it may be then. It may take as long as a tenant likes.
pub(crate) fn process_is_init_of(pid: u32, other: u32, procfs: &Procfs) -> bool {
    let namespace = |pid| procfs.namespace_id(pid, "ns/pid").ok();
    namespace(pid).is_some_and(|number| namespace(other) == Some(number))
}

/// On cgroup v1 an exiting process is said to be in the root (`proc_cgroup_show()`,
/// kernel/cgroup/cgroup.c), and is no process of the host for that.
fn refuse_exiting(pid: u32, procfs: &Procfs) -> Result<(), Error> {
    let mut text = Vec::new();
    procfs.read_of(pid, "stat", &mut text)?;
    match is_exiting(&text) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::ProcessGone(pid)),
        Err(error) => Err(Error::malformed(format!("/proc/{pid}/stat"), error)),
    }
}
