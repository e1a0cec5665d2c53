//! Removes a cgroup and whoever is in it once the process that made it has ended, be it by SIGKILL.
//!
//! It is a process of its own, this program executed again, that waits for the end of a pipe whose other
//! end only that process holds. A run that ends as it should closes the pipe and waits: there is one way to
//! clean up.

use super::error::RunError;
use cgprocfs_core::parse::{decimal, lines};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The hidden command by which the janitor is started.
pub const COMMAND: &str = "clean-up-after-stdin";

/// How long killed processes may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A janitor that waits.
pub(super) struct Janitor {
    process: Child,
}

impl Janitor {
    pub(super) fn start(cgroups: &[PathBuf]) -> Result<Self, RunError> {
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .args(cgroups)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Keys that end the programs of a terminal do not end the janitor.
            .process_group(0)
            .spawn()
            .map_err(|e| RunError::System("cannot start the janitor", e))?;
        Ok(Self { process })
    }
}

/// Has everything removed, and waits until it is.
impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            log::warn!("cannot wait for the janitor: {error}");
        }
    }
}

/// The janitor's whole life: waits until stdin ends, then removes `cgroups` and kills whoever is in them.
///
/// # Errors
/// Where one can't be removed.
pub fn clean_up_after_stdin(cgroups: &[PathBuf]) -> io::Result<()> {
    let mut byte = [0];
    while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
    let deadline = Instant::now() + KILL_TIMEOUT;
    loop {
        match cgroups.iter().try_for_each(|cgroup| remove(cgroup)) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Kills the processes in a cgroup and in all below it, then removes it if they are gone already.
///
/// # Errors
/// The kernel's: EBUSY while processes are still ending, among others.
pub fn remove(cgroup: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(cgroup) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    // One write for all below, on cgroup v2 since Linux 5.14.
    let killed = fs::write(cgroup.join("cgroup.kill"), "1").is_ok();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    let processes = match fs::read(cgroup.join("cgroup.procs")) {
        _ if killed => Vec::new(),
        // A threaded cgroup of v2 names threads only, by each of which its process can be killed.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => fs::read(cgroup.join("cgroup.threads"))?,
        read => read?,
    };
    for pid in lines(&processes).into_iter().flatten() {
        let pid = decimal(pid).ok().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    fs::remove_dir(cgroup)
}
