//! The numbers of a cgroup, and of every cgroup above it.

pub(crate) mod ancestors;
pub(crate) mod ancestry;
pub(crate) mod cache;
pub(crate) mod caller;
pub(crate) mod cgroup_files;
pub(crate) mod child_directories;
pub(crate) mod context;
pub(crate) mod cpus;
pub(crate) mod cpusets;
pub(crate) mod events;
pub(crate) mod host_memory;
pub(crate) mod huge_pages;
pub(crate) mod id;
pub(crate) mod kept_files;
pub(crate) mod level;
pub(crate) mod listed_ids;
pub(crate) mod location;
pub(crate) mod memory_files;
pub(crate) mod mounts;
pub(crate) mod paths;
pub(crate) mod pressure;
pub(crate) mod protection;
pub(crate) mod raw_files;
pub(crate) mod read_memory;
pub(crate) mod subtree;
pub(crate) mod tasks;
