//! `cgprocfs doctor`: what is in the way of containers that should have their own files.

use super::failure::Failure;
use super::status::print;
use crate::containers::bind::DIRECTORY;
use crate::diagnosis::finding::Severity;
use crate::diagnosis::findings;
use crate::diagnosis::status::MountStatus;
use std::path::PathBuf;
use std::process::ExitCode;

/// Look for what keeps containers from having their own files, and say what to do about it
///
/// Each finding is a line. The exit code is 0 if nothing has to be done, 1 if something should be, and 2 if containers read what is
/// wrong, get errors, or wait.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the daemon mounts
    #[arg(default_value = DIRECTORY)]
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    super::attach::require_root("look into containers")?;
    let findings = findings::of_host(&MountStatus::of(&arguments.directory));
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n",
        false if findings.is_empty() => "nothing was found\n".into(),
        false => findings.iter().map(|finding| format!("{finding}\n")).collect(),
    };
    print(&text)?;
    Ok(match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => ExitCode::from(2),
        Some(Severity::Warning) => ExitCode::from(1),
        Some(Severity::Note) | None => ExitCode::SUCCESS,
    })
}
