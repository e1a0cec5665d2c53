//! Pressure triggers: a container waits for pressure of its own as a program on a host does.

mod events;
mod sharing;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{self, Running};
use cgprocfs::kernel::CgroupMounts;
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    [events::tests(), sharing::tests()].into_iter().flatten().collect()
}

/// 150 ms of a second.
const TRIGGER: &str = "some 150000 1000000";

const VIEW: &str = "proc/pressure/cpu";

fn watchable(options: &[&str]) -> Daemon {
    Daemon::start_with(&[], &[&["--triggers"], options].concat(), &[])
}

/// A cgroup of the memory controller, and the one of the same name whose pressure the kernel keeps an account
/// of.
struct Container {
    memory: Cgroup,
    pressure: PathBuf,
}

impl Container {
    fn new() -> Self {
        let memory = Cgroup::new();
        let top = CgroupMounts::detect(Path::new("/")).unwrap().pressure.unwrap().mount_point;
        let pressure = top.join(memory.dir.file_name().unwrap());
        // On v2 it is the same one.
        if !pressure.exists() {
            fs::create_dir(&pressure).unwrap();
        }
        Self { memory, pressure }
    }

    /// One below.
    fn child(&self, name: &str) -> Self {
        let memory = self.memory.child(name);
        let pressure = self.pressure.join(name);
        if !pressure.exists() {
            fs::create_dir(&pressure).unwrap();
        }
        Self { memory, pressure }
    }

    fn command(&self, words: &[&str]) -> Command {
        let enter = ["sh", "-c", "echo 0 > \"$0\" && exec \"$@\"", &self.procs()];
        self.memory.command(&[&enter, words].concat())
    }

    fn procs(&self) -> String {
        self.pressure.join("cgroup.procs").to_str().unwrap().to_string()
    }

    /// A helper that has `count` triggers on the view, or the kernel's file, at `path`.
    fn watch(&self, path: &Path, count: usize, trigger: &str) -> Running {
        let words = helper::command("watch", &[path.to_str().unwrap(), &count.to_string(), trigger]);
        helper::start(&mut self.command(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Two that want the same processor, which is half a second of stall in each.
    fn stall(&self) -> [Spinner; 2] {
        let start = || {
            let words = ["taskset", "1", "sh", "-c", "while :; do :; done"];
            Spinner(self.command(&words).stdin(Stdio::null()).spawn().unwrap())
        };
        [start(), start()]
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Whatever is still in it is moved where it does not keep it from being removed.
        let top = self.pressure.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.procs()).unwrap_or_default().lines() {
            let _ = fs::write(&top, pid);
        }
        for _ in 0..100 {
            if !self.pressure.exists()
                || self.pressure == self.memory.dir
                || fs::remove_dir(&self.pressure).is_ok()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Spinner(Child);

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
