//! A cgroup and every level above it, and how a [`Snapshot`] is read from them.

use super::cgroup_files::CgroupFiles;
use super::layout::{Hierarchy, Layout};
use super::procfs::{Procfs, READ, read_whole};
use crate::bytes::{Bytes, Kib};
use crate::error::{Error, printable};
use crate::parse::counter::{limit, number, usage};
use crate::parse::meminfo::{Field, Meminfo};
use crate::parse::memory_stat::Version;
use crate::snapshot::{Container, HugeLevel, HugePool, Level, Needs, Scope, Snapshot, Swap};
use parking_lot::Mutex;
use rustix::fs::{Dir, Mode, openat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The open cgroups. Containers share the levels above them.
#[derive(Default)]
pub(super) struct Levels {
    open: Mutex<HashMap<Vec<u8>, Arc<CgroupFiles>>>,
}

/// A reader's cgroup and all above it, with their files open.
pub struct CgroupPath {
    /// From the reader's own cgroup upward. The hierarchy's root is left out, but for a reader that is in it.
    levels: Vec<(usize, Arc<CgroupFiles>)>,
    in_root: bool,
}

impl Levels {
    /// Opens the cgroup at `path` and every level above it.
    pub(super) fn path(&self, hierarchy: &Hierarchy, path: &[u8]) -> Result<CgroupPath, Error> {
        let in_root = path == b"/" && hierarchy.top_is_host;
        let mut levels = Vec::new();
        for ancestor in upward(path) {
            if ancestor != b"/" || in_root || !hierarchy.top_is_host {
                levels.push((ancestor.len(), self.level(hierarchy, ancestor)?));
            }
        }
        Ok(CgroupPath { levels, in_root })
    }

    fn level(&self, hierarchy: &Hierarchy, path: &[u8]) -> Result<Arc<CgroupFiles>, Error> {
        let known = self.open.lock().get(path).map(Arc::clone);
        if let Some(level) = known
            && level.verify_name(hierarchy).is_ok()
        {
            return Ok(level);
        }
        let level = Arc::new(CgroupFiles::open(hierarchy, path)?);
        self.open.lock().insert(path.to_vec(), Arc::clone(&level));
        Ok(level)
    }

    /// Closes the levels that no path goes through any more.
    pub(super) fn sweep(&self) {
        self.open.lock().retain(|_, level| Arc::strong_count(level) > 1);
    }
}

/// `/a/b/c`, `/a/b`, `/a`, `/`.
fn upward(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| match path.iter().rposition(|&b| b == b'/') {
        Some(0) if path.len() > 1 => Some(&path[..1]),
        Some(0) | None => None,
        Some(slash) => Some(&path[..slash]),
    })
}

/// What to open below a hierarchy's mount point.
pub(super) fn relative(path: &[u8]) -> &Path {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

impl CgroupPath {
    /// Checks that the reader's cgroup is still the one whose files are open. The levels above it need no look of
    /// their own: none of them can be replaced while it stays.
    pub(super) fn verify(&self, layout: &Layout) -> Result<(), Error> {
        self.levels.first().map_or(Ok(()), |(_, leaf)| leaf.verify_name(&layout.memory))
    }

    /// Reads what `needs` asks for. `container` is the length of the container's path.
    pub(super) fn load(
        &self,
        container: usize,
        needs: Needs,
        host: &HostFiles,
        layout: &Layout,
        hugetlb: Option<&[u8]>,
    ) -> Result<Snapshot, Error> {
        let mut buffer = Vec::new();
        let meminfo = if needs.covers(Needs::LEVELS) { Some(host.meminfo(&mut buffer)?) } else { None };
        let with_controller = || self.levels.iter().filter(|(_, files)| files.has_controller());
        for (_, files) in &self.levels {
            files.verify_controller()?;
        }

        // The container, or the nearest level above it that has the controller.
        let scope = match with_controller().position(|(length, _)| *length <= container) {
            Some(index) if !self.in_root => {
                let mut levels = Vec::with_capacity(self.levels.len());
                for (position, (_, files)) in with_controller().enumerate() {
                    levels.push(read_level(files, position == index, meminfo.as_ref(), &mut buffer)?);
                }
                let huge_pages = match (&meminfo, hugetlb) {
                    (Some(meminfo), Some(path)) => host.huge_pages(meminfo, layout, path)?,
                    _ => None,
                };
                Scope::Container(Container { levels, index, huge_pages })
            }
            _ => Scope::Host(Box::new(host.root_level(layout, needs, &mut buffer)?)),
        };
        Ok(Snapshot { meminfo, page: host.page, scope })
    }
}

fn read_level(
    files: &CgroupFiles,
    is_container: bool,
    meminfo: Option<&Meminfo>,
    buffer: &mut Vec<u8>,
) -> Result<Level, Error> {
    let mut level = Level::default();
    let mut binds = false;
    if let Some(meminfo) = meminfo {
        level.limit = files.limit(buffer)?;
        binds = level.limit.is_some_and(|limit| limit.to_kib() < meminfo.kib(Field::MemTotal));
    }
    if is_container || binds {
        files.usage(&mut level, buffer)?;
    }
    // A host without swap has none to limit.
    level.swap = match meminfo.map(|meminfo| meminfo.kib(Field::SwapTotal)) {
        None | Some(Kib::ZERO) => Swap::Unaccounted,
        Some(_) => files.swap(buffer)?,
    };
    Ok(level)
}

/// The host's own files.
pub(super) struct HostFiles {
    meminfo: OwnedFd,
    hugepages: Option<OwnedFd>,
    page: Kib,
}

impl HostFiles {
    /// Opens the files below `root`.
    pub(super) fn open(procfs: &Procfs, root: &Path) -> Result<Self, Error> {
        use rustix::fs::{CWD, OFlags, ResolveFlags, openat2};
        // Never through a view that somebody laid over it: that would be waiting for ourselves.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
        let opened = match openat2(&procfs.dir, "meminfo", READ, Mode::empty(), resolve) {
            // Before Linux 5.6.
            Err(Errno::NOSYS) => openat(&procfs.dir, "meminfo", READ, Mode::empty()),
            opened => opened,
        };
        let meminfo = opened.map_err(|e| Error::unreadable("/proc/meminfo", e))?;
        let hugepages = root.join("sys/kernel/mm/hugepages");
        let hugepages =
            openat(CWD, &hugepages, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
        let page = Bytes::new(rustix::param::page_size() as u64).to_kib();
        Ok(Self { meminfo, hugepages, page })
    }

    fn meminfo(&self, buffer: &mut Vec<u8>) -> Result<Meminfo, Error> {
        read_whole(&self.meminfo, buffer).map_err(|e| Error::unreadable("/proc/meminfo", e))?;
        Meminfo::parse(buffer.clone()).map_err(|e| Error::malformed("/proc/meminfo", e))
    }

    /// The host's file and, where usage is needed, the root cgroup's numbers.
    pub(super) fn load(&self, layout: &Layout, needs: Needs) -> Result<Snapshot, Error> {
        let mut buffer = Vec::new();
        let meminfo = if needs.covers(Needs::LEVELS) { Some(self.meminfo(&mut buffer)?) } else { None };
        let root = Box::new(self.root_level(layout, needs, &mut buffer)?);
        Ok(Snapshot { meminfo, page: self.page, scope: Scope::Host(root) })
    }

    fn root_level(&self, layout: &Layout, needs: Needs, buffer: &mut Vec<u8>) -> Result<Level, Error> {
        let mut level = Level::default();
        if needs.covers(Needs::USAGE) {
            CgroupFiles::open(&layout.memory, b"/")?.usage(&mut level, buffer)?;
        }
        Ok(level)
    }

    /// Reads the pools of huge pages; `None` if the host has none or no hugetlb controller limits the reader.
    fn huge_pages(
        &self,
        meminfo: &Meminfo,
        layout: &Layout,
        path: &[u8],
    ) -> Result<Option<Vec<HugePool>>, Error> {
        let none_at_all =
            meminfo.kib(Field::HugePagesTotal) == Kib::ZERO && meminfo.kib(Field::Hugetlb) == Kib::ZERO;
        let (Some(hierarchy), Some(hugepages), false) = (&layout.hugetlb, &self.hugepages, none_at_all)
        else {
            return Ok(None);
        };
        let unreadable = |e: Errno| Error::unreadable("/sys/kernel/mm/hugepages", e);
        let mut pools = Vec::new();
        for entry in Dir::read_from(hugepages).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_str().unwrap_or_default();
            let size = name.strip_prefix("hugepages-").and_then(|name| name.strip_suffix("kB"));
            let Some(size) = size.and_then(|size| size.parse().ok()).map(Kib::new) else { continue };
            let nr = read_number(hugepages, &format!("{name}/nr_hugepages"), number)?;
            let Some(host_total) = nr else { continue };
            let levels = huge_levels(hierarchy, size, path)?;
            pools.push(HugePool { size, host_total, levels });
        }
        let limited = pools.iter().any(|pool| !pool.levels.is_empty());
        Ok(limited.then_some(pools))
    }
}

fn huge_levels(hierarchy: &Hierarchy, size: Kib, path: &[u8]) -> Result<Vec<HugeLevel>, Error> {
    let prefix = format!("hugetlb.{}", size_name(size));
    let (limit_file, usage_file, reserved_file) = match hierarchy.version {
        Version::V1 => ("limit_in_bytes", "usage_in_bytes", "rsvd.usage_in_bytes"),
        Version::V2 => ("max", "current", "rsvd.current"),
    };
    let mut levels = Vec::new();
    for ancestor in upward(path).filter(|&ancestor| ancestor != b"/" || !hierarchy.top_is_host) {
        let dir = openat(&hierarchy.dir, relative(ancestor), super::procfs::PATH_DIR, Mode::empty());
        let dir = dir.map_err(|e| match e {
            Errno::NOENT => Error::CgroupGone(printable(ancestor)),
            e => Error::unreadable(printable(ancestor), e),
        })?;
        let file = |name: &str| format!("{prefix}.{name}");
        // Without the controller there are no such files; the level above has the numbers.
        let Some(limit) = read_number(&dir, &file(limit_file), limit)? else { continue };
        let Some(used) = read_number(&dir, &file(usage_file), usage)? else { continue };
        let reserved = read_number(&dir, &file(reserved_file), usage)?.unwrap_or_default();
        levels.push(HugeLevel { limit, usage: used, reserved });
    }
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
    parse: impl FnOnce(&[u8]) -> Result<T, crate::parse::ParseError>,
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
    fn levels_go_up_to_the_root() {
        let up = |path: &'static str| {
            upward(path.as_bytes()).map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(up("/a/b c/d"), ["/a/b c/d", "/a/b c", "/a", "/"]);
        assert_eq!(up("/a"), ["/a", "/"]);
        assert_eq!(up("/"), ["/"]);
    }

    #[test]
    fn names_of_page_sizes() {
        assert_eq!(size_name(Kib::new(64)), "64KB");
        assert_eq!(size_name(Kib::new(2048)), "2MB");
        assert_eq!(size_name(Kib::new(1 << 20)), "1GB");
    }
}
