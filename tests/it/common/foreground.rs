//! A daemon that a test starts by itself, and its end.

use super::daemon::unmount;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

/// A daemon that a test starts in its own way; whatever happens, it is ended, and what it mounted is
/// unmounted.
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

    /// Prints whether it still runs, in which call each of its threads and its children's is, and what is
    /// mounted: a test that fails once in a thousand runs is told apart from others by that.
    fn say_what_it_does(&mut self) {
        let script = "grep -F \" $0\" /proc/self/mountinfo
            for pid in $1 $(cat /proc/$1/task/*/children); do
                for thread in /proc/$pid/task/*; do
                    echo $pid: $(cat $thread/comm $thread/wchan)
                done
            done";
        let (directory, pid) = (&self.directory, self.process.id().to_string());
        let doing = Command::new("sh").args(["-c", script]).arg(directory).arg(pid).output();
        let doing = doing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        eprintln!("{}: {:?}\n{}", directory.display(), self.process.try_wait(), doing.unwrap_or_default());
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.say_what_it_does();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let (true, Some(mut stderr)) = (std::thread::panicking(), self.process.stderr.take()) {
            let _ = std::io::copy(&mut stderr, &mut std::io::stderr());
        }
        unmount(&self.directory);
    }
}
