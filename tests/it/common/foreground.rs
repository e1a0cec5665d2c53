//! A daemon that a test starts by itself, and its end.

use super::daemon::unmount;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

/// A daemon that a test starts in its own way; whatever happens, it is ended, and what it mounted is unmounted.
pub struct Foreground {
    pub process: Child,
    directory: PathBuf,
}

impl Foreground {
    pub fn start(command: &mut Command, directory: &std::path::Path) -> Self {
        Self { process: command.spawn().unwrap(), directory: directory.canonicalize().unwrap() }
    }

    /// Asks it to end, and waits for that.
    pub fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_raw(self.process.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
        super::wait_for(&mut self.process)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        unmount(&self.directory);
    }
}
