//! The machine's memory nodes, of which a cpuset may have some only.

use super::bare::Bare;
use super::caller::Caller;
use super::cpusets;
use super::layout::Hierarchy;
use super::procfs::{PATH_DIR, READ, read_whole};
use crate::error::Error;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::snapshot::NodeMemory;
use cgprocfs_core::units::Kib;
use rustix::fs::{Mode, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// `/sys/devices/system/node`, where there can ever be more than one.
pub(super) struct MemoryNodes(Option<OwnedFd>);

impl MemoryNodes {
    pub(super) fn open(sys: Option<&Bare>) -> Self {
        let directory = sys.and_then(|sys| sys.open("devices/system/node", PATH_DIR).ok());
        let several = |directory: &OwnedFd| {
            let list = |name| list(directory, name, &mut Vec::new());
            list("possible").or_else(|| list("online")).is_some_and(|nodes| nodes.len() > 1)
        };
        Self(directory.filter(several))
    }

    /// Those with memory that a reader's cpuset lets it use; `None` where that is all of them. What the kernel says of
    /// cpusets is asked for no more than that, and nobody is refused his memory for it.
    pub(super) fn allowed(
        &self,
        cpuset: Option<&Hierarchy>,
        caller: &Caller<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<CpuList>, Error> {
        let (Some(directory), Some(cpuset)) = (&self.0, cpuset) else { return Ok(None) };
        let with_memory = list(directory, "has_memory", buffer).or_else(|| list(directory, "online", buffer));
        let Some(with_memory) = with_memory.filter(|nodes| nodes.len() > 1) else { return Ok(None) };
        let Some(allowed) = cpusets::nodes(cpuset, caller, buffer)? else { return Ok(None) };
        let allowed = allowed.within(&with_memory);
        Ok((!allowed.is_empty() && allowed.len() < with_memory.len()).then_some(allowed))
    }

    /// What these nodes have together.
    pub(super) fn memory(&self, nodes: &CpuList, buffer: &mut Vec<u8>) -> Result<NodeMemory, Error> {
        let mut sum = NodeMemory::default();
        for node in nodes.iter() {
            let shown = || format!("/sys/devices/system/node/node{node}/meminfo");
            let directory = self.0.as_ref().ok_or_else(|| Error::unreadable(shown(), Errno::NOENT))?;
            openat(directory, format!("node{node}/meminfo"), READ, Mode::empty())
                .map_err(std::io::Error::from)
                .and_then(|file| read_whole(file, buffer))
                .map_err(|e| Error::unreadable(shown(), e))?;
            let meminfo = Meminfo::parse_of_node(buffer).map_err(|e| Error::malformed(shown(), e))?;
            sum.total = sum.total + meminfo.kib(Field::MemTotal);
            sum.free = sum.free + meminfo.kib(Field::MemFree);
            let reclaimable = meminfo.kib(Field::ActiveFile)
                + meminfo.kib(Field::InactiveFile)
                + meminfo.reclaimable_slab();
            sum.reclaimable = sum.reclaimable + reclaimable;
        }
        Ok(sum)
    }

    /// How many huge pages of a size these nodes have, and how many of these are free; `None` where they do not say.
    pub(super) fn huge_pages(&self, nodes: &CpuList, size: Kib) -> Option<(u64, u64)> {
        let read = |node: u32, name: &str| {
            let path = format!("node{node}/hugepages/hugepages-{size}kB/{name}");
            let mut text = Vec::new();
            read_whole(openat(self.0.as_ref()?, path, READ, Mode::empty()).ok()?, &mut text).ok()?;
            number(&text).ok()
        };
        nodes.iter().try_fold((0u64, 0u64), |(total, free), node| {
            let node = (read(node, "nr_hugepages")?, read(node, "free_hugepages")?);
            Some((total.saturating_add(node.0), free.saturating_add(node.1)))
        })
    }
}

fn list(directory: &OwnedFd, name: &str, buffer: &mut Vec<u8>) -> Option<CpuList> {
    read_whole(openat(directory, name, READ, Mode::empty()).ok()?, buffer).ok()?;
    CpuList::parse(buffer).ok()
}
