//! Huge pages, as the hugetlb controller limits them. Few hosts have any: nothing is kept open for them.

use super::descent::{Descent, downward};
use super::layout::Hierarchy;
use super::procfs::{PATH_DIR, READ, read_whole};
use crate::bytes::Kib;
use crate::error::Error;
use crate::parse::CgroupVersion;
use crate::parse::ParseError;
use crate::parse::counter::{limit, number, usage};
use crate::parse::meminfo::{Field, Meminfo};
use crate::snapshot::{HugeLevel, HugePool};
use rustix::fs::{Dir, Mode, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Reads the pools that `directory`, `/sys/kernel/mm/hugepages`, lists, as they are limited for a reader in
/// the cgroup `path` of `hierarchy`. `None`: the host has no huge pages, or no hugetlb controller limits
/// the reader.
pub(super) fn pools(
    directory: &OwnedFd,
    meminfo: &Meminfo,
    hierarchy: &Hierarchy,
    path: &[u8],
) -> Result<Option<Vec<HugePool>>, Error> {
    if meminfo.count(Field::HugePagesTotal).unwrap_or(0) == 0 && meminfo.kib(Field::Hugetlb) == Kib::ZERO {
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
        let levels = levels(hierarchy, size, path)?;
        pools.push(HugePool { size, host_total, levels });
    }
    let limited = pools.iter().any(|pool| !pool.levels.is_empty());
    Ok(limited.then_some(pools))
}

fn levels(hierarchy: &Hierarchy, size: Kib, path: &[u8]) -> Result<Vec<HugeLevel>, Error> {
    let prefix = format!("hugetlb.{}", size_name(size));
    let (limit_file, usage_file, reserved_file) = match hierarchy.version {
        CgroupVersion::V1 => ("limit_in_bytes", "usage_in_bytes", "rsvd.usage_in_bytes"),
        CgroupVersion::V2 => ("max", "current", "rsvd.current"),
    };
    let (mut levels, mut descent) = (Vec::new(), Descent::new(hierarchy));
    for level in downward(path).filter(|&level| level != b"/" || !hierarchy.top_is_host) {
        let place = descent.to(level).map_err(|e| Error::of_cgroup(level, e))?;
        let dir =
            openat(place.0, place.1, PATH_DIR, Mode::empty()).map_err(|e| Error::of_cgroup(level, e))?;
        let file = |name: &str| format!("{prefix}.{name}");
        // Without the controller there are no such files; the level above has the numbers.
        let Some(limit) = read_number(&dir, &file(limit_file), limit)? else { continue };
        let Some(used) = read_number(&dir, &file(usage_file), usage)? else { continue };
        let reserved = read_number(&dir, &file(reserved_file), usage)?.unwrap_or_default();
        levels.push(HugeLevel { limit, usage: used, reserved });
    }
    levels.reverse();
    Ok(levels)
}

/// As `mem_fmt()` of `mm/hugetlb_cgroup.c` names a page size: 64KB, 2MB, 1GB.
fn size_name(size: Kib) -> String {
    match size.get() {
        kib if kib >= 1 << 20 => format!("{}GB", kib >> 20),
        kib if kib >= 1 << 10 => format!("{}MB", kib >> 10),
        kib => format!("{kib}KB"),
    }
}

/// Reads a file that is too seldom needed to be kept open; `None` if it does not exist.
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
    let mut text = Vec::new();
    read_whole(opened, &mut text).map_err(|e| Error::unreadable(file, e))?;
    parse(&text).map(Some).map_err(|e| Error::malformed(file, e))
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
