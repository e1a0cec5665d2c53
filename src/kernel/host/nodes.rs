//! The host's memory nodes, and which of them a caller's cpuset lets it use.

use super::node_files::NodeFiles;
use crate::error::Error;
use crate::kernel::cgroup::cpusets;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::identity::caller::Caller;
use crate::kernel::kernel_dir::KernelDir;
use cgprocfs_core::parse::meminfo::Field;
use cgprocfs_core::snapshot::{HostNode, Nodes};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often nodes are read at most: they come and go with the hardware.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The host's memory nodes as they were read last.
#[derive(Default)]
pub(crate) struct HostNodes {
    known: Mutex<Option<(Instant, Arc<Vec<HostNode>>)>>,
}

impl HostNodes {
    /// The nodes, and which of them a caller may use. A kernel without nodes has none.
    pub(crate) fn of(
        &self,
        sys: Option<&KernelDir>,
        cpuset: Option<&Hierarchy>,
        caller: &Caller<'_>,
    ) -> Result<Nodes, Error> {
        let host = self.host(sys)?;
        let allowed = match cpuset {
            // Of a single node no cpuset leaves one out.
            Some(cpuset) if host.len() > 1 => cpusets::nodes(cpuset, caller)?,
            _ => None,
        };
        Ok(Nodes { host, allowed })
    }

    fn host(&self, sys: Option<&KernelDir>) -> Result<Arc<Vec<HostNode>>, Error> {
        if let Some((at, nodes)) = &*self.known.lock()
            && at.elapsed() < REFRESH_INTERVAL
        {
            return Ok(Arc::clone(nodes));
        }
        let nodes = Arc::new(sys.map_or(Ok(Vec::new()), read_nodes)?);
        *self.known.lock() = Some((Instant::now(), Arc::clone(&nodes)));
        Ok(nodes)
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
