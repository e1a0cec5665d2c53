//! The host's memory nodes, as they are listed.

use super::node_files::NodeFiles;
use super::ttl_cell::TtlCell;
use crate::error::Error;
use crate::kernel::kernel_dir::KernelDir;
use cgprocfs_core::parse::meminfo::Field;
use cgprocfs_core::snapshot::HostNode;
use std::sync::Arc;
use std::time::Duration;

/// How often nodes are read at most: they come and go with the hardware.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The host's memory nodes as they were read last.
pub(crate) struct HostNodes(TtlCell<Arc<Vec<HostNode>>>);

impl Default for HostNodes {
    fn default() -> Self {
        Self(TtlCell::with_max_age(REFRESH_INTERVAL))
    }
}

impl HostNodes {
    /// The nodes; a kernel without nodes has none.
    pub(crate) fn get(&self, sys: Option<&KernelDir>) -> Result<Arc<Vec<HostNode>>, Error> {
        self.0.get(|| sys.map_or(Ok(Arc::default()), |sys| read_nodes(sys).map(Arc::new)))
    }
}

fn read_nodes(sys: &KernelDir) -> Result<Vec<HostNode>, Error> {
    let mut nodes = Vec::new();
    let Some(files) = NodeFiles::open(sys) else { return Ok(nodes) };
    let Some(online) = files.list("online")? else { return Ok(nodes) };
    for number in online.iter() {
        // A node may be removed meanwhile.
        let Some(cpus) = files.list(&format!("node{number}/cpulist"))? else { continue };
        let Some(meminfo) = files.meminfo(number)? else { continue };
        nodes.push(HostNode { number, cpus, total: meminfo.kib(Field::MemTotal) });
    }
    Ok(nodes)
}
