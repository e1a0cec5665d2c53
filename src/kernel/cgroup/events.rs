//! OOM kills in the cgroups below one, where a cgroup counts its own alone: on cgroup v1 always
//! (`memcg_memory_event()`, include/linux/memcontrol.h), on v2 with the mount option `memory_localevents`.

use super::subtree::{has_children, visit_below};
use crate::kernel::read::{READ, read_with};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::flat_keyed::count_of;
use rustix::fs::{Mode, fstat, openat};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

/// How many cgroups a serving thread looks at, at most.
const MAX_CGROUPS_WHEN_SERVING: usize = 64;
/// How many cgroups any thread looks at, at most; the others are left out.
const MAX_CGROUPS: usize = 4096;

/// The number of OOM kills in all cgroups below `directory`; `None` if there are too many cgroups, unless it
/// `may_take_long`.
pub(crate) fn kills_below(
    version: CgroupVersion,
    directory: &OwnedFd,
    may_take_long: bool,
) -> rustix::io::Result<Option<u64>> {
    if !has_children(&fstat(directory)?) {
        return Ok(Some(0));
    }
    let file = match version {
        CgroupVersion::V1 => "memory.oom_control",
        CgroupVersion::V2 => "memory.events",
    };
    let max_cgroups = if may_take_long { MAX_CGROUPS } else { MAX_CGROUPS_WHEN_SERVING };
    let mut sum: u64 = 0;
    let are_all = visit_below(directory, max_cgroups, |cgroup| {
        // It may have been removed meanwhile.
        if let Ok(file) = openat(cgroup, file, READ, Mode::empty()) {
            let kills = read_with(file, |text| count_of(text, "oom_kill"));
            sum = sum.saturating_add(kills.unwrap_or(0));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((are_all || may_take_long).then_some(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read::PATH_DIR;
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
