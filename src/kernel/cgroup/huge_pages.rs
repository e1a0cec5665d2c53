//! Huge pages, as the hugetlb controller limits them. Few hosts have any, so no file is kept open for them.

use super::ancestors::{AncestorWalk, ancestors};
use super::memory_nodes::MemoryNodes;
use super::mounts::{CgroupMounts, Hierarchy};
use crate::error::Error;
use crate::kernel::identity::caller::Caller;
use crate::kernel::read::{READ, read_with};
use crate::rate_limited_log::odd_value;
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

/// Reads the pools that `directory`, `/sys/kernel/mm/hugepages`, lists, as they are limited for a caller by its cgroups and by
/// the `nodes` that it may use, if these are not all. `None` if the host has no huge pages, or nothing limits the caller.
pub(crate) fn pools(
    directory: &OwnedFd,
    meminfo: &Meminfo,
    cgroup_mounts: &CgroupMounts,
    caller: &Caller<'_>,
    nodes: Option<(&MemoryNodes, &CpuList)>,
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
        let nr = read_number(directory, &format!("{name}/nr_hugepages"), number)?;
        let Some(host_total) = nr else { continue };
        let of_nodes = nodes.and_then(|(machine, allowed)| machine.huge_pages(allowed, size));
        let (host_total, nodes_free) = match of_nodes {
            Some((total, free)) => (total.min(host_total), Some(free)),
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
    let [limit_file, usage_file, reserved_limit_file, reserved_file] = match hierarchy.version {
        CgroupVersion::V1 => {
            ["limit_in_bytes", "usage_in_bytes", "rsvd.limit_in_bytes", "rsvd.usage_in_bytes"]
        }
        CgroupVersion::V2 => ["max", "current", "rsvd.max", "rsvd.current"],
    };
    let (path, container) = (caller.own_in(hierarchy)?, caller.container_in(hierarchy)?);
    let (mut levels, mut walk) = (Vec::new(), AncestorWalk::new(hierarchy));
    for level in ancestors(path).filter(|&level| level != b"/" || !hierarchy.is_hierarchy_root) {
        let dir = walk.to(level)?.open_dir()?;
        let file = |name: &str| format!("{prefix}.{name}");
        // Without the controller there are no such files; the level above has the numbers. The rest of meminfo does not
        // depend on them: a malformed limit counts as 0, and below a level with a malformed usage nothing is left.
        let log_malformed = |name: &str, error| match error {
            Error::Malformed { .. } => {
                odd_value(level, &file(name));
                Ok(())
            }
            error => Err(error),
        };
        let limit = |name| match read_number(&dir, &file(name), limit) {
            Err(error) => log_malformed(name, error).map(|()| Some(Some(Bytes::ZERO))),
            limit => limit,
        };
        let usage = |name| match read_number(&dir, &file(name), usage) {
            Err(error) => log_malformed(name, error).map(|()| Some(None)),
            usage => Ok(usage?.map(Some)),
        };
        let (Some(limited), Some(used)) = (limit(limit_file)?, usage(usage_file)?) else { continue };
        let huge_level = HugeLevel {
            limit: limited,
            usage: used,
            reserved_limit: limit(reserved_limit_file)?.flatten(),
            reserved: usage(reserved_file)?.unwrap_or(Some(Bytes::ZERO)),
        };
        levels.push((huge_level, Some(level) == container));
    }
    levels.reverse();
    let container = levels.iter().position(|(_, is_container)| *is_container);
    Ok((levels.into_iter().map(|(level, _)| level).collect(), container))
}

/// The name of a page size in the controller's files, such as 64KB, 2MB, 1GB (`mem_fmt()`, mm/hugetlb_cgroup.c).
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
