//! The processes or threads in a cgroup and in all cgroups below it.

use super::id::CgroupRef;
use super::mounts::Hierarchy;
use super::subtree::{has_children, visit_below};
use crate::error::{Error, escaped};
use crate::kernel::read::{PATH_DIR, READ};
use cgprocfs_core::parse::pid::Pid;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, fstat, openat};
use rustix::io::Errno;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The ids that a file lists in each of the cgroups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListedIds {
    /// The ids, those of a higher cgroup before those of a lower one.
    pub(crate) ids: Vec<Pid>,
    /// Whether these are all.
    pub(crate) are_all: bool,
}

/// How much of a subtree is read at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// In how many cgroups the file is read.
    pub(crate) cgroups: usize,
    /// After how many ids nothing more is read.
    pub(crate) ids: usize,
}

/// Lists the ids in `file` of a cgroup and of those below it.
///
/// # Errors
/// [`Error::CgroupGone`] if the cgroup is not at its path any more.
pub(crate) fn listed_ids(
    hierarchy: &Hierarchy,
    cgroup: CgroupRef<'_>,
    file: &str,
    bounds: Bounds,
) -> Result<ListedIds, Error> {
    let CgroupRef { id, path } = cgroup;
    let gone = || Error::CgroupGone(escaped(path));
    let unreadable = |e: Errno| match e {
        Errno::NOENT | Errno::NODEV => gone(),
        e => Error::unreadable(escaped(path), e),
    };
    let location = hierarchy.locate(path);
    let mut listed = ListedIds { ids: Vec::new(), are_all: true };
    let path_of_file = location.path.join(file);
    add_ids(&mut listed, location.base, &path_of_file, bounds.ids).map_err(unreadable)?;
    // If the path leads there now, it did so before: no other cgroup ever gets that id.
    let status = location.status().map_err(unreadable)?;
    if status.st_ino != id.get() {
        return Err(gone());
    }
    if listed.are_all && has_children(&status) {
        let top = openat(location.base, location.path, PATH_DIR, Mode::empty()).map_err(unreadable)?;
        if fstat(&top).map_err(unreadable)?.st_ino != id.get() {
            return Err(gone());
        }
        add_ids_below(&mut listed, &top, file, bounds).map_err(unreadable)?;
    }
    Ok(listed)
}

fn add_ids_below(
    listed: &mut ListedIds,
    top: &OwnedFd,
    file: &str,
    bounds: Bounds,
) -> rustix::io::Result<()> {
    let are_visited = visit_below(top, bounds.cgroups.saturating_sub(1), |directory| {
        if listed.ids.len() >= bounds.ids {
            return Ok(ControlFlow::Break(()));
        }
        add_ids(listed, directory, Path::new(file), bounds.ids)?;
        Ok(if listed.are_all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    listed.are_all &= are_visited;
    Ok(())
}

/// Adds the ids in a file, as long as there are no more than `max` in all.
fn add_ids(listed: &mut ListedIds, directory: impl AsFd, file: &Path, max: usize) -> rustix::io::Result<()> {
    let file = match openat(directory, file, READ, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        file => file?,
    };
    // A threaded cgroup of v2 can't list processes, and one that was removed meanwhile lists nothing.
    let room = max.saturating_sub(listed.ids.len());
    let Ok((text, is_whole)) = read_list(&file, room) else { return Ok(()) };
    let ids = text.split(|&b| b == b'\n').filter_map(|line| Pid::parse(line).ok());
    listed.ids.extend(ids.filter(|&id| id != Pid::UNSEEN));
    listed.are_all &= is_whole && listed.ids.len() <= max;
    listed.ids.truncate(max);
    Ok(())
}

/// Reads a list to its end, or until it has more than `max` lines: a tenant may make hundreds of thousands.
/// Returns the lines, and whether these are all.
///
/// It saves the two system calls by which the standard library asks for the length first, which kernfs does
/// not know, and mostly the one that finds the end: the kernel hands out as many lines at once as fit into a
/// page and into the buffer (`seq_read_iter()`, fs/seq_file.c).
fn read_list(file: &OwnedFd, max: usize) -> rustix::io::Result<(Vec<u8>, bool)> {
    let (mut text, mut lines) = (Vec::with_capacity(4096), 0);
    loop {
        let room = text.capacity() - text.len();
        let length = rustix::io::read(file, spare_capacity(&mut text))?;
        lines += text[text.len() - length..].iter().filter(|&&byte| byte == b'\n').count();
        if length < room.min(4096) / 2 {
            return Ok((text, true));
        }
        if lines > max {
            // The last one may have been cut short.
            text.truncate(text.iter().rposition(|&byte| byte == b'\n').unwrap_or(0));
            return Ok((text, false));
        }
        if text.capacity() - text.len() < 1024 {
            text.reserve(text.capacity());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::cgroup::mounts::CgroupMounts;
    use cgprocfs_core::parse::CgroupVersion;
    use std::fs;

    #[test]
    fn ids_of_all_levels() {
        const ALL: Bounds = Bounds { cgroups: 1000, ids: 1000 };
        let dir = tempfile::tempdir().unwrap();
        let add = |path: &str, ids: &str| {
            fs::create_dir_all(dir.path().join(path)).unwrap();
            fs::write(dir.path().join(path).join("tasks"), ids).unwrap();
        };
        add("", "1\n0\n2\n");
        add("a/b", "4\n5\n");
        add("c", "3\n");
        let top = rustix::fs::open(dir.path(), PATH_DIR, Mode::empty()).unwrap();
        let listed = |bounds: Bounds| {
            let mut listed = ListedIds { ids: Vec::new(), are_all: true };
            add_ids(&mut listed, &top, Path::new("tasks"), bounds.ids).unwrap();
            add_ids_below(&mut listed, &top, "tasks", bounds).unwrap();
            listed
        };
        assert_eq!(listed(ALL), ListedIds { ids: [1, 2, 3, 4, 5].map(Pid::new).to_vec(), are_all: true });
        assert_eq!(
            listed(Bounds { ids: 2, ..ALL }),
            ListedIds { ids: [1, 2].map(Pid::new).to_vec(), are_all: false }
        );
        assert!(!listed(Bounds { cgroups: 3, ..ALL }).are_all);
        assert!(listed(Bounds { cgroups: 4, ..ALL }).are_all);
    }

    /// The kernel hands out a page at a time, however much is asked for.
    #[test]
    fn a_long_list_is_read_to_its_end() {
        let Ok(CgroupMounts { memory: hierarchy, .. }) = CgroupMounts::detect(Path::new("/")) else { return };
        let name = match hierarchy.version {
            CgroupVersion::V1 => "tasks",
            CgroupVersion::V2 => "cgroup.threads",
        };
        let threads: Vec<_> = (0..4000).map(|_| std::thread::spawn(std::thread::park)).collect();
        let proc_cgroup = fs::read("/proc/self/cgroup").unwrap();
        let path = hierarchy.path_in(&proc_cgroup, Pid::new(0)).unwrap();
        let location = hierarchy.locate(path);
        let list = |max| {
            let mut listed = ListedIds { ids: Vec::new(), are_all: true };
            add_ids(&mut listed, location.base, &location.path.join(name), max).unwrap();
            listed
        };
        let (all, some) = (list(usize::MAX), list(2000));
        threads.into_iter().for_each(|thread| {
            thread.thread().unpark();
            thread.join().unwrap();
        });
        assert!(all.ids.len() >= 4000 && all.are_all, "{}", all.ids.len());
        assert!(some.ids.len() == 2000 && !some.are_all, "{}", some.ids.len());
    }
}
