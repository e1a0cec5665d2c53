//! Kills for want of memory, where a cgroup counts its own alone: on cgroup v1 always (`memcg_memory_event()`,
//! include/linux/memcontrol.h), on v2 with the mount option `memory_localevents`.

use crate::kernel::procfs::{PATH_DIR, READ, read_whole};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::flat_keyed::count_of;
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// No serving thread looks at more cgroups than so many,
const FEW: u32 = 64;
/// and nobody at more than these, or deeper: what is beyond is left out.
const MANY: u32 = 4096;
const DEPTH: usize = 16;

/// The kills in all cgroups below one; `None` where it takes longer than it may.
pub(crate) fn kills_below(
    version: CgroupVersion,
    directory: &OwnedFd,
    may_take_long: bool,
) -> rustix::io::Result<Option<u64>> {
    let file = match version {
        CgroupVersion::V1 => "memory.oom_control",
        CgroupVersion::V2 => "memory.events",
    };
    let left = if may_take_long { MANY } else { FEW };
    let mut walk = Walk { file, left, sum: 0, buffer: Vec::new() };
    walk.below(directory, 0)?;
    Ok((walk.left > 0 || may_take_long).then_some(walk.sum))
}

struct Walk {
    file: &'static str,
    left: u32,
    sum: u64,
    buffer: Vec<u8>,
}

impl Walk {
    fn below(&mut self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
        // Most containers have none below, and kernfs counts them.
        if depth == DEPTH || fstat(directory)?.st_nlink == 2 {
            return Ok(());
        }
        let list = READ | OFlags::DIRECTORY;
        let listed = match openat(directory, ".", list, Mode::empty()) {
            // It goes while we look.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            listed => listed?,
        };
        for entry in Dir::new(listed)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
                continue;
            }
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let Ok(child) = openat(directory, name, PATH_DIR, Mode::empty()) else { continue };
            if let Ok(file) = openat(&child, self.file, READ, Mode::empty())
                && read_whole(file, &mut self.buffer).is_ok()
            {
                self.sum = self.sum.saturating_add(count_of(&self.buffer, "oom_kill"));
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
        (0..FEW).for_each(|index| fs::create_dir(dir.path().join(format!("e{index}"))).unwrap());
        assert_eq!((sum(false), sum(true)), (None, Some(3)));
    }
}
