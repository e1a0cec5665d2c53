//! What is left behind nowhere, however a benchmark ends: by itself, by a panic, or by a signal.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Removes cgroups, and whoever is in them, once it goes out of scope or this process has ended.
pub struct Janitor(Child);

impl Janitor {
    pub fn start(cgroups: &[PathBuf]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cgprocfs"));
        command.arg(cgprocfs::run::JANITOR).args(cgroups).stdin(Stdio::piped());
        // The keys that end this process do not end that one.
        Self(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Has all that is mounted from now on end with this process and those that it starts. To be called before
/// there is a thread.
pub fn keep_mounts_apart() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
}
