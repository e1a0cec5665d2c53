//! The processes or threads in a cgroup and in all cgroups below it.

use super::child_directories::child_directories;
use super::id::CgroupRef;
use super::mounts::Hierarchy;
use crate::error::{Error, escaped};
use crate::kernel::read::{PATH_DIR, READ};
use cgprocfs_core::parse::decimal;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, Stat, fstat, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How deep the walk goes: whoever nests more deeply wants it to be slow.
const MAX_DEPTH: usize = 64;

/// The ids that a file lists in each of the cgroups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    /// The ids, those of a higher cgroup before those of a lower one.
    pub(crate) ids: Vec<u32>,
    /// Whether these are all.
    pub(crate) are_all: bool,
}

/// How much of a subtree is read at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// In how many cgroups the file is read.
    pub(crate) cgroups: usize,
    /// After how many ids no further cgroup is read.
    pub(crate) ids: usize,
}

/// Lists the ids in `file` of a cgroup and of those below it.
///
/// # Errors
/// [`Error::CgroupGone`] if the cgroup is not at its path any more.
pub(crate) fn ids(
    hierarchy: &Hierarchy,
    cgroup: CgroupRef<'_>,
    file: &str,
    bounds: Bounds,
) -> Result<Ids, Error> {
    let CgroupRef { id, path } = cgroup;
    let gone = || Error::CgroupGone(escaped(path));
    let unreadable = |e: Errno| match e {
        Errno::NOENT | Errno::NODEV => gone(),
        e => Error::unreadable(escaped(path), e),
    };
    let location = hierarchy.locate(path);
    let mut walk = Walk::new(file, bounds);
    walk.add_ids(location.base, &location.path.join(file)).map_err(unreadable)?;
    // If the path leads there now, it did so before: no other cgroup ever gets that id.
    let status = location.status().map_err(unreadable)?;
    if status.st_ino != id.get() {
        return Err(gone());
    }
    if has_children(&status) {
        let top = openat(location.base, location.path, PATH_DIR, Mode::empty()).map_err(unreadable)?;
        if fstat(&top).map_err(unreadable)?.st_ino != id.get() {
            return Err(gone());
        }
        walk.below(&top).map_err(unreadable)?;
    }
    Ok(walk.found)
}

/// A walk through the cgroups below one, breadth first.
struct Walk<'f> {
    file: &'f str,
    bounds: Bounds,
    /// How many cgroups were found.
    seen: usize,
    /// The paths, from the top, of the cgroups that are still to be read.
    waiting: VecDeque<Vec<u8>>,
    found: Ids,
}

impl<'f> Walk<'f> {
    fn new(file: &'f str, bounds: Bounds) -> Self {
        let found = Ids { ids: Vec::new(), are_all: true };
        Self { file, bounds, seen: 1, waiting: VecDeque::new(), found }
    }

    /// Reads all cgroups below `top`.
    fn below(&mut self, top: &OwnedFd) -> rustix::io::Result<()> {
        self.add_children(top, b"")?;
        while let Some(path) = self.waiting.pop_front() {
            if self.found.ids.len() >= self.bounds.ids {
                self.found.are_all = false;
                break;
            }
            match openat(top, OsStr::from_bytes(&path), PATH_DIR, Mode::empty()) {
                // It was removed meanwhile.
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(Errno::NAMETOOLONG) => self.found.are_all = false,
                opened => {
                    let directory = opened?;
                    self.add_ids(directory.as_fd(), Path::new(self.file))?;
                    if has_children(&fstat(&directory)?) {
                        self.add_children(&directory, &path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_children(&mut self, directory: &OwnedFd, path: &[u8]) -> rustix::io::Result<()> {
        let depth = if path.is_empty() { 0 } else { path.split(|&byte| byte == b'/').count() };
        if depth >= MAX_DEPTH {
            self.found.are_all = false;
            return Ok(());
        }
        let children = match child_directories(directory) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            children => children?,
        };
        for child in children {
            let child = child?;
            if self.seen >= self.bounds.cgroups {
                self.found.are_all = false;
                break;
            }
            self.seen += 1;
            let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
            self.waiting.push_back([path, separator, child.file_name().to_bytes()].concat());
        }
        Ok(())
    }

    fn add_ids(&mut self, directory: BorrowedFd<'_>, file: &Path) -> rustix::io::Result<()> {
        let file = match openat(directory, file, READ, Mode::empty()) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            file => file?,
        };
        // A threaded cgroup of v2 can't list processes, and one that was removed meanwhile lists nothing.
        let Ok(text) = read_list(&file) else { return Ok(()) };
        let listed = text.split(|&b| b == b'\n').filter_map(|line| decimal(line).ok()?.try_into().ok());
        // 0 stands for a process of another pid namespace.
        self.found.ids.extend(listed.filter(|&id: &u32| id != 0));
        Ok(())
    }
}

/// Whether a cgroup has children, by the links of its directory: two, and one for each child (`kernfs_refresh_inode()`,
/// fs/kernfs/inode.c). Most containers have none, which saves a listing.
fn has_children(directory: &Stat) -> bool {
    directory.st_nlink != 2
}

/// Reads a list to its end.
///
/// It saves the two system calls by which the standard library asks for the length first, which kernfs does not know, and mostly
/// the one that finds the end: the kernel hands out as many lines at once as fit into a page and into the buffer
/// (`seq_read_iter()`, fs/seq_file.c).
fn read_list(file: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(4096);
    loop {
        let room = text.capacity() - text.len();
        let length = rustix::io::read(file, spare_capacity(&mut text))?;
        if length < room.min(4096) / 2 {
            return Ok(text);
        }
        if text.capacity() - text.len() < 1024 {
            text.reserve(text.capacity());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ALL: Bounds = Bounds { cgroups: 1000, ids: 1000 };

    fn listed(top: &Path, bounds: Bounds) -> Ids {
        let directory = rustix::fs::open(top, PATH_DIR, Mode::empty()).unwrap();
        let mut walk = Walk::new("tasks", bounds);
        walk.add_ids(directory.as_fd(), Path::new("tasks")).unwrap();
        walk.below(&directory).unwrap();
        walk.found
    }

    #[test]
    fn ids_of_all_levels() {
        let dir = tempfile::tempdir().unwrap();
        let add = |path: &str, ids: &str| {
            fs::create_dir_all(dir.path().join(path)).unwrap();
            fs::write(dir.path().join(path).join("tasks"), ids).unwrap();
        };
        add("", "1\n0\n2\n");
        add("a/b", "4\n5\n");
        add("c", "3\n");
        let found = listed(dir.path(), ALL);
        assert_eq!(found, Ids { ids: vec![1, 2, 3, 4, 5], are_all: true });
        assert_eq!(listed(dir.path(), Bounds { ids: 2, ..ALL }), Ids { ids: vec![1, 2], are_all: false });
        assert!(!listed(dir.path(), Bounds { cgroups: 3, ..ALL }).are_all);
        assert!(listed(dir.path(), Bounds { cgroups: 4, ..ALL }).are_all);
    }

    /// The kernel hands out a page at a time, however much is asked for.
    #[test]
    fn a_long_list_is_read_to_its_end() {
        let hierarchy = crate::kernel::cgroup::mounts::CgroupMounts::detect(Path::new("/"))
            .map(|cgroup_mounts| cgroup_mounts.memory);
        let Ok(hierarchy) = hierarchy else { return };
        let name = match hierarchy.version {
            cgprocfs_core::parse::CgroupVersion::V1 => "tasks",
            cgprocfs_core::parse::CgroupVersion::V2 => "cgroup.threads",
        };
        let threads: Vec<_> = (0..4000).map(|_| std::thread::spawn(std::thread::park)).collect();
        let proc_cgroup = fs::read("/proc/self/cgroup").unwrap();
        let path = hierarchy.path_in(&proc_cgroup, 0).unwrap();
        let location = hierarchy.locate(path);
        let mut walk = Walk::new(name, ALL);
        walk.add_ids(location.base, &location.path.join(name)).unwrap();
        threads.into_iter().for_each(|thread| {
            thread.thread().unpark();
            thread.join().unwrap();
        });
        assert!(walk.found.ids.len() >= 4000, "{}", walk.found.ids.len());
    }

    #[test]
    fn a_nest_without_an_end_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = "x/".repeat(MAX_DEPTH + 10);
        fs::create_dir_all(dir.path().join(&path)).unwrap();
        let mut level = dir.path().to_path_buf();
        for id in 1..=MAX_DEPTH + 10 {
            fs::write(level.join("tasks"), format!("{id}\n")).unwrap();
            level.push("x");
        }
        let found = listed(dir.path(), ALL);
        assert_eq!((found.ids.len(), found.are_all), (MAX_DEPTH + 1, false));
    }
}
