//! Files of the host that belong to no cgroup.

pub(crate) mod files;
pub mod masked;
pub(crate) mod node_files;
pub(crate) mod nodes;
pub(crate) mod sysfs;
pub(crate) mod sysfs_entry;
pub(crate) mod sysfs_index;
pub(crate) mod system_directory;
pub(crate) mod texts;
pub(crate) mod ttl_cell;
pub(crate) mod ttl_map;
