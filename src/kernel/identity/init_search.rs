//! The search for the init of a pid namespace, for kernels that can't be asked.

use super::context::ProcContext;
use crate::error::Error;
use crate::kernel::cgroup::caller::Caller;
use crate::kernel::cgroup::paths::is_at_or_below;
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::Procfs;
use crate::kernel::read::LIST_DIR;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_status::Status;
use rustix::fs::{Dir, Mode, openat};

/// How many ancestors of a process are looked at.
const MAX_ANCESTORS: usize = 64;

/// The container that an init is in: systemd moves itself into a cgroup `init.scope` below the container's.
pub(crate) fn container_around(init: &[u8]) -> &[u8] {
    match init.strip_suffix(b"/init.scope") {
        Some(b"") => b"/",
        Some(container) => container,
        None => init,
    }
}

/// Finds the init of a caller's pid namespace `id`, for kernels before 6.11, which can't be asked. Init is
/// the eldest ancestor in the namespace, unless the caller was put into it from outside, as by `docker exec`.
///
/// # Errors
/// [`Error::MayHang`] if init is no ancestor, unless the caller's thread [may](Caller::may_hang).
pub(crate) fn search_init(
    id: NamespaceId,
    caller: &Caller<'_>,
    context: ProcContext<'_>,
) -> Result<Option<Pid>, Error> {
    let own = status(caller.pid, context.procfs).ok_or(Error::ProcessGone(caller.pid))?;
    match eldest_ancestor(caller.pid, own, context.procfs) {
        Some(init) => Ok(Some(init)),
        None if caller.may_hang => search_all(id, own.nesting, caller.cgroup, context),
        None => Err(Error::MayHang(caller.cgroup.into())),
    }
}

/// The status of a process; `None` if it is gone.
fn status(pid: Pid, procfs: &Procfs) -> Option<Status> {
    let mut text = Vec::new();
    procfs.read_of(pid, "status", &mut text).ok()?;
    Status::parse(&text).ok()
}

/// The init of a process's pid namespace, if it is a near ancestor. The parents of a process are never nested
/// more deeply, so those that are nested as deeply are in the same namespace.
fn eldest_ancestor(mut pid: Pid, own: Status, procfs: &Procfs) -> Option<Pid> {
    let mut ancestor = own;
    // A tenant may have each of any number of processes start the next.
    for _ in 0..MAX_ANCESTORS {
        if ancestor.nesting != own.nesting {
            break;
        }
        if ancestor.innermost_pid == Pid::INIT {
            return Some(pid);
        }
        pid = ancestor.parent;
        ancestor = status(pid, procfs)?;
    }
    None
}

/// Searches all processes for the init of the namespace `id`. Asking for the namespace of a process in the
/// middle of an exec blocks until that is over. So only processes whose cgroup is on the caller's `path` are
/// asked: they are no other tenant's.
fn search_all(
    id: NamespaceId,
    nesting: usize,
    path: &[u8],
    context: ProcContext<'_>,
) -> Result<Option<Pid>, Error> {
    let ProcContext { procfs, hierarchy } = context;
    let unreadable = |e: rustix::io::Errno| Error::unreadable("/proc", e);
    // A directory that is open for look-ups only can't be listed.
    let listed = openat(&procfs.dir, ".", LIST_DIR, Mode::empty()).map_err(unreadable)?;
    let mut proc_cgroup = Vec::new();
    for entry in Dir::new(listed).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(pid) = Pid::parse(entry.file_name().to_bytes()) else { continue };
        let is_init = status(pid, procfs)
            .is_some_and(|status| status.innermost_pid == Pid::INIT && status.nesting == nesting);
        if !is_init || procfs.read_of(pid, "cgroup", &mut proc_cgroup).is_err() {
            continue;
        }
        let init = hierarchy.path_in(&proc_cgroup, pid);
        if init.is_ok_and(|init| is_at_or_below(path, container_around(init)))
            && procfs.namespace_id(pid, "ns/pid").is_ok_and(|namespace| namespace == id)
        {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::cgroup::mounts::{CgroupMounts, Hierarchy};
    use crate::process::own_pid;
    use std::path::Path;

    #[test]
    fn init_scope_is_cut_off_and_nothing_else() {
        assert_eq!(container_around(b"/lxc/c1/init.scope"), b"/lxc/c1");
        assert_eq!(container_around(b"/lxc/c1/init"), b"/lxc/c1/init");
        assert_eq!(container_around(b"/lxc/c1/xinit.scope"), b"/lxc/c1/xinit.scope");
        assert_eq!(container_around(b"/init.scope"), b"/");
    }

    /// A thread that may be slow may not hang.
    #[test]
    fn a_search_that_may_hang_is_done_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        // It was put into a pid namespace from outside.
        for (pid, parent, ids) in [(100, 50, "100\t7"), (50, 0, "50")] {
            let process = dir.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("status"), format!("PPid:\t{parent}\nNSpid:\t{ids}\n")).unwrap();
        }
        let (procfs, memory) = (Procfs::open(dir.path()).unwrap(), Hierarchy::for_test("memory"));
        let search = |may_hang| {
            let caller =
                Caller { pid: Pid::new(100), may_take_long: true, may_hang, ..Caller::in_cgroup(b"/a") };
            search_init(NamespaceId::new(1), &caller, ProcContext { procfs: &procfs, hierarchy: &memory })
        };
        assert!(matches!(search(false), Err(Error::MayHang(_))));
        assert!(matches!(search(true), Ok(None)));
    }

    /// The search for old kernels has to find what a new kernel says.
    #[test]
    fn search_finds_the_init_that_the_kernel_names() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let own = status(own_pid(), &procfs).unwrap();
        assert_eq!(eldest_ancestor(own_pid(), own, &procfs), Some(Pid::INIT));
        // Without root the namespaces of others can't be seen, pid 1's least of all.
        let (Ok(id), Ok(cgroup_mounts)) =
            (procfs.namespace_id(Pid::INIT, "ns/pid"), CgroupMounts::detect(Path::new("/")))
        else {
            return;
        };
        let mut text = Vec::new();
        procfs.read_of(Pid::INIT, "cgroup", &mut text).unwrap();
        let path = cgroup_mounts.memory.path_in(&text, Pid::INIT).unwrap();
        let context = ProcContext { procfs: &procfs, hierarchy: &cgroup_mounts.memory };
        assert_eq!(search_all(id, own.nesting, path, context).unwrap(), Some(Pid::INIT));
    }
}
