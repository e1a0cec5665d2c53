//! `cgprocfs capture`: what a wrong number was made from, to be looked at elsewhere.

use super::failure::Failure;
use crate::capture::capture;
use crate::kernel::Source;
use crate::process::own_pid;
use cgprocfs_core::parse::pid::Pid;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long to wait for a container that holds up whoever looks at it.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(60);

/// Copy just the files that the views of a process are made from, to report a wrong number; `show --root`
/// reads the copy
///
/// It has the numbers of the process's cgroup, of all above it and of the host, with the names of these
/// cgroups, and no command lines, names of programs or of other cgroups.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A new or empty directory
    directory: PathBuf,
    /// The process or thread; by default this one
    #[arg(long)]
    pid: Option<Pid>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let pid = super::show::process(arguments.pid)?.unwrap_or_else(own_pid);
    let source = Source::open(Path::new("/"), None)?;
    let (sender, answer) = mpsc::channel();
    let directory = arguments.directory.clone();
    // A process in the middle of an exec may keep this thread for as long as its tenant likes.
    let work = move || drop(sender.send(capture(&source, pid, &directory)));
    let started = thread::Builder::new().name("capture".into()).spawn(work);
    started.map_err(|e| Failure::Other(format!("cannot start a thread: {e}; raise the limit on tasks")))?;
    let left_out = answer.recv_timeout(CAPTURE_TIMEOUT).map_err(|_| {
        Failure::Other(format!(
            "process {pid} cannot be captured: its container keeps whoever looks at it; try again, or name another process of it"
        ))
    })??;
    super::show::say_left_out(&left_out);
    eprintln!(
        "cgprocfs: captured process {pid}; look at it with `cgprocfs show --root {}`",
        arguments.directory.display()
    );
    Ok(ExitCode::SUCCESS)
}
