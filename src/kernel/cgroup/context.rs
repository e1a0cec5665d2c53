//! What a reading for one caller is made from.

use super::mounts::CgroupMounts;
use crate::kernel::host::files::HostFiles;
use crate::kernel::identity::caller::Caller;

/// The files that are open, and whom they are read for.
#[derive(Clone, Copy)]
pub(crate) struct ReadContext<'c> {
    pub(crate) cgroup_mounts: &'c CgroupMounts,
    pub(crate) host: &'c HostFiles,
    pub(crate) caller: &'c Caller<'c>,
}
