//! Copies of each process of a container the few numbers that answers read: no name, no command line.

use super::ages::{self, Answer};
use super::error::CopyError;
use super::tree::Directory;
use crate::kernel::procfs::Procfs;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_status::{Status, TaskState};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Of how many tasks the state is copied.
const MAX_TASKS: usize = 4096;
/// Of how many processes the age is copied.
const MAX_AGED: usize = 4096;
/// How long ages are waited for: a process in the middle of an exec may block whoever asks for its age as
/// long as its tenant likes.
const AGES_TIMEOUT: Duration = Duration::from_secs(2);
/// The lines of `/proc/PID/status` that are copied.
const STATUS_LINES: &[&[u8]] = &[b"State:", b"Tgid:", b"Pid:", b"PPid:", b"NSpid:"];

/// The processes whose numbers are copied.
pub(crate) struct Processes {
    reader: Pid,
    tasks: BTreeSet<Pid>,
    has_more_tasks: bool,
    has_more_aged: bool,
    /// The processes whose age is copied.
    aged: BTreeSet<Pid>,
    of_container: Vec<Pid>,
    /// The tasks in uninterruptible sleep.
    uninterruptible: Vec<Pid>,
}

impl Processes {
    pub(crate) fn new(reader: Pid) -> Self {
        let only = BTreeSet::from([reader]);
        Self {
            reader,
            tasks: only.clone(),
            has_more_tasks: false,
            has_more_aged: false,
            aged: only,
            of_container: Vec::new(),
            uninterruptible: Vec::new(),
        }
    }

    /// Takes in the processes that a cgroup of the container lists, and returns what it is to list in the
    /// copy.
    pub(crate) fn add_listed(&mut self, text: &[u8], is_container: bool) -> Vec<u8> {
        let mut first = Vec::new();
        for id in ids(text) {
            if self.aged.len() > MAX_AGED {
                self.has_more_aged = true;
                break;
            }
            self.aged.insert(id);
            first.push(id);
        }
        let listed = lines(&first);
        if is_container {
            self.of_container = first;
        }
        listed
    }

    /// What the container's cgroup is to list in the copy: its init, too, if that is in a cgroup below.
    pub(crate) fn container_list(&self) -> Vec<u8> {
        lines(&self.of_container)
    }

    /// The tasks that were in uninterruptible sleep when they were [copied](Self::copy).
    pub(crate) fn uninterruptible(&self) -> &[Pid] {
        &self.uninterruptible
    }

    /// Takes in tasks whose state is to be copied.
    pub(crate) fn add_tasks(&mut self, text: &[u8]) {
        for id in ids(text) {
            if self.tasks.len() > MAX_TASKS {
                self.has_more_tasks = true;
                break;
            }
            self.tasks.insert(id);
        }
    }

    /// Copies the states and ages, and returns a line for each kind that is left out.
    pub(crate) fn copy(&mut self, procfs: &Procfs, proc: &Directory) -> Result<Vec<String>, CopyError> {
        let mut left_out = Vec::new();
        let inits = self.copy_states(procfs, proc)?;
        if self.has_more_tasks {
            left_out.push(format!("tasks: the states of those beyond {MAX_TASKS}"));
        }
        if self.has_more_aged {
            left_out.push(format!("ages: those of processes beyond {MAX_AGED}"));
        }
        if let Some(count) = self.copy_ages(procfs, proc, inits)? {
            left_out.push(format!("ages: those of {count} processes, one of which is in an exec"));
        }
        Ok(left_out)
    }

    /// Copies the states, and returns the processes that may be the init of the reader's pid namespace.
    fn copy_states(&mut self, procfs: &Procfs, proc: &Directory) -> Result<Vec<Pid>, CopyError> {
        let (mut text, mut nesting, mut inits) = (Vec::new(), None, Vec::new());
        for &id in self.tasks.union(&self.aged) {
            // A task may end meanwhile.
            if procfs.read_of(id, "status", &mut text).is_err() {
                continue;
            }
            if TaskState::parse(&text) == Ok(TaskState::Uninterruptible) {
                self.uninterruptible.push(id);
            }
            if let Ok(status) = Status::parse(&text) {
                if id == self.reader {
                    nesting = Some(status.nesting);
                }
                if status.innermost_pid == Pid::INIT {
                    inits.push((id, status.nesting));
                }
            }
            let is_read = |line: &&[u8]| STATUS_LINES.iter().any(|key| line.starts_with(key));
            let kept: Vec<_> = text.split_inclusive(|&b| b == b'\n').filter(is_read).collect();
            let kept = [&b"Name:\tx\n"[..], &kept.concat()].concat();
            let task = proc.below(id.to_string())?;
            task.write("status", &kept)?;
            // A kernel may have been built without it.
            if procfs.read_of(id, "schedstat", &mut text).is_ok() {
                task.write("schedstat", &text)?;
            }
        }
        Ok(inits.into_iter().filter(|(_, depth)| Some(*depth) == nesting).map(|(id, _)| id).collect())
    }

    /// Copies the ages, finds the init among `inits`, and returns the number of processes that are waited for
    /// in vain, if it takes too long.
    fn copy_ages(
        &mut self,
        procfs: &Procfs,
        proc: &Directory,
        inits: Vec<Pid>,
    ) -> Result<Option<usize>, CopyError> {
        let mut waited_for = self.aged.clone();
        let answers = ages::request(procfs, self.reader, waited_for.clone(), inits);
        let until = Instant::now() + AGES_TIMEOUT;
        loop {
            match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Answer::Stat(id, stat)) => {
                    waited_for.remove(&id);
                    if let Some(stat) = stat {
                        proc.below(id.to_string())?.write("stat", &stat)?;
                    }
                }
                Ok(Answer::Init(id)) => {
                    if !self.of_container.contains(&id) {
                        self.of_container.insert(0, id);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(Some(waited_for.len())),
            }
        }
    }
}

/// The ids that a cgroup file lists, but those that are not in this pid namespace.
fn ids(text: &[u8]) -> impl Iterator<Item = Pid> + '_ {
    let ids = text.split(|&b| b == b'\n').filter_map(|line| Pid::parse(line).ok());
    ids.filter(|&id| id != Pid::UNSEEN)
}

fn lines(ids: &[Pid]) -> Vec<u8> {
    ids.iter().flat_map(|id| format!("{id}\n").into_bytes()).collect()
}
