//! From a process id to the cgroup of its container.

pub(crate) mod caller;
pub(crate) mod life;
pub(crate) mod namespaces;
pub(crate) mod process_cache;
pub(crate) mod resolver;
pub(crate) mod time_namespaces;
