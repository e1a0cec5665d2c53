//! A walk through the cgroups below one, which has bounds: a tenant may make any number of them, nested as
//! deeply as it likes.

use super::child_directories::child_directories;
use crate::kernel::read::PATH_DIR;
use rustix::fs::{Mode, Stat, fstat, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// How deep a walk goes: whoever nests more deeply wants it to be slow.
const MAX_DEPTH: usize = 64;

/// Visits the cgroups below `top`, at most `max_cgroups`, those of a higher level before those of a lower
/// one, until `visit` breaks off. Returns whether all were visited.
///
/// # Errors
/// What `visit` returns, and why a cgroup can't be opened or listed, unless it was removed meanwhile.
pub(super) fn visit_below(
    top: &OwnedFd,
    max_cgroups: usize,
    mut visit: impl FnMut(&OwnedFd) -> rustix::io::Result<ControlFlow<()>>,
) -> rustix::io::Result<bool> {
    let mut walk = Walk { left: max_cgroups, waiting: VecDeque::new(), is_complete: true };
    walk.add_children(top, b"")?;
    while let Some(path) = walk.waiting.pop_front() {
        let directory = match openat(top, OsStr::from_bytes(&path), PATH_DIR, Mode::empty()) {
            Err(Errno::NOENT | Errno::NODEV) => continue,
            Err(Errno::NAMETOOLONG) => {
                walk.is_complete = false;
                continue;
            }
            opened => opened?,
        };
        if visit(&directory)?.is_break() {
            return Ok(false);
        }
        if has_children(&fstat(&directory)?) {
            walk.add_children(&directory, &path)?;
        }
    }
    Ok(walk.is_complete)
}

struct Walk {
    /// How many more cgroups may be visited.
    left: usize,
    /// The paths, from the top, of the cgroups that are still to be visited.
    waiting: VecDeque<Vec<u8>>,
    is_complete: bool,
}

impl Walk {
    fn add_children(&mut self, directory: &OwnedFd, path: &[u8]) -> rustix::io::Result<()> {
        let depth = if path.is_empty() { 0 } else { path.split(|&byte| byte == b'/').count() };
        if depth >= MAX_DEPTH {
            self.is_complete = false;
            return Ok(());
        }
        let children = match child_directories(directory) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            children => children?,
        };
        for child in children {
            let child = child?;
            if self.left == 0 {
                self.is_complete = false;
                break;
            }
            self.left -= 1;
            let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
            self.waiting.push_back([path, separator, child.file_name().to_bytes()].concat());
        }
        Ok(())
    }
}

/// Whether a cgroup has children, by the links of its directory: two, and one for each child
/// (`kernfs_refresh_inode()`, fs/kernfs/inode.c). Most containers have none, which saves a listing.
pub(super) fn has_children(directory: &Stat) -> bool {
    directory.st_nlink != 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn visited(top: &Path, max_cgroups: usize, stop_at: usize) -> (usize, bool) {
        let (top, mut count) = (rustix::fs::open(top, PATH_DIR, Mode::empty()).unwrap(), 0);
        let visit = |_: &OwnedFd| {
            count += 1;
            Ok(if count == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let is_complete = visit_below(&top, max_cgroups, visit).unwrap();
        (count, is_complete)
    }

    #[test]
    fn all_levels_within_the_bounds() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(visited(dir.path(), 0, 0), (0, true));
        for path in ["a/b/d", "c"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(visited(dir.path(), 4, 0), (4, true));
        assert_eq!(visited(dir.path(), 3, 0), (3, false));
        assert_eq!(visited(dir.path(), 4, 2), (2, false));
    }

    #[test]
    fn a_nest_without_an_end_has_one() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x", &"y".repeat(255)] {
            let path = format!("{name}/").repeat(MAX_DEPTH + 1);
            // Longer than a path may be, so step by step.
            let mut level = rustix::fs::open(dir.path(), PATH_DIR, Mode::empty()).unwrap();
            for name in path.split_terminator('/') {
                rustix::fs::mkdirat(&level, name, Mode::RWXU).unwrap();
                level = openat(&level, name, PATH_DIR, Mode::empty()).unwrap();
            }
        }
        let (count, is_complete) = visited(dir.path(), 1000, 0);
        assert!((MAX_DEPTH + 1..2 * MAX_DEPTH).contains(&count), "{count}");
        assert!(!is_complete);
    }
}
