//! Huge pages, as the hugetlb controller limits them. Few hosts have any, so no file is kept open for them.

use super::ancestors::{AncestorWalk, ancestors};
use super::caller::Caller;
use super::mounts::{CgroupMounts, Hierarchy};
use crate::error::Error;
use crate::kernel::host::node_files::NodeFiles;
use crate::kernel::read::{READ, read_with};
use crate::rate_limited_log::{malformed_host_value, malformed_value};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::counter::{limit, number, usage};
use cgprocfs_core::parse::cpu_list::CpuList;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::snapshot::{HugeLevel, HugePool};
use cgprocfs_core::units::{Bytes, Kib};
use rustix::fs::{Dir, Mode, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Reads the pools that `directory`, `/sys/kernel/mm/hugepages`, lists, as they are limited for a caller by
/// its cgroups and by the `nodes` that it may use, if these are not all. `None` if the host has no huge
/// pages, or nothing limits the caller.
pub(crate) fn pools(
    directory: &OwnedFd,
    meminfo: &Meminfo,
    cgroup_mounts: &CgroupMounts,
    caller: &Caller<'_>,
    nodes: Option<(&NodeFiles, &CpuList)>,
) -> Result<Option<Vec<HugePool>>, Error> {
    if meminfo.count(Field::HugePagesTotal).unwrap_or(0) == 0 && meminfo.kib(Field::Hugetlb) == Kib::ZERO
        || cgroup_mounts.hugetlb.is_none() && nodes.is_none()
    {
        return Ok(None);
    }
    let unreadable = |e: Errno| Error::unreadable("/sys/kernel/mm/hugepages", e);
    let mut pools = Vec::new();
    for entry in Dir::read_from(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_str().unwrap_or_default();
        let size = name.strip_prefix("hugepages-").and_then(|name| name.strip_suffix("kB"));
        let Some(size) = size.and_then(|size| size.parse().ok()).map(Kib::new) else { continue };
        let file = format!("{name}/nr_hugepages");
        let host_total = match read_number(directory, &file, number) {
            // As with any other number of the host: the rest of meminfo does not depend on it.
            Err(Error::Malformed { .. }) => {
                malformed_host_value("/sys/kernel/mm/hugepages", file.as_bytes());
                0
            }
            Ok(None) => continue,
            read => read?.unwrap_or(0),
        };
        let of_nodes = nodes.and_then(|(files, allowed)| files.huge_pages(allowed, size));
        let (host_total, nodes_free) = match of_nodes {
            Some(nodes) => (nodes.total.min(host_total), Some(nodes.free)),
            None => (host_total, None),
        };
        let (levels, container) = match &cgroup_mounts.hugetlb {
            Some(hierarchy) => levels(hierarchy, size, caller)?,
            None => (Vec::new(), None),
        };
        pools.push(HugePool { size, host_total, nodes_free, levels, container });
    }
    let is_limited = |pool: &HugePool| !pool.levels.is_empty() || pool.nodes_free.is_some();
    Ok(pools.iter().any(is_limited).then_some(pools))
}

/// The levels of the caller's cgroup, from its own upward, and the index of its container among them.
fn levels(
    hierarchy: &Hierarchy,
    size: Kib,
    caller: &Caller<'_>,
) -> Result<(Vec<HugeLevel>, Option<usize>), Error> {
    let prefix = format!("hugetlb.{}", size_name(size));
    let (path, container) = (caller.own_in(hierarchy)?, caller.container_in(hierarchy)?);
    let (mut levels, mut walk) = (Vec::new(), AncestorWalk::new(hierarchy));
    for cgroup in ancestors(path).filter(|&cgroup| cgroup != b"/" || !hierarchy.is_hierarchy_root) {
        let files = LevelFiles { cgroup, dir: walk.to(cgroup)?.open_dir()?, prefix: &prefix };
        // Without the controller there are no such files; the level above has the numbers.
        let Some(level) = files.level(hierarchy.version)? else { continue };
        levels.push((level, Some(cgroup) == container));
    }
    levels.reverse();
    let container = levels.iter().position(|(_, is_container)| *is_container);
    Ok((levels.into_iter().map(|(level, _)| level).collect(), container))
}

/// The controller's files for one page size in a cgroup. The rest of meminfo does not depend on them, so that
/// a malformed one is logged and is no error.
struct LevelFiles<'l> {
    cgroup: &'l [u8],
    dir: OwnedFd,
    /// What the names of the files begin with.
    prefix: &'l str,
}

impl LevelFiles<'_> {
    /// Reads the level; `None` if the controller is not enabled.
    fn level(&self, version: CgroupVersion) -> Result<Option<HugeLevel>, Error> {
        let [limit, usage, reserved_limit, reserved] = match version {
            CgroupVersion::V1 => {
                ["limit_in_bytes", "usage_in_bytes", "rsvd.limit_in_bytes", "rsvd.usage_in_bytes"]
            }
            CgroupVersion::V2 => ["max", "current", "rsvd.max", "rsvd.current"],
        };
        let (Some(limit), Some(usage)) = (self.limit(limit)?, self.usage(usage)?) else { return Ok(None) };
        let reserved_limit = self.limit(reserved_limit)?.flatten();
        let reserved = self.usage(reserved)?.unwrap_or(Some(Bytes::ZERO));
        Ok(Some(HugeLevel { limit, usage, reserved_limit, reserved }))
    }

    /// Reads a limit; `None` if there is no such file. A malformed one counts as 0.
    fn limit(&self, name: &str) -> Result<Option<Option<Bytes>>, Error> {
        Ok(self.read(name, limit)?.map(|limit| limit.unwrap_or(Some(Bytes::ZERO))))
    }

    /// Reads a usage; `None` if there is no such file. Below a level with a malformed one, which is
    /// `Some(None)`, nothing is left.
    fn usage(&self, name: &str) -> Result<Option<Option<Bytes>>, Error> {
        self.read(name, usage)
    }

    /// Reads a file; `None` if there is none, `Some(None)` if it is malformed.
    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<Option<T>>, Error> {
        let file = format!("{}.{name}", self.prefix);
        match read_number(&self.dir, &file, parse) {
            Err(Error::Malformed { .. }) => {
                malformed_value(self.cgroup, &file);
                Ok(Some(None))
            }
            number => Ok(number?.map(Some)),
        }
    }
}

/// The name of a page size in the controller's files, such as 64KB, 2MB, 1GB (`mem_fmt()`,
/// mm/hugetlb_cgroup.c).
pub(crate) fn size_name(size: Kib) -> String {
    match size.get() {
        kib if kib >= 1 << 20 => format!("{}GB", kib >> 20),
        kib if kib >= 1 << 10 => format!("{}MB", kib >> 10),
        kib => format!("{kib}KB"),
    }
}

/// Reads a file of `dir`; `None` if it does not exist.
fn read_number<T>(
    dir: &OwnedFd,
    file: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
) -> Result<Option<T>, Error> {
    let opened = match openat(dir, file, READ, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(Error::unreadable(file, e)),
    };
    let parsed = read_with(opened, parse).map_err(|e| Error::unreadable(file, e))?;
    parsed.map(Some).map_err(|e| Error::malformed(file, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_page_sizes() {
        assert_eq!(size_name(Kib::new(64)), "64KB");
        assert_eq!(size_name(Kib::new(2048)), "2MB");
        assert_eq!(size_name(Kib::new(1 << 20)), "1GB");
    }
}
