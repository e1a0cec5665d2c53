//! Whose pressure a view shows, and where the kernel tells it.

use crate::kernel::{CgroupId, PressureFile};

/// Whose pressure a view shows, and where the kernel tells it.
pub(super) struct PressureSource {
    /// The container's cgroup; `None` for the host.
    pub(super) owner: Option<CgroupId>,
    /// The path of that cgroup.
    pub(super) path: Vec<u8>,
    /// The kernel's file; `None` if it keeps no account of that.
    pub(super) file: Option<PressureFile>,
}
