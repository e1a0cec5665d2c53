//! What a process is found by.

use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::procfs::Procfs;

/// Where processes are looked up: a procfs, and the hierarchy of the memory controller, in which containers
/// are told apart.
#[derive(Clone, Copy)]
pub(crate) struct ProcContext<'k> {
    pub(crate) procfs: &'k Procfs,
    pub(crate) hierarchy: &'k Hierarchy,
}
