//! What was read lately, and rendered from it.

pub(in crate::service) mod cache_entry;
pub(in crate::service) mod cached_cgroup;
pub(in crate::service) mod rendered;
pub(in crate::service) mod snapshot_cache;
