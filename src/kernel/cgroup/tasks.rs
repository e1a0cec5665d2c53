//! The tasks of a container: how many there are, and in which states.

use super::id::CgroupRef;
use super::listed_ids::{Bounds, listed_ids};
use super::mounts::{CgroupMounts, Hierarchy};
use crate::error::Error;
use crate::kernel::procfs::Procfs;
use crate::kernel::read::{READ, read_with};
use cgprocfs_core::load_average::{RunQueue, TaskCounts};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_status::TaskState;
use cgprocfs_core::parse::schedstat::Schedstat;
use rustix::fs::{Mode, openat};
use std::collections::HashMap;

/// The tasks of a container at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskScan {
    /// How many there are, and in which states.
    pub tasks: TaskCounts,
    /// How long they have run and waited, if that was requested.
    pub run_queue: RunQueue,
    /// Whether all cgroups and tasks were read.
    pub are_all: bool,
}

/// How much of a container is read.
#[derive(Debug, Clone, Copy)]
pub struct ScanLimits {
    /// How many cgroups at most.
    pub cgroups: usize,
    /// How many tasks at most; of more tasks a sample stands for all.
    pub tasks: usize,
    /// Whether to read how long tasks have run and waited.
    pub with_run_queue: bool,
    /// The task that asks. It does not count as running, because it runs only to ask, until it waits for the
    /// answer.
    pub asker: Option<Pid>,
}

/// Counts the tasks of a cgroup and of those below it.
pub(crate) fn tasks(
    cgroup_mounts: &CgroupMounts,
    procfs: &Procfs,
    cgroup: CgroupRef<'_>,
    limits: ScanLimits,
) -> Result<TaskScan, Error> {
    let file = match cgroup_mounts.memory.version {
        CgroupVersion::V1 => "tasks",
        CgroupVersion::V2 => "cgroup.threads",
    };
    // All ids come first, for only then is it known how many tasks one of a sample stands for.
    let bounds = Bounds { cgroups: limits.cgroups, ids: usize::MAX };
    let listed = listed_ids(&cgroup_mounts.memory, cgroup, file, bounds)?;
    let freezers = Freezers { hierarchy: cgroup_mounts.freezer.as_ref(), known: HashMap::new() };
    let are_all = listed.are_all && listed.ids.len() <= limits.tasks;
    let (tasks, run_queue) = TaskReader { procfs, freezers, text: Vec::new() }.read(&listed.ids, limits);
    Ok(TaskScan { tasks, run_queue, are_all })
}

/// Reads the states of tasks.
struct TaskReader<'s> {
    procfs: &'s Procfs,
    freezers: Freezers<'s>,
    text: Vec<u8>,
}

impl TaskReader<'_> {
    fn read(&mut self, ids: &[Pid], limits: ScanLimits) -> (TaskCounts, RunQueue) {
        let total = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let (mut tasks, mut run_queue) = (TaskCounts { total, ..TaskCounts::default() }, RunQueue::default());
        // Of too many tasks every `stride`th stands for `stride` of them.
        let stride = ids.len().div_ceil(limits.tasks.max(1)).max(1);
        let weight = u32::try_from(stride).unwrap_or(u32::MAX);
        let mut status = [0; 512];
        for &id in ids.iter().step_by(stride) {
            // Not `stat`: that blocks while the task is in the middle of an exec, which may take as long as a
            // tenant likes (`do_task_stat()`, fs/proc/array.c).
            let file = openat(&self.procfs.dir, format!("{id}/status"), READ, Mode::empty());
            let read = file.and_then(|file| rustix::io::read(file, &mut status));
            match read.ok().and_then(|length| TaskState::parse(&status[..length]).ok()) {
                Some(TaskState::Running) if limits.asker != Some(id) => {
                    tasks.running = tasks.running.saturating_add(weight);
                }
                Some(TaskState::Uninterruptible) if !self.is_frozen(id) => {
                    tasks.uninterruptible = tasks.uninterruptible.saturating_add(weight);
                }
                _ => {}
            }
            if limits.with_run_queue && self.procfs.read_of(id, "schedstat", &mut self.text).is_ok() {
                let Schedstat { ran, waited } = Schedstat::parse(&self.text).unwrap_or_default();
                run_queue.ran = run_queue.ran + ran.times(weight.into());
                run_queue.waited = run_queue.waited + waited.times(weight.into());
            }
        }
        (tasks, run_queue)
    }

    /// Whether the freezer of cgroup v1 has stopped a task. The kernel does not count such a task, but
    /// reports it as uninterruptible all the same (`__task_state_index()`, include/linux/sched.h). A task
    /// that cgroup v2 has frozen is reported as sleeping.
    fn is_frozen(&mut self, id: Pid) -> bool {
        let Some(hierarchy) = self.freezers.hierarchy else { return false };
        let Self { freezers, procfs, text } = self;
        let cgroup = procfs.read_of(id, "cgroup", text).and_then(|()| hierarchy.path_in(text, id));
        cgroup.is_ok_and(|cgroup| freezers.is_frozen(cgroup))
    }
}

/// Which cgroups of the freezer are frozen, as far as that was read.
struct Freezers<'l> {
    hierarchy: Option<&'l Hierarchy>,
    known: HashMap<Vec<u8>, bool>,
}

impl Freezers<'_> {
    fn is_frozen(&mut self, cgroup: &[u8]) -> bool {
        if let Some(known) = self.known.get(cgroup) {
            return *known;
        }
        let is_frozen = self.hierarchy.and_then(|hierarchy| {
            // The state is the same if an ancestor is frozen. A cgroup that is freezing has stopped all tasks
            // except those that can't be stopped yet. The root has no state.
            let is_frozen = |state: &[u8]| matches!(state.trim_ascii_end(), b"FROZEN" | b"FREEZING");
            read_with(hierarchy.locate(cgroup).open("freezer.state").ok()?, is_frozen).ok()
        });
        let is_frozen = is_frozen.unwrap_or(false);
        self.known.insert(cgroup.to_vec(), is_frozen);
        is_frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::time::Nanos;
    use std::fs;
    use std::path::Path;

    fn add_task(root: &Path, id: Pid, state: &str) -> std::path::PathBuf {
        let task = root.join("proc").join(id.to_string());
        fs::create_dir_all(&task).unwrap();
        fs::write(task.join("status"), format!("Name:\ttask\nState:\t{state}\n")).unwrap();
        task
    }

    fn read(root: &Path, ids: &[Pid], most: usize, hierarchy: Option<&Hierarchy>) -> (TaskCounts, RunQueue) {
        let procfs = Procfs::open(root).unwrap();
        let freezers = Freezers { hierarchy, known: HashMap::new() };
        let limits = ScanLimits { cgroups: 0, tasks: most, with_run_queue: true, asker: Some(Pid::new(301)) };
        TaskReader { procfs: &procfs, freezers, text: Vec::new() }.read(ids, limits)
    }

    #[test]
    fn of_many_tasks_some_stand_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<Pid> = (1..=400).map(Pid::new).collect();
        for &id in &ids {
            // The last hundred run.
            let task =
                add_task(dir.path(), id, if id > Pid::new(300) { "R (running)" } else { "S (sleeping)" });
            fs::write(task.join("schedstat"), "20 30 1\n").unwrap();
        }
        for most in [1000, 100, 90] {
            let (tasks, run_queue) = read(dir.path(), &ids, most, None);
            // The task that asks is in the sample, or is not one that stands for others.
            assert!(matches!(tasks.running, 95..=100) && tasks.total == 400, "{most}: {tasks:?}");
            assert!(most != 1000 || tasks.running == 99);
            assert_eq!([run_queue.ran, run_queue.waited].map(Nanos::get), [8000, 12_000]);
        }
    }

    #[test]
    fn who_is_frozen_does_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let freezer = dir.path().join("freezer");
        for (cgroup, state) in [("a", "FROZEN\n"), ("b", "THAWED\n"), ("c", "FREEZING\n")] {
            fs::create_dir_all(freezer.join(cgroup)).unwrap();
            fs::write(freezer.join(cgroup).join("freezer.state"), state).unwrap();
        }
        let ids: Vec<Pid> = (1..=6).map(Pid::new).collect();
        for (id, cgroup) in ids.iter().zip(["/a", "/b", "/c", "/", "/a", "/gone"]) {
            let task = add_task(dir.path(), *id, "D (disk sleep)");
            fs::write(task.join("cgroup"), format!("7:freezer:{cgroup}\n4:memory:/m\n")).unwrap();
        }
        let mut hierarchy = Hierarchy::for_test("freezer");
        hierarchy.dir = rustix::fs::open(&freezer, crate::kernel::read::PATH_DIR, Mode::empty()).unwrap();
        assert_eq!(read(dir.path(), &ids, 10, Some(&hierarchy)).0.uninterruptible, 3);
        assert_eq!(read(dir.path(), &ids, 10, None).0.uninterruptible, 6);
    }
}
