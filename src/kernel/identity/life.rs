//! When a container started: when its oldest process did. That is remembered longer than the process lives,
//! because it may have started others. But once a container's init has ended, and all others with it, a
//! process in the cgroup is of another container.

use crate::error::Error;
use crate::kernel::procfs::Procfs;
use crate::kernel::read::read_whole;
use crate::process::pidfd;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_stat::ProcStat;
use cgprocfs_core::parse::proc_status::{Status, TaskState};
use cgprocfs_core::time::Ticks;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of the oldest processes may be the init: the one that made the pid namespace may be in the
/// cgroup, too.
const MAX_OLDEST: usize = 8;

/// The life of a container, by its processes.
#[derive(Debug, Default)]
pub struct Life {
    /// When the oldest process was started, since the boot.
    pub start: Ticks,
    /// How long the processes have run, and those that they have waited for.
    pub ran: Ticks,
    /// `None` if it has none.
    init: Option<Init>,
}

impl Life {
    /// Whether the container has an init.
    #[must_use]
    pub const fn has_init(&self) -> bool {
        self.init.is_some()
    }

    /// Whether the container's init, if it has one, has not ended.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.init.as_ref().is_none_or(Init::goes_on)
    }
}

/// The init of a container.
#[derive(Debug)]
enum Init {
    /// By a descriptor of the process, which is asked without a lock: whoever reads a file about a process
    /// may have to give the memory of that back, which takes as long as there is of it (`mmput()`,
    /// kernel/fork.c).
    Process(OwnedFd),
    /// By its `/proc/PID/status`, in a copy of a system and before Linux 5.3.
    Status(OwnedFd),
}

impl Init {
    /// Whether it has not ended.
    fn goes_on(&self) -> bool {
        match self {
            Self::Process(process) => {
                poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec::default())) == Ok(0)
            }
            Self::Status(file) => has_not_ended(file),
        }
    }
}

/// Whether the process of an open `/proc/PID/status` has not ended. The file belongs to that process alone,
/// and can be read until its parent has waited for it.
fn has_not_ended(process: &OwnedFd) -> bool {
    let mut text = [0; 512];
    let read = rustix::io::pread(process, &mut text, 0);
    read.is_ok_and(|length| TaskState::parse(&text[..length]).is_ok_and(|state| state != TaskState::Ended))
}

/// A search through the processes of a container, one after the other. Each may take as long as a tenant
/// likes: a process in the middle of an exec blocks whoever asks when it was started.
pub(crate) struct LifeSearch<'s> {
    procfs: &'s Procfs,
    /// The oldest start so far, for a reader that does not wait for the end.
    so_far: &'s AtomicU64,
    /// The oldest processes: when they were started, and their ids.
    oldest: Vec<(Ticks, Pid)>,
    ran: u64,
    text: Vec<u8>,
}

impl<'s> LifeSearch<'s> {
    pub(crate) fn new(procfs: &'s Procfs, so_far: &'s AtomicU64) -> Self {
        Self { procfs, so_far, oldest: Vec::with_capacity(MAX_OLDEST + 1), ran: 0, text: Vec::new() }
    }

    /// Takes in a process.
    pub(crate) fn add(&mut self, pid: Pid) -> Result<(), Error> {
        self.procfs.read_of(pid, "stat", &mut self.text)?;
        let malformed = |e| Error::malformed(format!("/proc/{pid}/stat"), e);
        let ProcStat { start, ran, .. } = ProcStat::parse(&self.text).map_err(malformed)?;
        self.ran = self.ran.saturating_add(ran.get());
        self.so_far.fetch_min(start.get(), Ordering::Relaxed);
        let index = self.oldest.partition_point(|known| *known < (start, pid));
        self.oldest.insert(index, (start, pid));
        self.oldest.truncate(MAX_OLDEST);
        Ok(())
    }

    /// Ends the search.
    pub(crate) fn end(mut self) -> Life {
        let oldest = std::mem::take(&mut self.oldest);
        let init = oldest.iter().find_map(|&(start, pid)| self.open_init(start, pid));
        let start = Ticks::new(self.so_far.load(Ordering::Relaxed));
        Life { start, ran: Ticks::new(self.ran), init }
    }

    /// Opens a process if it is the first of a pid namespace below ours.
    fn open_init(&mut self, start: Ticks, pid: Pid) -> Option<Init> {
        let opened = self.procfs.open_of(pid, "status").ok()?;
        read_whole(&opened, &mut self.text).ok()?;
        let status = Status::parse(&self.text).ok()?;
        if status.innermost_pid != Pid::INIT || status.nesting == 1 {
            return None;
        }
        // The file was opened before the start is read again, so it is of the same process. A process that
        // was killed while a thread of it waits for an answer is still there, and is no living init.
        self.procfs.read_of(pid, "stat", &mut self.text).ok()?;
        let is_same = ProcStat::parse(&self.text).is_ok_and(|stat| stat.start == start);
        let process = if self.procfs.is_own { pidfd(pid).ok() } else { None };
        // As long as it has not ended, nobody else has its id.
        (is_same && has_not_ended(&opened)).then(|| process.map_or(Init::Status(opened), Init::Process))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_pid;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn a_life_begins_with_the_oldest_and_ends_with_its_init() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let start = || Command::new("sleep").arg("60").spawn().unwrap();
        let mut older = start();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let mut younger = start();
        let so_far = AtomicU64::new(u64::MAX);
        let mut search = LifeSearch::new(&procfs, &so_far);
        search.add(Pid::new(younger.id())).unwrap();
        let only_younger = Ticks::new(so_far.load(Ordering::Relaxed));
        search.add(Pid::new(older.id())).unwrap();
        let life = search.end();
        assert!(life.start < only_younger && life.start == Ticks::new(so_far.load(Ordering::Relaxed)));
        for child in [&mut older, &mut younger] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(life.goes_on() && !life.has_init());
        for by_process in [true, false] {
            let mut child = start();
            let pid = Pid::new(child.id());
            let held = match by_process {
                true => Init::Process(pidfd(pid).unwrap()),
                false => Init::Status(procfs.open_of(pid, "status").unwrap()),
            };
            let life = Life { init: Some(held), ..Life::default() };
            assert!(life.goes_on());
            child.kill().unwrap();
            // Nobody has waited for it yet.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while life.goes_on() {
                assert!(std::time::Instant::now() < deadline);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            child.wait().unwrap();
            assert!(!life.goes_on());
        }
    }

    /// Its status would be read by threads that serve.
    #[test]
    fn an_init_is_asked_by_a_descriptor_of_its_process() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let words = ["--pid", "--fork", "--kill-child", "sleep", "60"];
        let mut parent = Command::new("unshare").args(words).spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let child = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::fs::read_to_string(&children).ok()?.trim().parse().ok()
        });
        let so_far = AtomicU64::new(u64::MAX);
        let mut search = LifeSearch::new(&procfs, &so_far);
        let looked_at = child.map(|pid| search.add(pid));
        let life = search.end();
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(looked_at.unwrap().is_ok() && matches!(life.init, Some(Init::Process(_))), "{life:?}");
    }

    #[test]
    fn only_the_oldest_are_kept() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let so_far = AtomicU64::new(u64::MAX);
        let mut search = LifeSearch::new(&procfs, &so_far);
        for _ in 0..3 * MAX_OLDEST {
            search.add(own_pid()).unwrap();
        }
        assert_eq!(search.oldest.len(), MAX_OLDEST);
    }

    /// A killed process is there until its parent has waited for it, or while a thread of it waits for an
    /// answer.
    #[test]
    fn an_init_that_was_killed_is_none() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let procfs = Procfs::open(Path::new("/")).unwrap();
        // The first child is the namespace's init, and sleep waits for nobody.
        let words = ["--pid", "sh", "-c", "true & exec sleep 60"];
        let mut parent = Command::new("unshare").args(words).spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let status = |pid: Pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let killed = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let pid: Pid = std::fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            status(pid).contains("State:\tZ").then_some(pid)
        });
        let so_far = AtomicU64::new(u64::MAX);
        let mut search = LifeSearch::new(&procfs, &so_far);
        let looked_at = killed.map(|pid| search.add(pid));
        let has_init = search.end().has_init();
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(looked_at.unwrap().is_ok() && !has_init);
    }
}
