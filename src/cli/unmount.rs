//! `cgprocfs unmount`: containers get the kernel's own files.

use super::failure::Failure;
use super::systemd;
use crate::lifecycle::FailureRecord;
use crate::mount::Anchors;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How long a daemon that still serves may take to answer requests that were made before.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

/// Give containers the kernel's own files and unmount, even if no daemon runs
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The directory that the daemon was started with
    #[arg(default_value = "/run/cgprocfs")]
    directory: PathBuf,
    /// Remove the anchors too: containers find nothing to bind until the daemon is started again, and those
    /// that run keep the kernel's own files until they are started again
    #[arg(long)]
    anchors: bool,
    /// Only if the connection is lost, or systemd stops this unit and does not start it again
    #[arg(long, value_name = "UNIT", help_heading = systemd::HELP_HEADING, conflicts_with = "anchors")]
    unless_restarted: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let directory = std::path::absolute(&arguments.directory);
    let directory =
        directory.map_err(|e| Failure::Other(format!("no current directory: {e}; give an absolute path")))?;
    let directory: PathBuf = directory.components().collect();
    let Some(anchors) = Anchors::at(&directory).or_else(|| Anchors::of_tree(&directory)) else {
        return match arguments.unless_restarted {
            Some(_) => Ok(ExitCode::SUCCESS),
            None => Err(Failure::Other(format!(
                "no cgprocfs is at {}; name the directory that the daemon was started with",
                directory.display()
            ))),
        };
    };
    let failures = FailureRecord::of(anchors.directory());
    match &arguments.unless_restarted {
        Some(unit) if systemd::stops(unit) => failures.clear(),
        Some(unit) if systemd::keeps_connection(unit) => {
            if systemd::has_failed() {
                failures.add();
            }
            if !failures.has_too_many() {
                return Ok(ExitCode::SUCCESS);
            }
            log::error!(
                "the daemon fails again and again, and its log says why; containers have the kernel's own files"
            );
        }
        // The connection is lost.
        Some(_) => {}
        None => failures.clear(),
    }
    let failed = |e| Failure::Other(format!("cannot unmount {}: {e}; see `dmesg`", directory.display()));
    let views = anchors.views();
    anchors.fall_back().map_err(failed)?;
    if anchors.is_mounted() {
        thread::sleep(ANSWER_TIMEOUT);
        if !arguments.anchors && !anchors.are_bound() {
            anchors.unmount_views(&views).map_err(failed)?;
        }
        anchors.abort().map_err(failed)?;
    }
    if arguments.anchors {
        anchors.remove().map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}
