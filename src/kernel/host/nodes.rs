//! The host's memory nodes, and which of them a reader's cpuset lets it use.

use super::node_files::NodeFiles;
use crate::error::Error;
use crate::kernel::bare::Bare;
use crate::kernel::cgroup::cpusets;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::identity::caller::Caller;
use cgprocfs_core::parse::meminfo::Field;
use cgprocfs_core::snapshot::{HostNode, Nodes};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often they are looked at at most: they come and go with the hardware.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of them.
#[derive(Default)]
pub(crate) struct HostNodes {
    known: Mutex<Option<(Instant, Arc<Vec<HostNode>>)>>,
}

impl HostNodes {
    /// Those of a reader. A system that knows of no nodes has none.
    pub(crate) fn of(
        &self,
        sys: Option<&Bare>,
        cpuset: Option<&Hierarchy>,
        caller: &Caller<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Nodes, Error> {
        let host = self.host(sys, buffer)?;
        let allowed = match cpuset {
            // Of one there is nothing to be chosen.
            Some(cpuset) if host.len() > 1 => cpusets::nodes(cpuset, caller, buffer)?,
            _ => None,
        };
        Ok(Nodes { host, allowed })
    }

    fn host(&self, sys: Option<&Bare>, buffer: &mut Vec<u8>) -> Result<Arc<Vec<HostNode>>, Error> {
        if let Some((at, nodes)) = &*self.known.lock()
            && at.elapsed() < PAUSE
        {
            return Ok(Arc::clone(nodes));
        }
        let nodes = Arc::new(sys.map_or(Ok(Vec::new()), |sys| nodes(sys, buffer))?);
        *self.known.lock() = Some((Instant::now(), Arc::clone(&nodes)));
        Ok(nodes)
    }
}

fn nodes(sys: &Bare, buffer: &mut Vec<u8>) -> Result<Vec<HostNode>, Error> {
    let mut nodes = Vec::new();
    let Some(files) = NodeFiles::open(sys) else { return Ok(nodes) };
    let Some(online) = files.list("online", buffer)? else { return Ok(nodes) };
    for number in online.iter() {
        // What goes meanwhile is not there.
        let Some(cpus) = files.list(&format!("node{number}/cpulist"), buffer)? else { continue };
        let Some(meminfo) = files.meminfo(number, buffer)? else { continue };
        nodes.push(HostNode { number, cpus, total: meminfo.kib(Field::MemTotal) });
    }
    Ok(nodes)
}
