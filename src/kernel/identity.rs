//! From a process id to the cgroup of its container.

pub(crate) mod cgroup_namespace;
pub(crate) mod context;
pub(crate) mod init_search;
pub(crate) mod life;
pub(crate) mod namespace_cache;
pub(crate) mod namespace_map;
pub(crate) mod pid_namespace;
pub(crate) mod process_cache;
pub(crate) mod reader;
pub(crate) mod resolver;
pub(crate) mod time_namespaces;
