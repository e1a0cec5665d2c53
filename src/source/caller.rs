//! Who is asking: from a process id to the cgroup of its container.

use super::layout::{Hierarchy, Layout, is_at_or_below};
use super::levels::is_deep;
use super::life::{Life, Search};
use super::namespaces::NamespaceCache;
use super::procfs::Procfs;
use super::readers::Readers;
use super::subtree::{self, Bounds};
use super::time_namespaces::TimeNamespaces;
use crate::error::Error;
use cgprocfs_core::machine::Ticks;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::proc_stat::{is_exiting, start_time};
use cgprocfs_core::snapshot::{Boot, Needs};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// So many of a container's processes are asked when they were started: it takes some 10 µs each.
const PROCESSES: Bounds = Bounds { cgroups: 4_000, ids: 16_384 };

/// Finds the container of a process.
pub(super) struct Callers {
    readers: Readers,
    namespaces: NamespaceCache,
    time_namespaces: TimeNamespaces,
    own_cgroup_namespace: Option<u64>,
    own_pid_namespace: Option<u64>,
    /// A cgroup that is known to be a container's, whatever the rules say.
    boundary: Option<Vec<u8>>,
}

/// A process that waits for us, and how much may be done to find its container.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// Its id, or a thread's.
    pub pid: u32,
    /// How old the last look at its namespace's init may be.
    pub max_age: Duration,
    /// What is going to be asked for its container.
    pub needs: Needs,
    /// Whether nobody else waits for the thread that asks.
    pub may_take_long: bool,
    /// Whether it may be that this thread never comes back.
    pub may_hang: bool,
}

/// A process's place in the hierarchies, within the text of its `/proc/PID/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'t> {
    /// Its own cgroup in the memory controller's hierarchy, `/` for the root.
    pub memory: &'t [u8],
    /// How much of `memory` is the container, an ancestor or the cgroup itself.
    pub container_length: usize,
    /// The whole text.
    pub membership: &'t [u8],
    /// Its id.
    pub pid: u32,
    /// The number of its pid namespace, where that was asked for.
    pub pid_namespace: Option<u64>,
    /// How much more CLOCK_BOOTTIME shows in its time namespace than here, in nanoseconds, where that was asked for.
    pub boot_offset: i64,
    /// Whether whoever waits for the reading does so on a thread that nobody else needs.
    pub may_take_long: bool,
    /// Whether it may be that this thread never comes back.
    pub may_hang: bool,
}

impl<'t> Caller<'t> {
    /// Whoever is in the container at `path`, for views of nothing but its usage of memory.
    #[must_use]
    pub fn of_memory(path: &'t [u8]) -> Self {
        Self {
            memory: path,
            container_length: path.len(),
            membership: b"",
            pid: 0,
            pid_namespace: None,
            boot_offset: 0,
            may_take_long: true,
            may_hang: true,
        }
    }

    /// Whether it is so deep down in some hierarchy that to look at all levels takes long.
    pub(super) fn is_deep(&self) -> bool {
        self.membership.split(|&byte| byte == b'\n').any(is_deep)
    }

    /// Its own cgroup in another hierarchy.
    pub(super) fn own_in(&self, hierarchy: &Hierarchy) -> Result<&'t [u8], Error> {
        hierarchy.path_in(self.membership, self.pid)
    }

    /// The container in another hierarchy, if it has a cgroup of its own there: one of the same path, or, where a runtime
    /// keeps hierarchies in different places, of the same name. A container may be without in a hierarchy, and then is in
    /// a cgroup with others, whose numbers are not its own.
    pub(super) fn container_in(&self, hierarchy: &Hierarchy) -> Result<Option<&'t [u8]>, Error> {
        let own = self.own_in(hierarchy)?;
        let (container, inner) = self.memory.split_at(self.container_length.min(self.memory.len()));
        let Some(there) = own.strip_suffix(inner) else { return Ok(None) };
        let name = |path: &'t [u8]| path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        let is_it = there == container || (!name(there).is_empty() && name(there) == name(container));
        Ok((is_it && there != b"/").then_some(there))
    }

    /// The cgroup whose limits on processors are the container's: all readers of a container see the same ones, whatever
    /// limits some of them have below it. A runtime's own sub-cgroup is such a one, too. Where the container has no cgroup
    /// of its own the reader's limits are all there is.
    pub(super) fn limited_in(&self, hierarchy: &Hierarchy) -> Result<&'t [u8], Error> {
        let own = self.own_in(hierarchy)?;
        let Some(container) = self.container_in(hierarchy)? else { return Ok(own) };
        let name = own[container.len()..].split(|&b| b == b'/').nth(1).unwrap_or_default();
        let below = &own[..(container.len() + 1 + name.len()).min(own.len())];
        let is_runtimes = below != container && without_crun_subgroup(below) == container;
        Ok(if is_runtimes { below } else { container })
    }
}

impl Callers {
    pub(super) fn new(procfs: &Procfs, root: &Path, boundary: Option<Vec<u8>>) -> Self {
        let own = |file| procfs.own_namespace_id(file);
        Self {
            readers: Readers::default(),
            namespaces: NamespaceCache::default(),
            time_namespaces: TimeNamespaces::new(procfs, root),
            own_cgroup_namespace: own("ns/cgroup"),
            own_pid_namespace: own("ns/pid"),
            boundary,
        }
    }

    /// Finds the container of a reader; `text` is the buffer that the answer points into.
    pub(super) fn find<'t>(
        &self,
        reader: Reader,
        procfs: &Procfs,
        layout: &Layout,
        text: &'t mut Vec<u8>,
    ) -> Result<Caller<'t>, Error> {
        let Reader { pid, max_age, needs, may_take_long, may_hang } = reader;
        let own_cgroup_namespace = |number| Some(number) == self.own_cgroup_namespace;
        // Who asks how old a container is asks for its init.
        let asks_pid = |number| needs.covers(Needs::START) || own_cgroup_namespace(number);
        let mut namespaces = self.readers.read(procfs, pid, text, asks_pid, &layout.memory)?;
        let mut by_cgroup_namespace = None;
        if !own_cgroup_namespace(namespaces.cgroup) {
            let path = layout.memory.path_in(text, pid)?;
            by_cgroup_namespace = self.namespaces.root_of(
                namespaces.cgroup,
                (pid, path),
                may_take_long,
                procfs,
                &layout.memory,
            )?;
            if by_cgroup_namespace.is_none_or(|length| length <= 1) {
                // That rule does not apply: the next one needs what was not asked for at first.
                namespaces = self.readers.read(procfs, pid, text, |_| true, &layout.memory)?;
            }
        }
        let boot_offset = match needs.covers(Needs::BOOT) {
            true => self.time_namespaces.offset_of(pid, procfs)?,
            false => 0,
        };
        let text: &'t [u8] = text;
        let memory = layout.memory.path_in(text, pid)?;
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
            if layout.memory.version == CgroupVersion::V1 {
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
            container = namespaces.init_of(number, &caller(memory.len()), max_age, procfs, &layout.memory)?;
        }
        let container = container.filter(below_root).unwrap_or(memory.len());
        Ok(caller(without_crun_subgroup(&memory[..container]).len()))
    }

    /// The caller's pid namespace, if that is another than ours.
    pub(super) fn other_pid_namespace(&self, caller: &Caller<'_>) -> Option<u64> {
        caller.pid_namespace.filter(|&namespace| Some(namespace) != self.own_pid_namespace)
    }

    /// The boot as a caller has it.
    pub(super) fn boot_of(&self, caller: &Caller<'_>) -> Boot {
        self.time_namespaces.boot(caller.boot_offset)
    }

    /// Since when the reader's container runs: since its oldest process, which is its pid namespace's init, if that is in it, or
    /// is found in its cgroup, or below that. The init of a pod's shared pid namespace is in another container, and one that
    /// was made within the container is younger.
    ///
    /// It may take as long as a tenant likes. `so_far` is lowered as processes are found that are older.
    pub(super) fn life(
        &self,
        caller: &Caller<'_>,
        container: (u64, &[u8]),
        layout: &Layout,
        procfs: &Procfs,
        so_far: &AtomicU64,
    ) -> Result<Life, Error> {
        let mut search = Search::new(procfs, so_far);
        search.look_at(caller.pid)?;
        let mut known = [caller.pid, caller.pid];
        if let Some(namespace) = self.other_pid_namespace(caller)
            && let Some(init) =
                self.namespaces.init_in(container.1, namespace, caller, procfs, &layout.memory)?
            && init != caller.pid
        {
            known[1] = init;
            // One that ends meanwhile is no error.
            let _ = search.look_at(init);
        }
        // Ids are given out anew once all were used: the oldest may be any of them.
        let listed = subtree::ids(&layout.memory, container, "cgroup.procs", PROCESSES)?;
        for pid in listed.ids.into_iter().filter(|pid| !known.contains(pid)) {
            let _ = search.look_at(pid);
        }
        Ok(search.end())
    }

    /// Keeps no more than about so many files open.
    pub(super) fn bound(&mut self, most_files: usize) {
        self.readers.bound(most_files / 4);
        self.namespaces.bound(most_files / 2);
    }

    pub(super) fn close_half(&self) {
        self.readers.forget_half();
        self.namespaces.let_go_of_half();
    }

    pub(super) fn sweep(&self, layout: &Layout) {
        self.readers.clear();
        self.namespaces.sweep(&layout.memory);
    }
}

/// When a process started. To ask about one that is in the middle of an exec takes until that is over; a reader that waits for
/// us is in no exec.
pub(super) fn start_of(pid: u32, procfs: &Procfs) -> Result<Ticks, Error> {
    let mut text = Vec::new();
    procfs.read_of(pid, "stat", &mut text)?;
    start_time(&text).map_err(|e| Error::malformed(format!("/proc/{pid}/stat"), e))
}

/// Whether a process is in the same pid namespace as another, whose init it may be then. It may take as long as a tenant likes.
pub(super) fn process_is_init_of(pid: u32, other: u32, procfs: &Procfs) -> bool {
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

/// On cgroup v2 crun puts the processes into a cgroup `container` below the scope that has the limits
/// (crun(1), `run.oci.systemd.subgroup`). Kubernetes and podman judge the scope.
fn without_crun_subgroup(container: &[u8]) -> &[u8] {
    let Some(scope) = container.strip_suffix(b"/container") else { return container };
    let name = scope.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let is_crun_scope = [&b"libpod-"[..], b"crio-"].iter().any(|prefix| {
        name.strip_prefix(*prefix)
            .and_then(|id| id.strip_suffix(b".scope"))
            .is_some_and(|id| id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit))
    });
    if is_crun_scope { scope } else { container }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crun_subgroup_belongs_to_its_scope() {
        let id = "0123456789abcdef".repeat(4);
        for runtime in ["libpod", "crio"] {
            let scope = format!("/machine.slice/{runtime}-{id}.scope");
            assert_eq!(without_crun_subgroup(format!("{scope}/container").as_bytes()), scope.as_bytes());
            assert_eq!(without_crun_subgroup(scope.as_bytes()), scope.as_bytes());
        }
        for other in ["/a/container", "/crio-conmon-0123.scope/container", "/x/containers"] {
            assert_eq!(without_crun_subgroup(other.as_bytes()), other.as_bytes());
        }
    }

    #[test]
    fn containers_in_other_hierarchies() {
        let hierarchies = "4:memory:/docker/ab/inner\n5:cpu:/docker/ab/inner\n6:blkio:/user.slice\n\
            7:cpuset:/system.slice/x:ab/inner\n8:pids:/system.slice/other:cd/inner\n9:cpuacct:/\n";
        let memory = b"/docker/ab/inner";
        let caller = Caller {
            container_length: b"/docker/ab".len(),
            membership: hierarchies.as_bytes(),
            ..Caller::of_memory(memory)
        };
        let there = |controller| {
            let hierarchy = Hierarchy::for_test(controller);
            caller.container_in(&hierarchy).unwrap().map(|path| std::str::from_utf8(path).unwrap())
        };
        assert_eq!(there("cpu"), Some("/docker/ab"));
        assert_eq!(there("blkio"), None);
        assert_eq!(there("cpuset"), None, "not the same name");
        assert_eq!(there("pids"), None);
        assert_eq!(there("cpuacct"), None);
    }
}
