//! How the daemon, its supervisor and what they mount come and go: in whatever order, containers have a file
//! to read.

pub mod keeping;
mod leftovers;
mod supervisor;

use crate::common::cgroup::Cgroup;
use crate::common::helper::{self, Running};
use crate::common::host_total;
use crate::common::load::{self, LIMIT};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    [supervisor::tests(), leftovers::tests(), keeping::tests()].into_iter().flatten().collect()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// A container that binds the anchor: what it reads, each time it is asked.
struct Container {
    reader: Running,
    _cgroup: Cgroup,
}

impl Container {
    fn start(anchor: &str) -> Self {
        let cgroup = Cgroup::new().limit(LIMIT);
        let words = helper::command("reopen", &["/proc/meminfo"]);
        Self { reader: load::bound(&[], &cgroup, anchor, &words), _cgroup: cgroup }
    }

    fn end(mut self) {
        drop(self.reader.process.stdin.take());
        crate::common::wait_for(&mut self.reader.process);
    }

    fn has_its_own(&mut self) -> bool {
        self.reader.ask() == load::total()
    }

    fn has_the_kernels(&mut self) -> bool {
        self.reader.ask() == Self::kernels()
    }

    fn kernels() -> String {
        format!("MemTotal:       {:8} kB", host_total())
    }

    /// Waits until it reads that. Until then it must not read anything but its own numbers or the kernel's,
    /// and only a read that waited for an answer when the connection was given up may fail.
    fn comes_to(&mut self, wanted: &str) {
        let (own, kernels) = (load::total(), Self::kernels());
        let mut waited = false;
        crate::common::wait_until(wanted, || {
            let read = self.reader.ask();
            let is_of_waiting = read.contains("(os error 103)") && !std::mem::replace(&mut waited, true);
            assert!([&own, &kernels].contains(&&read) || is_of_waiting, "{read}");
            read == wanted
        });
    }
}

/// How many mounts there are in a directory, itself included.
fn mounts(directory: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let path = directory.to_str().unwrap();
    table.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with(path)).count()
}
