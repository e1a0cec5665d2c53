//! OOM kills in the cgroups below one, where a cgroup counts its own alone: on cgroup v1 always (`memcg_memory_event()`,
//! include/linux/memcontrol.h), on v2 with the mount option `memory_localevents`.

use super::child_directories::child_directories;
use crate::kernel::read::{PATH_DIR, READ, read_with};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::flat_keyed::count_of;
use rustix::fs::{Mode, fstat, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// How many cgroups a serving thread looks at, at most.
const MAX_CGROUPS_WHEN_SERVING: u32 = 64;
/// How many cgroups any thread looks at, at most; the others are left out.
const MAX_CGROUPS: u32 = 4096;
/// How deep it looks; what is deeper is left out.
const MAX_DEPTH: usize = 16;

/// The number of OOM kills in all cgroups below `directory`; `None` if there are too many cgroups, unless it `may_take_long`.
pub(crate) fn kills_below(
    version: CgroupVersion,
    directory: &OwnedFd,
    may_take_long: bool,
) -> rustix::io::Result<Option<u64>> {
    let file = match version {
        CgroupVersion::V1 => "memory.oom_control",
        CgroupVersion::V2 => "memory.events",
    };
    let left = if may_take_long { MAX_CGROUPS } else { MAX_CGROUPS_WHEN_SERVING };
    let mut walk = Walk { file, left, sum: 0 };
    walk.below(directory, 0)?;
    Ok((walk.left > 0 || may_take_long).then_some(walk.sum))
}

/// A walk through the cgroups below one.
struct Walk {
    file: &'static str,
    /// How many more cgroups it may look at.
    left: u32,
    sum: u64,
}

impl Walk {
    fn below(&mut self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
        // Most containers have no cgroup below, and kernfs counts them as links.
        if depth == MAX_DEPTH || fstat(directory)?.st_nlink == 2 {
            return Ok(());
        }
        let children = match child_directories(directory) {
            // It was removed meanwhile.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            children => children?,
        };
        for child in children {
            let child = child?;
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let Ok(child) = openat(directory, child.file_name(), PATH_DIR, Mode::empty()) else { continue };
            if let Ok(file) = openat(&child, self.file, READ, Mode::empty())
                && let Ok(kills) = read_with(file, |text| count_of(text, "oom_kill"))
            {
                self.sum = self.sum.saturating_add(kills);
            }
            self.below(&child, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn of_all_cgroups_below() {
        let dir = tempfile::tempdir().unwrap();
        for (cgroup, text) in [
            (".", "oom_kill 100\n"),
            ("a", "low 0\noom_kill 1\n"),
            ("a/b", "oom_kill 2\noom_group_kill 9\n"),
            ("c", "oom_kill -4\n"),
            ("d", ""),
        ] {
            fs::create_dir_all(dir.path().join(cgroup)).unwrap();
            fs::write(dir.path().join(cgroup).join("memory.events"), text).unwrap();
        }
        let directory = rustix::fs::open(dir.path(), PATH_DIR, Mode::empty()).unwrap();
        let sum = |may_take_long| kills_below(CgroupVersion::V2, &directory, may_take_long).unwrap();
        assert_eq!((sum(false), sum(true)), (Some(3), Some(3)));
        assert_eq!(kills_below(CgroupVersion::V1, &directory, false), Ok(Some(0)));
        (0..MAX_CGROUPS_WHEN_SERVING)
            .for_each(|index| fs::create_dir(dir.path().join(format!("e{index}"))).unwrap());
        assert_eq!((sum(false), sum(true)), (None, Some(3)));
    }
}
