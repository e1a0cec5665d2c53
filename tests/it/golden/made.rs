//! Trees that are made of a fixture where it would take hundreds of files to show what is right.

use super::Failed;
use super::altered::copy_of;
use cgprocfs_core::view::find;
use std::fs;

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
    Ok(())
}
