//! A running daemon that is stopped, whatever happens, when it goes out of scope.

mod usage;

use super::{cgprocfs_path, wait_until};
use nix::mount::{MntFlags, umount2};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Daemon {
    process: Child,
    dir: Arc<Home>,
    log: Arc<Mutex<String>>,
}

/// The directory that a daemon is started with, in one where only root can make files, as beside
/// /run/cgprocfs.
struct Home {
    /// Removed with it.
    _above: TempDir,
    directory: PathBuf,
}

impl Home {
    fn new() -> Arc<Self> {
        let above = tempfile::Builder::new().prefix("cgprocfs-test-").tempdir().unwrap();
        // Readers that are not root go through it.
        std::fs::set_permissions(above.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let directory = above.path().join("anchors");
        std::fs::create_dir(&directory).unwrap();
        Arc::new(Self { _above: above, directory })
    }

    fn path(&self) -> &std::path::Path {
        &self.directory
    }
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_by(&[])
    }

    /// Starts it by another program, such as `unshare --pid --fork`.
    pub fn start_by(launcher: &[&str]) -> Self {
        Self::start_with(launcher, &[], &[])
    }

    /// Starts it with options, and variables in its environment.
    pub fn start_with(launcher: &[&str], options: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_at(&cgprocfs_path(), Home::new(), launcher, options, environment)
    }

    /// Another one that takes its mount over; returns when this one has ended in order.
    pub fn taken_over(self) -> Self {
        self.taken_over_with(&[])
    }

    /// The same with more options.
    pub fn taken_over_with(mut self, options: &[&str]) -> Self {
        let options = [&["--takeover"], options].concat();
        let successor = Self::start_at(&cgprocfs_path(), Arc::clone(&self.dir), &[], &options, &[]);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
        successor
    }

    /// Another one with more options that takes its mount over, which is served by what this one has left
    /// behind.
    pub fn taken_over_from_orphan(self, options: &[&str]) -> Self {
        let options = [&["--takeover"], options].concat();
        Self::start_at(&cgprocfs_path(), Arc::clone(&self.dir), &[], &options, &[])
    }

    /// Another one in the same directory, once this one has ended.
    pub fn again(self) -> Self {
        self.again_with(&[])
    }

    /// The same with options.
    pub fn again_with(self, options: &[&str]) -> Self {
        Self::start_at(&cgprocfs_path(), Arc::clone(&self.dir), &[], options, &[])
    }

    /// The same with variables in its environment.
    pub fn again_with_environment(self, environment: &[(&str, &str)]) -> Self {
        Self::start_at(&cgprocfs_path(), Arc::clone(&self.dir), &[], &[], environment)
    }

    /// Starts another program that is one.
    pub fn start_program(program: &std::path::Path, options: &[&str]) -> Self {
        Self::start_at(program, Home::new(), &[], options, &[])
    }

    fn start_at(
        program: &std::path::Path,
        dir: Arc<Home>,
        launcher: &[&str],
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut words = launcher.iter().map(std::ffi::OsStr::new).chain([program.as_os_str()]);
        let mut process = Command::new(words.next().unwrap())
            .args(words)
            .arg("mount")
            .args(options)
            .arg(dir.path())
            .envs(environment.iter().copied())
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let collected = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *collected.lock().unwrap() += &format!("{line}\n");
            }
        });
        let mut daemon = Self { process, dir, log };
        wait_until("the daemon serves", || {
            if let Some(status) = daemon.process.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            daemon.log().contains("serving")
        });
        daemon
    }

    /// The anchor of a view.
    pub fn path(&self, view: &str) -> PathBuf {
        self.dir.path().join(view)
    }

    pub fn meminfo(&self) -> String {
        self.path("proc/meminfo").to_str().unwrap().to_string()
    }

    pub fn working_set(&self) -> String {
        self.path("working_set").to_str().unwrap().to_string()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The processes that it has started.
    pub fn children(&self) -> Vec<u32> {
        super::load::children(self.pid())
    }

    /// How many mounts of it this mount namespace has.
    pub fn mounts(&self) -> usize {
        let directory = self.directory().to_str().unwrap();
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        table
            .lines()
            .filter(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with(directory)))
            .count()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// The directory that it was started with, of the anchors.
    pub fn directory(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Where its file system is mounted.
    pub fn live(&self) -> PathBuf {
        self.dir.path().join("live")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the daemon ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn is_mounted(&self) -> bool {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        table.contains(&format!(" {} fuse", self.live().display()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.log());
        }
        // A stopped server would let whoever touches the mount wait for ever, this test included: it is
        // woken, asked, then killed, and what it leaves is unmounted, which never waits.
        let pid = Pid::from_raw(self.pid().try_into().unwrap_or(0));
        if let (Some(pid), Ok(None)) = (pid, self.process.try_wait()) {
            let _ = kill_process(pid, Signal::CONT);
            let _ = kill_process(pid, Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        if Arc::strong_count(&self.dir) > 1 {
            // Somebody else's by now.
            return;
        }
        let _ = std::fs::remove_file(cgprocfs::lifecycle::handover::socket_path(self.dir.path()));
        unmount(self.dir.path());
    }
}

/// Aborts a daemon's connection after a while, if this has not gone out of scope before: who waits for an
/// answer that never comes can't be killed.
pub struct Deadline(#[allow(dead_code)] Sender<()>);

impl Deadline {
    pub fn new(daemon: &Daemon) -> Self {
        let (alive, ended) = mpsc::channel();
        let live = daemon.live();
        std::thread::spawn(move || {
            if ended.recv_timeout(super::allowed(Duration::from_secs(100))) == Err(RecvTimeoutError::Timeout)
            {
                let _ = umount2(&live, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
            }
        });
        Self(alive)
    }
}

/// One whose mount is kept by a supervisor.
pub fn supervised() -> Daemon {
    Daemon::start_with(&[], &["--supervise"], &[])
}

/// The process that serves, once it does: not one of `before`.
pub fn server(daemon: &Daemon, before: &[u32]) -> u32 {
    let mut found = None;
    wait_until("a child serves", || {
        found = daemon.children().into_iter().find(|pid| !before.contains(pid));
        found.is_some()
    });
    found.unwrap()
}

/// Forced, for that gives up the connection: nobody waits for an answer any more.
pub(super) fn unmount(directory: &std::path::Path) {
    let flags = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    while umount2(&directory.join("live"), flags).is_ok() {}
    while umount2(directory, flags).is_ok() {}
}
