//! The host's memory nodes, of which a cpuset may allow only some.

use super::cpusets;
use super::mounts::Hierarchy;
use crate::error::Error;
use crate::kernel::host::node_files::NodeFiles;
use crate::kernel::identity::caller::Caller;
use crate::kernel::kernel_dir::KernelDir;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::Field;
use cgprocfs_core::snapshot::NodeMemory;
use cgprocfs_core::units::Kib;

/// The memory nodes of a host that can ever have more than one.
pub(crate) struct MemoryNodes(Option<NodeFiles>);

impl MemoryNodes {
    pub(crate) fn open(sys: Option<&KernelDir>) -> Self {
        let several = |files: &NodeFiles| {
            let list = |name| files.list(name).ok().flatten();
            list("possible").or_else(|| list("online")).is_some_and(|nodes| nodes.len() > 1)
        };
        Self(sys.and_then(NodeFiles::open).filter(several))
    }

    /// The nodes with memory that a caller's cpuset lets it use; `None` if these are all nodes. A list of nodes that can't be read
    /// counts as all nodes: no reader is refused its numbers for it.
    pub(crate) fn allowed(
        &self,
        cpuset: Option<&Hierarchy>,
        caller: &Caller<'_>,
    ) -> Result<Option<CpuList>, Error> {
        let (Some(files), Some(cpuset)) = (&self.0, cpuset) else { return Ok(None) };
        let list = |name| files.list(name).ok().flatten();
        let with_memory = list("has_memory").or_else(|| list("online"));
        let Some(with_memory) = with_memory.filter(|nodes| nodes.len() > 1) else { return Ok(None) };
        let Some(allowed) = cpusets::nodes(cpuset, caller)? else { return Ok(None) };
        let allowed = allowed.within(&with_memory);
        Ok((!allowed.is_empty() && allowed.len() < with_memory.len()).then_some(allowed))
    }

    /// The memory of these nodes together; `None` if it is known of none.
    pub(crate) fn memory(&self, nodes: &CpuList) -> Result<Option<NodeMemory>, Error> {
        let Some(files) = &self.0 else { return Ok(None) };
        let mut sum = NodeMemory::default();
        for node in nodes.iter() {
            // A node may be removed meanwhile.
            let Some(meminfo) = files.meminfo(node)? else { continue };
            sum.total = sum.total + meminfo.kib(Field::MemTotal);
            sum.free = sum.free + meminfo.kib(Field::MemFree);
            let reclaimable = meminfo.kib(Field::ActiveFile)
                + meminfo.kib(Field::InactiveFile)
                + meminfo.reclaimable_slab();
            sum.reclaimable = sum.reclaimable + reclaimable;
        }
        Ok((sum.total != Kib::ZERO).then_some(sum))
    }

    /// How many huge pages of a size these nodes have, and how many of these are free; `None` if that is not known.
    pub(crate) fn huge_pages(&self, nodes: &CpuList, size: Kib) -> Option<(u64, u64)> {
        let (files, pool) = (self.0.as_ref()?, format!("hugepages-{size}kB"));
        let read = |node: u32, name: &str| files.huge_pages(node, &pool, name);
        nodes.iter().try_fold((0u64, 0u64), |(total, free), node| {
            let node = (read(node, "nr_hugepages")?, read(node, "free_hugepages")?);
            Some((total.saturating_add(node.0), free.saturating_add(node.1)))
        })
    }
}
