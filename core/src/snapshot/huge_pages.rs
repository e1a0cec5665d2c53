//! Huge pages, and limits on them.

use crate::units::{Bytes, Kib};

/// The huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePool {
    /// Size of a page.
    pub size: Kib,
    /// Pages in the host's pool, or in those of the nodes that the reader may use.
    pub host_total: u64,
    /// How many of them nobody has taken, where that is another number than the host's.
    pub nodes_free: Option<u64>,
    /// The reader's cgroups in the hugetlb controller's hierarchy, leaf first, without the root.
    pub levels: Vec<HugeLevel>,
    /// Which of `levels` is the container; `None` where it has no cgroup of its own there.
    pub container: Option<usize>,
}

/// Huge pages of one size in one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugeLevel {
    /// `hugetlb.SIZE.max` or `.limit_in_bytes`: of pages that are in use.
    pub limit: Option<Bytes>,
    /// `hugetlb.SIZE.current` or `.usage_in_bytes`; `None` where it made no sense, and nothing is left of a
    /// limit.
    pub usage: Option<Bytes>,
    /// `hugetlb.SIZE.rsvd.max` or `.rsvd.limit_in_bytes`: of pages that were promised to a mapping, whether
    /// or not they are in use by now.
    pub reserved_limit: Option<Bytes>,
    /// `hugetlb.SIZE.rsvd.current` or `.rsvd.usage_in_bytes`, 0 on kernels without it; `None` likewise.
    pub reserved: Option<Bytes>,
}
