//! The host's memory nodes, and which of them a reader's cpuset lets it use.

use super::bare::Bare;
use super::caller::Caller;
use super::cpusets;
use super::layout::Hierarchy;
use super::procfs::{READ, read_whole};
use crate::error::Error;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::node_meminfo;
use cgprocfs_core::snapshot::{HostNode, Nodes};
use parking_lot::Mutex;
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often they are looked at at most: they come and go with the hardware.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of them.
#[derive(Default)]
pub(super) struct HostNodes {
    known: Mutex<Option<(Instant, Arc<Vec<HostNode>>)>>,
}

impl HostNodes {
    /// Those of a reader. A system that knows of no nodes has none.
    pub(super) fn of(
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
    let Some(online) = whole(sys, "online", buffer)? else { return Ok(nodes) };
    let malformed = |file: &str, error| Error::malformed(format!("/sys/devices/system/node/{file}"), error);
    let online = CpuList::parse(&online).map_err(|e| malformed("online", e))?;
    for number in online.iter() {
        let (list, meminfo) = (format!("node{number}/cpulist"), format!("node{number}/meminfo"));
        // What goes meanwhile is not there.
        let Some(cpus) = whole(sys, &list, buffer)? else { continue };
        let Some(total) = whole(sys, &meminfo, buffer)? else { continue };
        nodes.push(HostNode {
            number,
            cpus: CpuList::parse(&cpus).map_err(|e| malformed(&list, e))?,
            total: node_meminfo::total(&total).map_err(|e| malformed(&meminfo, e))?,
        });
    }
    Ok(nodes)
}

/// The text of a file about nodes; `None` where there is none.
fn whole(sys: &Bare, file: &str, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    let path = format!("devices/system/node/{file}");
    let unreadable = |error: std::io::Error| Error::unreadable(format!("/sys/{path}"), error);
    match sys.open(&path, READ) {
        Ok(file) => {
            read_whole(file, buffer).map_err(unreadable)?;
            Ok(Some(buffer.clone()))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(unreadable(error.into())),
    }
}
