//! What a daemon has run, and what it has.

use crate::janitor::Janitor;
use crate::subject::Subject;
use cgprocfs::kernel::{CgroupMounts, Hierarchy};
use cgprocfs_core::parse::CgroupVersion;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// A daemon in a cgroup that counts its processor time.
pub struct Meter {
    pid: Option<u32>,
    version: CgroupVersion,
    directory: PathBuf,
    top: PathBuf,
    _janitor: Janitor,
}

impl Meter {
    pub fn of(subject: &Subject) -> Self {
        let mounts = CgroupMounts::detect(Path::new("/")).unwrap();
        let Hierarchy { version, mount_point, .. } = mounts.cpuacct.unwrap();
        let directory = mount_point.join(format!("cgprocfs-bench-{}-server", std::process::id()));
        let janitor = Janitor::start(std::slice::from_ref(&directory));
        fs::create_dir(&directory).unwrap();
        let pid = subject.server.as_ref().map(|server| server.process.id());
        if let Some(pid) = pid {
            fs::write(directory.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        Self { pid, version, directory, top: mount_point, _janitor: janitor }
    }

    /// How long it has run.
    pub fn ran(&self) -> Duration {
        let number = |text: String| text.trim().parse::<u64>().unwrap();
        match self.version {
            CgroupVersion::V1 => {
                let usage = fs::read_to_string(self.directory.join("cpuacct.usage")).unwrap();
                Duration::from_nanos(number(usage))
            }
            CgroupVersion::V2 => {
                let stat = fs::read_to_string(self.directory.join("cpu.stat")).unwrap();
                let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
                Duration::from_micros(number(usage.into()))
            }
        }
    }

    /// Its resident memory, in KiB, and how many files it has open.
    pub fn size(&self) -> (u64, usize) {
        let Some(pid) = self.pid else { return (0, 0) };
        let rss = self.status(&format!("/proc/{pid}/status"), "VmRSS:");
        (rss, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
    }

    /// What it runs a second, in microseconds, and how often its threads wake in ten, once it knows that
    /// nobody asks.
    pub fn idle(&self) -> (f64, u64) {
        let wakeups = || -> u64 {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid.unwrap())).unwrap();
            let status = |task: fs::DirEntry| task.path().join("status").display().to_string();
            tasks.map(|task| self.status(&status(task.unwrap()), "voluntary_ctxt_switches:")).sum()
        };
        std::thread::sleep(Duration::from_secs(100));
        let (ran, woken) = (self.ran(), wakeups());
        std::thread::sleep(Duration::from_secs(10));
        ((self.ran() - ran).as_secs_f64() * 1e5, wakeups() - woken)
    }

    fn status(&self, path: &str, key: &str) -> u64 {
        let status = fs::read_to_string(path).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let _ = fs::write(self.top.join("cgroup.procs"), pid.to_string());
        }
        let _ = cgprocfs::run::remove_cgroup(&self.directory);
    }
}

/// Programs that want a processor each.
pub struct Spinners(Vec<Child>);

impl Spinners {
    pub fn start(count: usize) -> Self {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(|_| spin()).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
