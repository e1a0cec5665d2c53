//! The tasks of a container: how many there are, and in which state.

use super::mounts::{CgroupMounts, Hierarchy};
use super::subtree::{Bounds, ids};
use crate::error::Error;
use crate::kernel::procfs::{Procfs, READ, read_whole};
use cgprocfs_core::load_average::{RunQueue, TaskCounts};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::{proc_status, schedstat};
use rustix::fs::{Mode, openat};
use std::collections::HashMap;

/// A look at the tasks of a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskLook {
    /// What was seen.
    pub tasks: TaskCounts,
    /// How long they have run and waited, where that was asked for.
    pub run_queue: RunQueue,
    /// Whether all cgroups were looked at.
    pub are_all: bool,
}

/// How much of a container is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// So many cgroups at most.
    pub cgroups: usize,
    /// Of more tasks than these some stand for all.
    pub tasks: usize,
    /// Whether it is asked how long they have run and waited.
    pub with_run_queue: bool,
    /// A task that does not count as running: whoever asks, and does so only to ask, until it has come to wait for the answer.
    pub asker: Option<u32>,
}

/// Looks at the tasks of the cgroup of that number at `path`, and of those below it; nobody else's.
pub(crate) fn tasks(
    cgroup_mounts: &CgroupMounts,
    procfs: &Procfs,
    cgroup: (u64, &[u8]),
    depth: Depth,
) -> Result<TaskLook, Error> {
    let file = match cgroup_mounts.memory.version {
        CgroupVersion::V1 => "tasks",
        CgroupVersion::V2 => "cgroup.threads",
    };
    // First all there are, for only then is it known for how many one stands.
    let bounds = Bounds { cgroups: depth.cgroups, ids: usize::MAX };
    let listed = ids(&cgroup_mounts.memory, cgroup, file, bounds)?;
    let freezers = Freezers { hierarchy: cgroup_mounts.freezer.as_ref(), known: HashMap::new() };
    let (tasks, run_queue) = Looker { procfs, freezers, text: Vec::new() }.look(&listed.ids, depth);
    Ok(TaskLook { tasks, run_queue, are_all: listed.are_all })
}

struct Looker<'s> {
    procfs: &'s Procfs,
    freezers: Freezers<'s>,
    text: Vec<u8>,
}

impl Looker<'_> {
    fn look(&mut self, ids: &[u32], depth: Depth) -> (TaskCounts, RunQueue) {
        let total = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let (mut tasks, mut run_queue) = (TaskCounts { total, ..TaskCounts::default() }, RunQueue::default());
        // Of too many every so-manieth stands for as many.
        let stride = ids.len().div_ceil(depth.tasks.max(1)).max(1);
        let weight = u32::try_from(stride).unwrap_or(u32::MAX);
        let mut status = [0; 512];
        for &id in ids.iter().step_by(stride) {
            // Not `stat`: that waits for who is in the middle of an exec, which may take as long as a tenant likes
            // (`do_task_stat()`, fs/proc/array.c).
            let file = openat(&self.procfs.dir, format!("{id}/status"), READ, Mode::empty());
            let read = file.and_then(|file| rustix::io::read(file, &mut status));
            match read.ok().and_then(|length| proc_status::state(&status[..length])) {
                Some(b'R') if depth.asker != Some(id) => tasks.running = tasks.running.saturating_add(weight),
                Some(b'D') if !self.is_frozen(id) => {
                    tasks.uninterruptible = tasks.uninterruptible.saturating_add(weight);
                }
                _ => {}
            }
            if depth.with_run_queue && self.procfs.read_of(id, "schedstat", &mut self.text).is_ok() {
                let (ran, waited) = schedstat::ran_and_waited(&self.text).unwrap_or_default();
                run_queue.ran = run_queue.ran.saturating_add(ran.saturating_mul(u64::from(weight)));
                run_queue.waited = run_queue.waited.saturating_add(waited.saturating_mul(u64::from(weight)));
            }
        }
        (tasks, run_queue)
    }

    /// Whether the freezer of cgroup v1 has stopped a task: the kernel does not count it then, and says that it is
    /// uninterruptible all the same (`__task_state_index()`, include/linux/sched.h). One that that of v2 has stopped is
    /// said to sleep.
    fn is_frozen(&mut self, id: u32) -> bool {
        let Some(hierarchy) = self.freezers.hierarchy else { return false };
        let Self { freezers, procfs, text } = self;
        let cgroup = procfs.read_of(id, "cgroup", text).and_then(|()| hierarchy.path_in(text, id));
        cgroup.is_ok_and(|cgroup| freezers.are_frozen(cgroup))
    }
}

/// Which cgroups of the freezer are frozen, as far as that was asked for.
struct Freezers<'l> {
    hierarchy: Option<&'l Hierarchy>,
    known: HashMap<Vec<u8>, bool>,
}

impl Freezers<'_> {
    fn are_frozen(&mut self, cgroup: &[u8]) -> bool {
        if let Some(known) = self.known.get(cgroup) {
            return *known;
        }
        let state = self.hierarchy.and_then(|hierarchy| {
            let (directory, path) = hierarchy.place(cgroup);
            let file = openat(directory, path.join("freezer.state"), READ, Mode::empty()).ok()?;
            let mut state = Vec::new();
            read_whole(file, &mut state).ok().map(|()| state)
        });
        // It says so also where it is a cgroup above that is frozen. One that is freezing has stopped all but those that can't
        // be stopped now. The root has no state.
        let frozen = state.is_some_and(|state| matches!(state.trim_ascii_end(), b"FROZEN" | b"FREEZING"));
        self.known.insert(cgroup.to_vec(), frozen);
        frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn add_task(root: &Path, id: u32, state: &str) -> std::path::PathBuf {
        let task = root.join("proc").join(id.to_string());
        fs::create_dir_all(&task).unwrap();
        fs::write(task.join("status"), format!("Name:\ttask\nState:\t{state}\n")).unwrap();
        task
    }

    fn look(root: &Path, ids: &[u32], most: usize, hierarchy: Option<&Hierarchy>) -> (TaskCounts, RunQueue) {
        let procfs = Procfs::open(root).unwrap();
        let freezers = Freezers { hierarchy, known: HashMap::new() };
        let depth = Depth { cgroups: 0, tasks: most, with_run_queue: true, asker: Some(301) };
        Looker { procfs: &procfs, freezers, text: Vec::new() }.look(ids, depth)
    }

    #[test]
    fn of_many_tasks_some_stand_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<u32> = (1..=400).collect();
        for &id in &ids {
            // The last hundred run.
            let task = add_task(dir.path(), id, if id > 300 { "R (running)" } else { "S (sleeping)" });
            fs::write(task.join("schedstat"), "20 30 1\n").unwrap();
        }
        for most in [1000, 100, 90] {
            let (tasks, run_queue) = look(dir.path(), &ids, most, None);
            // One that is asked by is looked at, or is none of those that stand for others.
            assert!(matches!(tasks.running, 95..=100) && tasks.total == 400, "{most}: {tasks:?}");
            assert!(most != 1000 || tasks.running == 99);
            assert_eq!((run_queue.ran, run_queue.waited), (8000, 12_000));
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
        let ids: Vec<u32> = (1..=6).collect();
        for (id, cgroup) in ids.iter().zip(["/a", "/b", "/c", "/", "/a", "/gone"]) {
            let task = add_task(dir.path(), *id, "D (disk sleep)");
            fs::write(task.join("cgroup"), format!("7:freezer:{cgroup}\n4:memory:/m\n")).unwrap();
        }
        let mut hierarchy = Hierarchy::for_test("freezer");
        hierarchy.dir = rustix::fs::open(&freezer, crate::kernel::procfs::PATH_DIR, Mode::empty()).unwrap();
        assert_eq!(look(dir.path(), &ids, 10, Some(&hierarchy)).0.uninterruptible, 3);
        assert_eq!(look(dir.path(), &ids, 10, None).0.uninterruptible, 6);
    }
}
