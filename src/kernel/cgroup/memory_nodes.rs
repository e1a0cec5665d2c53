//! The machine's memory nodes, of which a cpuset may have some only.

use super::cpusets;
use super::mounts::Hierarchy;
use crate::error::Error;
use crate::kernel::bare::Bare;
use crate::kernel::host::node_files::NodeFiles;
use crate::kernel::identity::caller::Caller;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::Field;
use cgprocfs_core::snapshot::NodeMemory;
use cgprocfs_core::units::Kib;

/// Those of a machine that can ever have more than one.
pub(crate) struct MemoryNodes(Option<NodeFiles>);

impl MemoryNodes {
    pub(crate) fn open(sys: Option<&Bare>) -> Self {
        let several = |files: &NodeFiles| {
            let list = |name| files.list(name, &mut Vec::new()).ok().flatten();
            list("possible").or_else(|| list("online")).is_some_and(|nodes| nodes.len() > 1)
        };
        Self(sys.and_then(NodeFiles::open).filter(several))
    }

    /// Those with memory that a reader's cpuset lets it use; `None` where that is all of them. What the kernel says of
    /// cpusets is asked for no more than that, and nobody is refused his memory for it.
    pub(crate) fn allowed(
        &self,
        cpuset: Option<&Hierarchy>,
        caller: &Caller<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<CpuList>, Error> {
        let (Some(files), Some(cpuset)) = (&self.0, cpuset) else { return Ok(None) };
        let mut list = |name| files.list(name, buffer).ok().flatten();
        let with_memory = list("has_memory").or_else(|| list("online"));
        let Some(with_memory) = with_memory.filter(|nodes| nodes.len() > 1) else { return Ok(None) };
        let Some(allowed) = cpusets::nodes(cpuset, caller, buffer)? else { return Ok(None) };
        let allowed = allowed.within(&with_memory);
        Ok((!allowed.is_empty() && allowed.len() < with_memory.len()).then_some(allowed))
    }

    /// What these nodes have together; `None` where none of them says.
    pub(crate) fn memory(&self, nodes: &CpuList, buffer: &mut Vec<u8>) -> Result<Option<NodeMemory>, Error> {
        let Some(files) = &self.0 else { return Ok(None) };
        let mut sum = NodeMemory::default();
        for node in nodes.iter() {
            // What goes meanwhile is not there.
            let Some(meminfo) = files.meminfo(node, buffer)? else { continue };
            sum.total = sum.total + meminfo.kib(Field::MemTotal);
            sum.free = sum.free + meminfo.kib(Field::MemFree);
            let reclaimable = meminfo.kib(Field::ActiveFile)
                + meminfo.kib(Field::InactiveFile)
                + meminfo.reclaimable_slab();
            sum.reclaimable = sum.reclaimable + reclaimable;
        }
        Ok((sum.total != Kib::ZERO).then_some(sum))
    }

    /// How many huge pages of a size these nodes have, and how many of these are free; `None` where they do not say.
    pub(crate) fn huge_pages(&self, nodes: &CpuList, size: Kib) -> Option<(u64, u64)> {
        let (files, pool) = (self.0.as_ref()?, format!("hugepages-{size}kB"));
        let read = |node: u32, name: &str| files.huge_pages(node, &pool, name, &mut Vec::new());
        nodes.iter().try_fold((0u64, 0u64), |(total, free), node| {
            let node = (read(node, "nr_hugepages")?, read(node, "free_hugepages")?);
            Some((total.saturating_add(node.0), free.saturating_add(node.1)))
        })
    }
}
