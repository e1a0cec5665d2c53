//! What is measured: the kernel's own file, and file systems that are started for it.

use nix::mount::{MntFlags, umount2};
use rustix::process::{Signal, kill_process};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The other build.
pub const BEFORE: &str = "before";

/// One way to read memory figures.
pub struct Subject {
    pub name: &'static str,
    pub path: PathBuf,
    pub server: Option<Server>,
}

/// A server that is ended, and its mount with it, when it goes out of scope.
pub struct Server {
    pub process: Child,
    pub dir: tempfile::TempDir,
}

impl Server {
    fn start(command: impl FnOnce(&Path) -> Command, ready: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let process = command(dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let server = Self { process, dir };
        let deadline = Instant::now() + Duration::from_secs(5);
        while !server.dir.path().join(ready).exists() {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap());
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        while umount2(&self.dir.path().join("live"), flags | MntFlags::MNT_FORCE).is_ok() {}
        while umount2(self.dir.path(), flags).is_ok() {}
    }
}

/// All that can be measured here; what cannot is said on stderr.
pub fn subjects() -> Vec<Subject> {
    let mut subjects = vec![Subject { name: "kernel", path: "/proc/meminfo".into(), server: None }];
    let mut add = |name, path: &str, server: Option<Server>| match server {
        Some(server) => {
            subjects.push(Subject { name, path: server.dir.path().join(path), server: Some(server) })
        }
        None => eprintln!("{name} is not measured: it cannot be started here"),
    };
    let command = |program: &OsStr, words: &[&str], dir: &Path| {
        // It ends when this process does, in whatever way.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program).args(words).arg(dir);
        command
    };
    let this = std::env::current_exe().unwrap();
    let ours = env!("CARGO_BIN_EXE_cgprocfs");
    add(
        "floor",
        "meminfo",
        Server::start(|dir| command(this.as_os_str(), &["--serve-floor"], dir), "meminfo"),
    );
    add(
        "reads",
        "meminfo",
        Server::start(|dir| command(this.as_os_str(), &["--serve-reads"], dir), "meminfo"),
    );
    add(
        "cgprocfs",
        // Not at the anchor, where the kernel's own file is before the daemon serves.
        "live/proc/meminfo",
        Server::start(|dir| command(OsStr::new(ours), &["mount"], dir), "live/proc/meminfo"),
    );
    if let Some(before) = std::env::var_os("CGPROCFS_OTHER_BUILD") {
        let start = |dir: &Path| command(&before, &["mount"], dir);
        add(BEFORE, "live/proc/meminfo", Server::start(start, "live/proc/meminfo"));
    }
    add(
        "lxcfs",
        "proc/meminfo",
        Server::start(|dir| command(OsStr::new("lxcfs"), &["-f", "--enable-loadavg"], dir), "proc/meminfo"),
    );
    subjects
}
