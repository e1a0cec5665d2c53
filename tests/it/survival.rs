//! What readers see when the daemon dies, is replaced, or hangs: nothing.

mod crashes;
mod hangs;
mod takeover;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Deadline};
use crate::common::load::LIMIT;
use crate::common::{Busy, field, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    [crashes::tests(), hangs::tests(), takeover::tests()].into_iter().flatten().collect()
}

/// What no reader waits longer than for another daemon.
fn assert_short(longest: Duration, busy: Busy) {
    let bound = busy.stretches(Duration::from_secs(1));
    assert!(longest < bound, "a read took {longest:?}, longer than {bound:?}");
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// A supervised daemon that can be made to hang, the directory with its faults, and what ends a test that
/// does.
fn faulty() -> (tempfile::TempDir, Daemon, Deadline) {
    let faults = tempfile::tempdir().unwrap();
    let path = faults.path().to_str().unwrap();
    let daemon = Daemon::start_with(&[], &["--supervise"], &[("CGPROCFS_FAULTS", path)]);
    let deadline = Deadline::new(&daemon);
    (faults, daemon, deadline)
}

/// Ends the hanging in any case: who waits for an answer can't be killed.
struct Hang(std::path::PathBuf);

impl Hang {
    fn new(faults: &tempfile::TempDir) -> Self {
        let path = faults.path().join("hang");
        fs::write(&path, "").unwrap();
        Self(path)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Waits until a request was fetched that is not answered.
fn wait_for_hanging(faults: &tempfile::TempDir) {
    wait_until("a request hangs", || faults.path().join("hanging").exists());
}

/// A reader that is the only one that something happens to.
struct Reader(Child, Cgroup);

impl Reader {
    fn new(path: &str) -> Self {
        let cgroup = Cgroup::new().limit(LIMIT);
        let mut command = cgroup.command(&["sh", "-c", "read go; exec cat \"$0\"", path]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap(), cgroup)
    }

    /// Has `fault` happen to whatever it reads.
    fn has(&self, faults: &tempfile::TempDir, fault: &str) {
        fs::write(faults.path().join(fault), self.0.id().to_string()).unwrap();
    }

    fn go(&mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until it was told of that error.
    fn ends_with(self, error: &str) {
        let output = self.0.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(error), "{}: {said}", output.status);
    }
}

const POISONED: &str = "Input/output error";

fn is_served(daemon: &Daemon) {
    let text = fs::read_to_string(daemon.meminfo()).unwrap();
    assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
}
