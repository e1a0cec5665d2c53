//! Files of the host that are not of any cgroup.

pub(crate) mod files;
pub mod masked;
pub(crate) mod node_files;
pub(crate) mod nodes;
pub(crate) mod system_directory;
