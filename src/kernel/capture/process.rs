//! The processes of a container, by the few numbers of each that an answer reads: no name, no command line.

use super::error::CopyError;
use super::tree::Directory;
use crate::kernel::identity::resolver::process_is_init_of;
use crate::kernel::procfs::Procfs;
use cgprocfs_core::parse::{decimal, proc_status};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Of so many tasks the state is copied.
const MOST_TASKS: usize = 4096;
/// As many are asked for their age.
const MOST_AGED: usize = 4096;
/// Who is in the middle of an exec keeps whoever asks for its age as long as its tenant likes.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines of `/proc/PID/status`.
const STATUS: &[&[u8]] = &[b"State:", b"Tgid:", b"Pid:", b"PPid:", b"NSpid:"];
/// Fields of `/proc/PID/stat`, by their numbers in the manual page: id, state, parent, flags, how long it and its children have
/// run, start.
const STAT: &[usize] = &[1, 3, 4, 9, 14, 15, 16, 17, 22];

pub(crate) struct Processes {
    reader: u32,
    tasks: BTreeSet<u32>,
    left_out_tasks: bool,
    left_out_ages: bool,
    /// Whose age is asked for.
    aged: BTreeSet<u32>,
    of_container: Vec<u32>,
    /// Who seems to wait for a disk.
    uninterruptible: Vec<u32>,
}

impl Processes {
    pub(crate) fn new(reader: u32) -> Self {
        let only = BTreeSet::from([reader]);
        Self {
            reader,
            tasks: only.clone(),
            left_out_tasks: false,
            left_out_ages: false,
            aged: only,
            of_container: Vec::new(),
            uninterruptible: Vec::new(),
        }
    }

    /// What a cgroup of the container is to list, which lists these.
    pub(crate) fn listed(&mut self, text: &[u8], is_container: bool) -> Vec<u8> {
        let mut first = Vec::new();
        for id in ids(text) {
            if self.aged.len() > MOST_AGED {
                self.left_out_ages = true;
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

    /// What the container is to list: its init, too, if that is in a cgroup below.
    pub(crate) fn of_container(&self) -> Vec<u8> {
        lines(&self.of_container)
    }

    /// Of those that were [copied](Self::copy), who seemed to wait for a disk.
    pub(crate) fn uninterruptible(&self) -> &[u32] {
        &self.uninterruptible
    }

    pub(crate) fn add_tasks(&mut self, text: &[u8]) {
        for id in ids(text) {
            if self.tasks.len() > MOST_TASKS {
                self.left_out_tasks = true;
                break;
            }
            self.tasks.insert(id);
        }
    }

    /// Copies them, and says what of them is left out.
    pub(crate) fn copy(&mut self, procfs: &Procfs, proc: &Directory) -> Result<Vec<String>, CopyError> {
        let mut left_out = Vec::new();
        let mut text = Vec::new();
        let mut nesting = None;
        let mut inits = Vec::new();
        for &id in self.tasks.union(&self.aged) {
            // What ends meanwhile is not there.
            if procfs.read_of(id, "status", &mut text).is_err() {
                continue;
            }
            if proc_status::state(&text) == Some(b'D') {
                self.uninterruptible.push(id);
            }
            if let Ok(status) = proc_status::parse(&text) {
                if id == self.reader {
                    nesting = Some(status.nesting);
                }
                if status.innermost_pid == 1 {
                    inits.push((id, status.nesting));
                }
            }
            let is_read = |line: &&[u8]| STATUS.iter().any(|key| line.starts_with(key));
            let kept: Vec<_> = text.split_inclusive(|&b| b == b'\n').filter(is_read).collect();
            let kept = [&b"Name:\tx\n"[..], &kept.concat()].concat();
            let task = proc.below(id.to_string())?;
            task.write("status", &kept)?;
            // A kernel may have been built to keep none.
            if procfs.read_of(id, "schedstat", &mut text).is_ok() {
                task.write("schedstat", &text)?;
            }
        }
        if self.left_out_tasks {
            left_out.push(format!("tasks: the states of those beyond {MOST_TASKS}"));
        }
        if self.left_out_ages {
            left_out.push(format!("ages: those of processes beyond {MOST_AGED}"));
        }
        let inits =
            inits.into_iter().filter(|(_, depth)| Some(*depth) == nesting).map(|(id, _)| id).collect();
        let mut waited_for = self.aged.clone();
        let stats = ask(procfs, self.reader, waited_for.clone(), inits);
        let until = Instant::now() + PATIENCE;
        loop {
            match stats.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Answer::Looked(id, stat)) => {
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
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let count = waited_for.len();
                    left_out.push(format!("ages: those of {count} processes, one of which is in an exec"));
                    break;
                }
            }
        }
        Ok(left_out)
    }
}

enum Answer {
    /// `None` of one that is gone.
    Looked(u32, Option<Vec<u8>>),
    /// The init of the reader's pid namespace.
    Init(u32),
}

/// Asks on a thread of its own, which nobody waits for.
fn ask(procfs: &Procfs, reader: u32, aged: BTreeSet<u32>, inits: Vec<u32>) -> mpsc::Receiver<Answer> {
    let (sender, receiver) = mpsc::channel();
    let Ok(dir) = procfs.dir.try_clone() else { return receiver };
    let procfs = Procfs { dir, is_own: procfs.is_own, namespace_reader: None };
    let ask = move || {
        let init = inits.into_iter().find(|&id| process_is_init_of(id, reader, &procfs));
        if let Some(id) = init {
            let _ = sender.send(Answer::Init(id));
        }
        let mut text = Vec::new();
        for id in aged.into_iter().chain(init) {
            let stat = procfs.read_of(id, "stat", &mut text).ok().and_then(|()| without_names(&text));
            if sender.send(Answer::Looked(id, stat)).is_err() {
                break;
            }
        }
    };
    // Without one nobody answers, and that is said.
    let _ = thread::Builder::new().name("ages".into()).spawn(ask);
    receiver
}

/// What is read of the file, and zeros.
fn without_names(stat: &[u8]) -> Option<Vec<u8>> {
    let id = stat.split(|&b| b == b' ').next()?;
    let end = stat.iter().rposition(|&b| b == b')')?;
    let mut text = [id, b" (x)"].concat();
    for (number, field) in stat[end + 1..].trim_ascii().split(|&b| b == b' ').enumerate() {
        text.push(b' ');
        text.extend_from_slice(if STAT.contains(&(number + 3)) { field } else { b"0" });
    }
    text.push(b'\n');
    Some(text)
}

/// Of whole lines; 0 is one of another pid namespace.
fn ids(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let numbers = text.split(|&b| b == b'\n').filter_map(|line| decimal(line).ok()?.try_into().ok());
    numbers.filter(|&id| id != 0)
}

fn lines(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| format!("{id}\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::parse::proc_stat::{is_exiting, start_time};

    #[test]
    fn no_name_and_no_address_is_copied() {
        let mut stat = b"812 (a) b\n) S 800".to_vec();
        (5..=52).for_each(|field| stat.extend_from_slice(format!(" {}", 1000 + field).as_bytes()));
        stat.push(b'\n');
        let kept = without_names(&stat).unwrap();
        assert_eq!(start_time(&kept), start_time(&stat));
        assert_eq!(is_exiting(&kept), is_exiting(&stat));
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.starts_with("812 (x) S 800 0 0 0 0 1009 0 0 0 0 1014 1015 1016 1017 0 "), "{kept}");
        assert_eq!(kept.matches("10").count(), 6, "{kept}");
    }
}
