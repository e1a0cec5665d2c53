//! Owners: the cgroups on whose behalf work is done.

use cgprocfs_core::parse::pid::Pid;
use std::sync::Arc;

/// The path of the cgroup on whose behalf work is done, or a name that no cgroup has where only a process is
/// known.
pub(in crate::service) type Owner = Arc<[u8]>;

/// An owner of which no cgroup is known. No cgroup has such a name.
pub(in crate::service) fn of_process(pid: Pid) -> Owner {
    format!("\0/{pid}").into_bytes().into()
}
