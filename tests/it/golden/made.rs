//! Trees that are made of a fixture where it would take hundreds of files to show what is right.

use super::Failed;
use super::altered::copy_of;
use cgprocfs::kernel::{CgroupId, CgroupRef, ScanLimits, Source};
use cgprocfs_core::view::find;
use std::fs;
use std::os::unix::fs::MetadataExt;

const CONTAINER: &str = "sys/fs/cgroup/memory/pod/ctr";
const READER: u32 = 8;

/// Each of seven hundred cgroups has a task: all are counted, whichever order they are listed in.
pub fn tasks_of_seven_hundred_cgroups() -> Result<(), Failed> {
    const COUNT: u32 = 700;
    let tree = copy_of("v1-processors")?;
    let root = tree.path().join("root");
    for task in (READER + 1..).take(COUNT as usize) {
        let cgroup = root.join(CONTAINER).join(task.to_string());
        fs::create_dir(&cgroup)?;
        fs::write(cgroup.join("tasks"), format!("{task}\n"))?;
        let process = root.join("proc").join(task.to_string());
        fs::create_dir(&process)?;
        fs::write(process.join("status"), "Name:\tsleep\nState:\tS (sleeping)\n")?;
    }
    let text = super::text(tree.path(), find("proc/loadavg").unwrap())?;
    assert!(text.starts_with(&format!("0.00 0.00 0.00 1/{} ", COUNT + 1)), "{text}");
    // A thread that others wait for reads no more than it may, and knows that these are not all.
    let id = CgroupId::new(fs::metadata(root.join(CONTAINER))?.ino());
    let cgroup = CgroupRef { id, path: b"/pod/ctr" };
    let source = Source::open(&root, None)?;
    for (tasks, are_all) in [(200, false), (1000, true)] {
        let depth = ScanLimits { cgroups: 1000, tasks, with_run_queue: false, asker: None };
        assert_eq!(source.tasks(cgroup, depth)?.are_all, are_all, "{tasks}");
    }
    Ok(())
}
