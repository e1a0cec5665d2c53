//! What is counted for a container over time: processor time, load, and when it started.

pub(in crate::service) mod cpu_accounts;
pub(in crate::service) mod load_estimate;
pub(in crate::service) mod load_sampler;
pub(in crate::service) mod retained_records;
pub(in crate::service) mod sampling_phase;
pub(in crate::service) mod start_times;
pub(in crate::service) mod tracked_cgroups;
