//! What a reading for one caller is made from.

use super::caller::Caller;
use super::kept_files::KeptFiles;
use super::mounts::CgroupMounts;
use crate::kernel::host::files::HostFiles;

/// The files that are open, and whom they are read for.
#[derive(Clone, Copy)]
pub(crate) struct ReadContext<'c> {
    pub(crate) cgroup_mounts: &'c CgroupMounts,
    pub(crate) host: &'c HostFiles,
    pub(crate) caller: &'c Caller<'c>,
    /// Those that stay open for the readers in the caller's cgroup.
    pub(crate) kept: Option<&'c KeptFiles>,
}
