//! `cgprocfs hook`: what a container's runtime runs.

use crate::containers::hook::{self, HOOK_TIMEOUT};
use std::io::stdin;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

/// The name of the subcommand.
pub(super) const NAME: &str = "hook";

/// Mount views that runc does not, in the container that an OCI runtime describes on stdin
///
/// For the runtime's hook `createContainer`; the devices that `cgprocfs cdi` describes have it. It ends with
/// 0 whatever happens, because a hook that fails keeps the container from starting.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the daemon mounts
    directory: PathBuf,
    /// The views, by the names of their devices
    views: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let watch = thread::Builder::new().spawn(|| {
        thread::sleep(HOOK_TIMEOUT);
        std::process::exit(0);
    });
    if watch.is_ok() {
        match hook::run(&arguments.directory, &arguments.views, stdin()) {
            Ok(failed) => failed.iter().for_each(|error| log::debug!("{error}")),
            Err(error) => log::debug!("{error}"),
        }
    }
    ExitCode::SUCCESS
}
