//! `/sys/devices/system/node`: the host's memory nodes.

use crate::error::Error;
use crate::kernel::kernel_dir::KernelDir;
use crate::kernel::read::{READ, read_with};
use crate::rate_limited_log::odd_host_value;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use rustix::io::Errno;

/// The directory `/sys/devices/system/node`.
pub(crate) struct NodeFiles(KernelDir);

/// The lines of a node's meminfo that are added up.
const SUMMED: [Field; 5] =
    [Field::MemFree, Field::ActiveFile, Field::InactiveFile, Field::KReclaimable, Field::SReclaimable];

impl NodeFiles {
    /// Opens the directory; `None` if the kernel has no nodes.
    pub(crate) fn open(sys: &KernelDir) -> Option<Self> {
        sys.below("devices/system/node").ok().map(Self)
    }

    /// Reads a file with a list of nodes or CPUs; `None` if there is no such file.
    pub(crate) fn list(&self, file: &str) -> Result<Option<CpuList>, Error> {
        let Some(list) = self.read(file, CpuList::parse)? else { return Ok(None) };
        list.map(Some).map_err(|e| Error::malformed(path_of(file), e))
    }

    /// Reads the meminfo of a node; `None` if there is no such node. A malformed line counts as 0, and is logged.
    pub(crate) fn meminfo(&self, node: u32) -> Result<Option<Meminfo>, Error> {
        let file = format!("node{node}/meminfo");
        let Some(meminfo) = self.read(&file, Meminfo::parse_of_node)? else { return Ok(None) };
        let meminfo = meminfo.map_err(|e| Error::malformed(path_of(&file), e))?;
        for field in SUMMED.into_iter().filter(|field| meminfo.is_odd(*field)) {
            odd_host_value(&path_of(&file), field.key().as_bytes());
        }
        Ok(Some(meminfo))
    }

    /// Reads a number of a node's pool of huge pages; `None` if there is no such file, or it is malformed.
    pub(crate) fn huge_pages(&self, node: u32, pool: &str, name: &str) -> Option<u64> {
        self.read(&format!("node{node}/hugepages/{pool}/{name}"), number).ok()??.ok()
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
