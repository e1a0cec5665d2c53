//! What is measured of a program.

use serde::Serialize;

/// Memory at one moment, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Seconds since the program was started.
    pub(super) seconds: f64,
    /// All that is charged to the cgroup.
    pub(super) usage: u64,
    /// What Kubernetes would call its working set.
    pub(super) working_set: u64,
    /// Anonymous memory.
    pub(super) anon: u64,
    /// Page cache and tmpfs.
    pub(super) file: u64,
    /// Memory of the kernel.
    pub(super) kernel: u64,
}
