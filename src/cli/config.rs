//! `cgprocfs config`: what a runtime's configuration has to say.

use super::failure::Failure;
use super::views::ViewsArgument;
use crate::containers::snippets::{Runtime, snippet};
use std::io::{self, Write};
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
    let text = snippet(arguments.runtime, &arguments.views.get());
    io::stdout().write_all(text.as_bytes()).map_err(|e| Failure::Other(format!("cannot print: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
