//! `cgprocfs doctor`: what is in the way of containers that should have their own files.

use super::failure::Failure;
use super::inspected_mount::InspectedMount;
use crate::diagnosis::finding::Severity;
use crate::diagnosis::findings;
use std::process::ExitCode;

/// Look for what keeps containers from having their own files, and say what to do about it
///
/// Each finding is a line. The exit code is 0 if nothing has to be done, 1 if something should be, and 2 if
/// containers read what is wrong, get errors, or wait.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    inspected: InspectedMount,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let findings = findings::of_host(&arguments.inspected.status()?);
    arguments.inspected.print(&findings, |findings| match findings.is_empty() {
        true => "nothing was found\n".into(),
        false => findings.iter().map(|finding| format!("{finding}\n")).collect(),
    })?;
    Ok(match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => ExitCode::from(2),
        Some(Severity::Warning) => ExitCode::from(1),
        Some(Severity::Note) | None => ExitCode::SUCCESS,
    })
}
