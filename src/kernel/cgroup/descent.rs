//! The way down to a cgroup. A tenant may nest thousands: whatever is read of every level is opened from a directory
//! not far above it, for by its whole path the work would grow with the square of the depth.

use super::mounts::Hierarchy;
use super::paths::Place;
use super::paths::relative;
use crate::kernel::procfs::PATH_DIR;
use rustix::fs::{Mode, openat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many levels are opened from one directory. Hosts nest less deeply, and then it is the hierarchy's own.
const STRIDE: usize = 16;

/// A walk from the top of a hierarchy to one of its cgroups.
pub(crate) struct Descent<'h> {
    hierarchy: &'h Hierarchy,
    /// A level that is open, and the length of its path.
    base: Option<(OwnedFd, usize)>,
}

/// `/`, `/a`, `/a/b`, `/a/b/c`.
pub(crate) fn downward(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let below = ends.chain((path.len() > 1).then_some(path.len())).map(|end| &path[..end]);
    path.get(..1).into_iter().chain(below)
}

impl<'h> Descent<'h> {
    pub(crate) fn new(hierarchy: &'h Hierarchy) -> Self {
        Self { hierarchy, base: None }
    }

    /// The way to `level`, which is one on the way down from the last that was asked for.
    ///
    /// # Errors
    /// ENOENT where a level above is gone.
    pub(crate) fn to<'d>(&'d mut self, level: &'d [u8]) -> rustix::io::Result<Place<'d>> {
        let length = self.base.as_ref().map_or(0, |(_, length)| *length);
        if level[length..].iter().filter(|&&byte| byte == b'/').count() > STRIDE {
            let opened = {
                let (directory, path) = self.below_base(level);
                openat(directory, path, PATH_DIR, Mode::empty())?
            };
            self.base = Some((opened, level.len()));
        }
        Ok(self.below_base(level))
    }

    fn below_base<'d>(&'d self, level: &'d [u8]) -> Place<'d> {
        match &self.base {
            None => self.hierarchy.place(level),
            Some((directory, length)) if *length == level.len() => {
                (directory.as_fd(), Path::new(OsStr::from_bytes(b".")))
            }
            Some((directory, length)) => (directory.as_fd(), relative(&level[*length..])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn levels_go_down_from_the_root() {
        let down = |path: &'static str| {
            downward(path.as_bytes()).map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(down("/a/b c/d"), ["/", "/a", "/a/b c", "/a/b c/d"]);
        assert_eq!(down("/a"), ["/", "/a"]);
        assert_eq!(down("/"), ["/"]);
    }

    #[test]
    fn every_level_is_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path: String = (0..100).map(|level| format!("/{level}")).collect();
        fs::create_dir_all(directory.path().join(&path[1..])).unwrap();
        let mut hierarchy = Hierarchy::for_test("memory");
        hierarchy.dir = rustix::fs::open(directory.path(), PATH_DIR, Mode::empty()).unwrap();
        let mut descent = Descent::new(&hierarchy);
        for level in downward(path.as_bytes()) {
            let (from, rest) = descent.to(level).unwrap();
            assert!(rest.components().count() <= STRIDE);
            let reached = rustix::fs::statat(from, rest, rustix::fs::AtFlags::empty()).unwrap();
            let level = relative(level);
            let meant = rustix::fs::stat(directory.path().join(level)).unwrap();
            assert_eq!(reached.st_ino, meant.st_ino, "{}", level.display());
        }
    }
}
