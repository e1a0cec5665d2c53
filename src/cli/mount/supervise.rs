//! `cgprocfs mount --supervise`: the process that keeps the mount.

use super::arguments::{Arguments, VARIABLES};
use crate::cli::failure::Failure;
use crate::cli::signals::{block_signals, forward_signals};
use crate::kernel::CpuView;
use crate::lifecycle::supervisor;
use crate::mount::Lock;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::mpsc;

pub(super) fn supervise(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (sender, events) = mpsc::channel();
    let signals = sender.clone();
    forward_signals(block_signals()?, move |signal| signals.send(supervisor::Event::Signal(signal)).is_ok())?;
    let directory = arguments.anchors()?;
    let lock = if arguments.takeover {
        // The daemon that is replaced holds it.
        None
    } else {
        let lock = Lock::take(&directory)?;
        crate::mount::refuse_served(&directory)?;
        Some(lock)
    };
    let program = std::env::current_exe()
        .map_err(|e| Failure::Other(format!("cannot find this program: {e}; start it by its path")))?;
    let tree = arguments.tree()?;
    let child = |is_first: bool| {
        let mut command = Command::new(&program);
        // It may be installed under the name of lxcfs, too.
        command.arg0("cgprocfs").args(["mount", "--supervised"]);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        match &tree {
            Some(tree) => {
                command.args(["--layout", arguments.layout.name(), "--runtime-dir"]).arg(&directory).arg(tree)
            }
            None => command.arg(&directory),
        };
        // Only what is not the default: an older version, which may be started, has no such option.
        if arguments.cpu_view.get() != CpuView::default() {
            command.args(["--cpu-view", arguments.cpu_view.name()]);
        }
        if let Some(views) = arguments.views.value() {
            command.args(["--views", &views]);
        }
        if arguments.triggers {
            command.arg("--triggers");
        }
        if arguments.takeover && is_first {
            command.arg("--takeover");
        }
        command
    };
    let code = supervisor::supervise(&directory, lock, child, &events, &sender);
    Ok(code.map(ExitCode::from)?)
}
