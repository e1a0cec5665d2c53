//! `/sys/devices/system/node`: what the kernel says of the machine's memory nodes.

use crate::error::Error;
use crate::kernel::bare::Bare;
use crate::kernel::procfs::{READ, read_whole};
use crate::rate_limited_log::odd_host_value;
use cgprocfs_core::parse::counter::number;
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use rustix::io::Errno;

/// The directory.
pub(crate) struct NodeFiles(Bare);

/// Lines of a node from which something is reckoned.
const COUNTED: [Field; 5] =
    [Field::MemFree, Field::ActiveFile, Field::InactiveFile, Field::KReclaimable, Field::SReclaimable];

impl NodeFiles {
    /// Opens it; `None` where the kernel knows of no nodes.
    pub(crate) fn open(sys: &Bare) -> Option<Self> {
        sys.below("devices/system/node").ok().map(Self)
    }

    /// A file with a list of nodes or processors; `None` where there is none.
    pub(crate) fn list(&self, file: &str, buffer: &mut Vec<u8>) -> Result<Option<CpuList>, Error> {
        if !self.read(file, buffer)? {
            return Ok(None);
        }
        CpuList::parse(buffer).map(Some).map_err(|e| Error::malformed(shown(file), e))
    }

    /// What a node has; `None` where it is gone, or was never there. Of a line that makes no sense nothing is counted.
    pub(crate) fn meminfo(&self, node: u32, buffer: &mut Vec<u8>) -> Result<Option<Meminfo>, Error> {
        let file = format!("node{node}/meminfo");
        if !self.read(&file, buffer)? {
            return Ok(None);
        }
        let meminfo = Meminfo::parse_of_node(buffer).map_err(|e| Error::malformed(shown(&file), e))?;
        for field in COUNTED.into_iter().filter(|field| meminfo.is_odd(*field)) {
            odd_host_value(&format!("{}: {}", shown(&file), field.key()));
        }
        Ok(Some(meminfo))
    }

    /// The number in a file of a node's pool of huge pages; `None` where there is none, or it makes no sense.
    pub(crate) fn huge_pages(&self, node: u32, pool: &str, name: &str, buffer: &mut Vec<u8>) -> Option<u64> {
        let is_there = self.read(&format!("node{node}/hugepages/{pool}/{name}"), buffer).ok()?;
        if is_there { number(buffer).ok() } else { None }
    }

    /// Whether there is such a file.
    fn read(&self, file: &str, buffer: &mut Vec<u8>) -> Result<bool, Error> {
        let unreadable = |error: std::io::Error| Error::unreadable(shown(file), error);
        match self.0.open(file, READ) {
            Ok(opened) => read_whole(opened, buffer).map(|()| true).map_err(unreadable),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(unreadable(error.into())),
        }
    }
}

fn shown(file: &str) -> String {
    format!("/sys/devices/system/node/{file}")
}
