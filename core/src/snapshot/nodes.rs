//! Memory nodes: the host's, and which of them a container may use.

use crate::parse::cpu_list::CpuList;
use crate::units::Kib;
use std::sync::Arc;

/// A memory node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNode {
    /// The number of the node, as in `/sys/devices/system/node/nodeN`.
    pub number: u32,
    /// The host's processors in it that are online.
    pub cpus: CpuList,
    /// Its `MemTotal`; there are nodes with processors alone.
    pub total: Kib,
}

/// Nodes as a container has them.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    /// The host's that are online, in order.
    pub host: Arc<Vec<HostNode>>,
    /// Those whose memory the reader's cpuset lets it use; `None` where nothing says.
    pub allowed: Option<CpuList>,
}
