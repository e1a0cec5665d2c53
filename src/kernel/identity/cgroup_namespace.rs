//! A cgroup namespace, and where its root is.

use super::context::ProcContext;
use super::namespace_map::HeldNamespace;
use crate::error::Error;
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::{Procfs, process_error};
use cgprocfs_core::parse::pid::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

/// A cgroup namespace that is held open.
pub(crate) struct CgroupNamespace {
    _held: OwnedFd,
    /// Its root in the memory controller's hierarchy, which never changes.
    root: Vec<u8>,
}

impl HeldNamespace for CgroupNamespace {
    fn cgroup(&self) -> &[u8] {
        &self.root
    }
}

impl CgroupNamespace {
    /// Finds the root of the namespace `id` that the process `pid` is in, whose cgroup is at `path`; `None`
    /// if the process is in another namespace or another cgroup by now, or outside the root.
    pub(crate) fn resolve(
        id: NamespaceId,
        pid: Pid,
        path: &[u8],
        context: ProcContext<'_>,
    ) -> Result<Option<Self>, Error> {
        let ProcContext { procfs, hierarchy } = context;
        let Some(held) = procfs.open_verified(pid, "ns/cgroup", id)? else { return Ok(None) };
        let mut text = Vec::new();
        read_inside(held.as_fd(), pid, procfs, &mut text)?;
        let inside = match hierarchy.path_in(&text, pid) {
            Ok(b"/") => &b""[..],
            Ok(inside) => inside,
            // The process was moved out of its namespace's root.
            Err(Error::Outside(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(root) = path.strip_suffix(inside) else { return Ok(None) };
        let root = if root.is_empty() { b"/" } else { root }.to_vec();
        // A process that was moved between the two readings would leave behind a wrong root for all after it.
        procfs.read_of(pid, "cgroup", &mut text)?;
        let is_unmoved = hierarchy.path_in(&text, pid)? == path;
        Ok(is_unmoved.then_some(Self { _held: held, root }))
    }

    /// The path of its root in the memory controller's hierarchy.
    pub(crate) fn root(&self) -> &[u8] {
        &self.root
    }
}

/// Reads a process's `/proc/PID/cgroup` as it looks from inside a cgroup namespace: by another process if
/// there is one for that, or else on a thread of its own, because a thread's namespaces are its own and this
/// process must stay where it is.
fn read_inside(
    namespace: BorrowedFd<'_>,
    pid: Pid,
    procfs: &Procfs,
    text: &mut Vec<u8>,
) -> Result<(), Error> {
    if let Some(reader) = &procfs.namespace_reader {
        let proc_cgroup = procfs.open_of(pid, "cgroup")?;
        let read = reader.text(namespace, proc_cgroup.as_fd());
        *text = read.map_err(|e| process_error(pid, "cgroup", e))?;
        return Ok(());
    }
    let enter_and_read = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::ControlGroup))
            .map_err(|e| Error::unreadable(format!("/proc/{pid}/ns/cgroup"), e))?;
        procfs.read_of(pid, "cgroup", text)
    };
    thread::scope(|scope| {
        let thread =
            thread::Builder::new().name("cgroup-namespace".into()).spawn_scoped(scope, enter_and_read);
        let failed =
            || Error::unreadable(format!("/proc/{pid}/cgroup"), io::Error::from_raw_os_error(libc::EAGAIN));
        thread.map_err(|_| failed())?.join().map_err(|_| failed())?
    })
}
