//! Since when a container runs: since its oldest process. What is known of that outlives the process, for others may have been
//! started by it; but once a container's init has ended, and all others with it, whoever lives in the cgroup then is another one.

use crate::error::Error;
use crate::kernel::procfs::{Procfs, read_whole};
use cgprocfs_core::machine::Ticks;
use cgprocfs_core::parse::proc_stat::{run_time, start_time};
use cgprocfs_core::parse::proc_status;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of so many of the oldest it is seen whether they are an init: who makes a pid namespace for it may be in the cgroup, too.
const OLDEST: usize = 8;

/// What is known of a container's processes.
#[derive(Debug, Default)]
pub struct Life {
    /// When the oldest of them was started, after the boot.
    pub start: Ticks,
    /// How long they have run, with those that they have waited for.
    pub ran: Ticks,
    /// `/proc/PID/status` of its init; `None` where there is none.
    init: Option<OwnedFd>,
}

impl Life {
    /// Whether it has an init.
    #[must_use]
    pub const fn has_init(&self) -> bool {
        self.init.is_some()
    }

    /// Whether its init has not ended.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.init.as_ref().is_none_or(has_not_ended)
    }
}

/// Of an open `/proc/PID/status`, which no other process answers from. One that has ended does until its parent has taken note.
fn has_not_ended(process: &OwnedFd) -> bool {
    let mut text = [0; 512];
    let read = rustix::io::pread(process, &mut text, 0);
    read.is_ok_and(|length| !matches!(proc_status::state(&text[..length]), None | Some(b'Z' | b'X' | b'x')))
}

/// A look at one process after the other. Each may take as long as a tenant likes: who is in the middle of an exec keeps whoever
/// asks when it was started.
pub(crate) struct Search<'s> {
    procfs: &'s Procfs,
    /// The oldest start so far, for whoever does not wait for the end.
    so_far: &'s AtomicU64,
    /// When they were started, and their ids.
    oldest: Vec<(Ticks, u32)>,
    ran: u64,
    text: Vec<u8>,
}

impl<'s> Search<'s> {
    pub(crate) fn new(procfs: &'s Procfs, so_far: &'s AtomicU64) -> Self {
        Self { procfs, so_far, oldest: Vec::with_capacity(OLDEST + 1), ran: 0, text: Vec::new() }
    }

    pub(crate) fn look_at(&mut self, pid: u32) -> Result<(), Error> {
        self.procfs.read_of(pid, "stat", &mut self.text)?;
        let malformed = |e| Error::malformed(format!("/proc/{pid}/stat"), e);
        let start = start_time(&self.text).map_err(malformed)?;
        self.ran = self.ran.saturating_add(run_time(&self.text).map_err(malformed)?.get());
        self.so_far.fetch_min(start.get(), Ordering::Relaxed);
        let place = self.oldest.partition_point(|known| *known < (start, pid));
        self.oldest.insert(place, (start, pid));
        self.oldest.truncate(OLDEST);
        Ok(())
    }

    pub(crate) fn end(mut self) -> Life {
        let oldest = std::mem::take(&mut self.oldest);
        let init = oldest.iter().find_map(|&(start, pid)| self.hold_init(start, pid));
        let start = Ticks::new(self.so_far.load(Ordering::Relaxed));
        Life { start, ran: Ticks::new(self.ran), init }
    }

    /// If it is the first process of a pid namespace below ours.
    fn hold_init(&mut self, start: Ticks, pid: u32) -> Option<OwnedFd> {
        let held = self.procfs.open_of(pid, "status").ok()?;
        read_whole(&held, &mut self.text).ok()?;
        let status = proc_status::parse(&self.text).ok()?;
        if status.innermost_pid != 1 || status.nesting == 1 {
            return None;
        }
        // Opened before that is read again, it is of the same process. One that was killed while a thread of it waits is still there,
        // and is no init that goes on.
        self.procfs.read_of(pid, "stat", &mut self.text).ok()?;
        (start_time(&self.text) == Ok(start) && has_not_ended(&held)).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut search = Search::new(&procfs, &so_far);
        search.look_at(younger.id()).unwrap();
        let only_younger = Ticks::new(so_far.load(Ordering::Relaxed));
        search.look_at(older.id()).unwrap();
        let life = search.end();
        assert!(life.start < only_younger && life.start == Ticks::new(so_far.load(Ordering::Relaxed)));
        for child in [&mut older, &mut younger] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(life.goes_on() && !life.has_init());
        let mut child = start();
        let held = procfs.open_of(child.id(), "status").unwrap();
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

    #[test]
    fn only_the_oldest_are_kept() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let so_far = AtomicU64::new(u64::MAX);
        let mut search = Search::new(&procfs, &so_far);
        for _ in 0..3 * OLDEST {
            search.look_at(std::process::id()).unwrap();
        }
        assert_eq!(search.oldest.len(), OLDEST);
    }

    /// It is still there as long as nobody takes note, or a thread of it waits for us.
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
        let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let killed = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let pid: u32 = std::fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            status(pid).contains("State:\tZ").then_some(pid)
        });
        let so_far = AtomicU64::new(u64::MAX);
        let mut search = Search::new(&procfs, &so_far);
        let looked_at = killed.map(|pid| search.look_at(pid));
        let has_init = search.end().has_init();
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(looked_at.unwrap().is_ok() && !has_init);
    }
}
