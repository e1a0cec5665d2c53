//! `/sys/devices/system/node`: the host's memory nodes.

use crate::error::Error;
use crate::kernel::kernel_dir::KernelDir;
use crate::kernel::read::{READ, read_with};
use crate::rate_limited_log::malformed_host_value;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::snapshot::NodeMemory;
use cgprocfs_core::units::Kib;
use rustix::io::Errno;

/// The directory `/sys/devices/system/node`.
pub(crate) struct NodeFiles(KernelDir);

/// Huge pages of one size that some nodes have.
#[derive(Default)]
pub(crate) struct NodePages {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// The lines of a node's meminfo that are added up.
const SUMMED: [Field; 6] = [
    Field::MemTotal,
    Field::MemFree,
    Field::ActiveFile,
    Field::InactiveFile,
    Field::KReclaimable,
    Field::SReclaimable,
];

impl NodeFiles {
    /// Opens the directory; `None` if the kernel has no nodes.
    pub(super) fn open(sys: &KernelDir) -> Option<Self> {
        sys.below("devices/system/node").ok().map(Self)
    }

    /// Opens the directory of a host that can ever have more than one node.
    pub(crate) fn open_several(sys: &KernelDir) -> Option<Self> {
        Self::open(sys).filter(|files| {
            let list = |name| files.list(name).ok().flatten();
            list("possible").or_else(|| list("online")).is_some_and(|nodes| nodes.len() > 1)
        })
    }

    /// The nodes with memory; `None` if no list of them can be read.
    pub(crate) fn with_memory(&self) -> Option<CpuList> {
        let list = |name| self.list(name).ok().flatten();
        list("has_memory").or_else(|| list("online"))
    }

    /// The memory of these nodes together; `None` if it is known of none.
    pub(crate) fn memory(&self, nodes: &CpuList) -> Result<Option<NodeMemory>, Error> {
        let mut sum = NodeMemory::default();
        for node in nodes.iter() {
            // A node may be removed meanwhile.
            let Some(meminfo) = self.meminfo(node)? else { continue };
            sum.total = sum.total + meminfo.kib(Field::MemTotal);
            sum.free = sum.free + meminfo.kib(Field::MemFree);
            let reclaimable = meminfo.kib(Field::ActiveFile)
                + meminfo.kib(Field::InactiveFile)
                + meminfo.reclaimable_slab();
            sum.reclaimable = sum.reclaimable + reclaimable;
        }
        Ok((sum.total != Kib::ZERO).then_some(sum))
    }

    /// How many huge pages of a size these nodes have, and how many of these are free; `None` if that is not
    /// known.
    pub(crate) fn huge_pages(&self, nodes: &CpuList, size: Kib) -> Option<NodePages> {
        let read = |node: u32, name: &str| {
            let file = format!("node{node}/hugepages/hugepages-{size}kB/{name}");
            self.read(&file, number).ok()??.ok()
        };
        nodes.iter().try_fold(NodePages::default(), |sum, node| {
            let (total, free) = (read(node, "nr_hugepages")?, read(node, "free_hugepages")?);
            Some(NodePages { total: sum.total.saturating_add(total), free: sum.free.saturating_add(free) })
        })
    }

    /// Reads a file with a list of nodes or CPUs; `None` if there is no such file.
    pub(super) fn list(&self, file: &str) -> Result<Option<CpuList>, Error> {
        let Some(list) = self.read(file, CpuList::parse)? else { return Ok(None) };
        list.map(Some).map_err(|e| Error::malformed(path_of(file), e))
    }

    /// Reads the meminfo of a node; `None` if there is no such node. A malformed line counts as 0, and is
    /// logged.
    pub(super) fn meminfo(&self, node: u32) -> Result<Option<Meminfo>, Error> {
        let file = format!("node{node}/meminfo");
        let Some(meminfo) = self.read(&file, Meminfo::parse_of_node)? else { return Ok(None) };
        let meminfo = meminfo.map_err(|e| Error::malformed(path_of(&file), e))?;
        for field in SUMMED.into_iter().filter(|field| meminfo.is_malformed(*field)) {
            malformed_host_value(&path_of(&file), field.key().as_bytes());
        }
        Ok(Some(meminfo))
    }

    /// Reads a file; `None` if there is none of that name.
    fn read<T>(&self, file: &str, parse: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        let unreadable = |error: std::io::Error| Error::unreadable(path_of(file), error);
        match self.0.open(file, READ) {
            Ok(opened) => read_with(opened, parse).map(Some).map_err(unreadable),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(unreadable(error.into())),
        }
    }
}

fn path_of(file: &str) -> String {
    format!("/sys/devices/system/node/{file}")
}
