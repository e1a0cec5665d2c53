//! A cgroup, and every level above it.

pub(crate) mod cgroup_files;
pub(crate) mod cpus;
pub(crate) mod cpusets;
pub(crate) mod descent;
pub(crate) mod events;
pub(crate) mod huge_pages;
pub(crate) mod levels;
pub(crate) mod memory_files;
pub(crate) mod memory_nodes;
pub(crate) mod mounts;
pub(crate) mod paths;
pub(crate) mod pressure;
pub(crate) mod protection;
pub(crate) mod raw_files;
pub(crate) mod subtree;
pub(crate) mod tasks;
