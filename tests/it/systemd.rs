//! The unit as it is, under a real systemd that is the first process of namespaces of its own.

mod crashes;
mod options;
mod package;
mod unit;

use crate::common::cgroup::Cgroup;
use crate::common::helper::{self, Running};
use crate::common::load::{self, Load};
use crate::common::{Need, cgprocfs_path, finish, output, wait_at_most};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    [crashes::tests(), options::tests(), package::tests(), unit::tests()].into_iter().flatten().collect()
}

const SYSTEMD: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV1, Need::Program("systemctl")];

/// A systemd that has the unit, ended with all that it started when it goes out of scope.
struct System {
    launcher: Child,
    pid: u32,
    cgroup: PathBuf,
    /// Where its log is.
    directory: tempfile::TempDir,
}

impl System {
    fn boot() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        let cgroup = Path::new("/sys/fs/cgroup/systemd").join(format!("cgprocfs-test-{name}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot");
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let launcher = Command::new(script)
            .arg(directory.path())
            .arg(cgprocfs_path())
            .arg(&cgroup)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut system = Self { launcher, pid: 0, cgroup, directory };
        wait_at_most(20, "systemd boots", || {
            system.pid = load::children(system.launcher.id()).first().copied().unwrap_or(0);
            Path::new(&format!("/proc/{}/root/run/booted", system.pid)).exists()
        });
        system
    }

    /// The words that run a command there.
    fn enter(&self) -> Vec<String> {
        let words = ["nsenter", "--target", &self.pid.to_string(), "-m", "-u", "-i", "-p", "-r", "-w"];
        words.map(str::to_string).to_vec()
    }

    fn command(&self, words: &[&str]) -> Command {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).args(words);
        command
    }

    fn systemctl(&self, words: &[&str]) -> String {
        output(self.command(&["systemctl"]).args(words))
    }

    /// Changes a unit.
    fn add_to(&self, unit: &str, name: &str, text: &str) {
        let directory = format!("/proc/{}/root/etc/systemd/system/{unit}.d", self.pid);
        fs::create_dir_all(&directory).unwrap();
        fs::write(Path::new(&directory).join(format!("{name}.conf")), text).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    fn remove_from(&self, unit: &str, name: &str) {
        let directory = format!("/proc/{}/root/etc/systemd/system/{unit}.d", self.pid);
        fs::remove_file(Path::new(&directory).join(format!("{name}.conf"))).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    fn show(&self, property: &str) -> String {
        self.systemctl(&["show", "--value", "-p", property, "cgprocfs"]).trim().to_string()
    }

    /// The server, by its number here.
    fn server(&self) -> u32 {
        let inside = self.show("MainPID");
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            numbers.split_whitespace().last() == Some(&inside) && numbers.split_whitespace().count() > 1
        };
        let procs = fs::read_to_string(self.cgroup.join("system.slice/cgprocfs.service/cgroup.procs"));
        let pids: Vec<u32> = procs.unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect();
        pids.into_iter().find(|pid| is_it(pid)).unwrap_or(0)
    }

    fn load(&self) -> Load {
        Load::start(&self.enter(), MEMINFO)
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(
            &finish(&mut self.command(&["journalctl", "--no-pager", "-n200", "-u", "cgprocfs"])).stdout,
        )
        .into_owned()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
            if self.pid != 0 {
                eprintln!("{}", self.log());
            }
        }
        // The first process takes all others with it; who waits for a server that is stopped can't be killed.
        let abort = ["umount", "--force", "--lazy", "/run/cgprocfs/live"];
        if self.pid != 0 {
            let _ = finish(&mut self.command(&abort));
        }
        let pid = self.pid.try_into().ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
        // systemd makes cgroups in the hierarchy of v2, too.
        let name = self.cgroup.file_name().unwrap();
        for cgroup in [&self.cgroup, &Path::new("/sys/fs/cgroup/unified").join(name)] {
            for _ in 0..200 {
                if !cgroup.exists() || cgprocfs::run::remove_cgroup(cgroup).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

const MEMINFO: &str = "/run/cgprocfs/proc/meminfo";

/// A container that was started now: what it reads in its bind of the anchor, each time it is asked.
fn container(system: &System, cgroup: &Cgroup) -> Running {
    load::bound(&system.enter(), cgroup, MEMINFO, &helper::command("reopen", &["/proc/meminfo"]))
}

fn total(mib: u64) -> String {
    format!("MemTotal:       {:8} kB", mib << 10)
}
