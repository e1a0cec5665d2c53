//! `cgprocfs config`: what a runtime's configuration has to say.

use super::failure::Failure;
use super::views::ViewsArgument;
use crate::containers::snippets::{Runtime, snippet};
use cgprocfs_core::view::ViewId;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Print what a container runtime has to be told to have the files in its containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The runtime
    runtime: Runtime,
    #[command(flatten)]
    views: ViewsArgument,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // No runtime starts a container with a file that is not there.
    let is_here = |view: &ViewId| {
        let path = Path::new("/").join(view.path());
        !path.starts_with("/proc") && !path.starts_with("/sys") || path.exists()
    };
    let views: Vec<_> = arguments.views.get().into_iter().filter(is_here).collect();
    let text = snippet(arguments.runtime, &views);
    io::stdout().write_all(text.as_bytes()).map_err(|e| Failure::Other(format!("cannot print: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
