//! `cgprocfs seccomp-profile`: a profile by which runtimes have system calls answered.

use super::failure::Failure;
use crate::containers::seccomp_profile::{PODMANS, SOCKET, with_answers};
use crate::syscalls::Call;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print a seccomp profile by which `cgprocfs answer` answers containers' sysinfo(2), for podman, docker and
/// other OCI runtimes; it is another one otherwise unchanged
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The profile to begin with; by default the one of podman's package
    #[arg(long, value_name = "FILE", default_value = PODMANS)]
    base: PathBuf,
    /// Have sched_getaffinity(2) answered, too, so that nproc and Go see the limit on processors
    #[arg(long)]
    affinity: bool,
    /// Where `cgprocfs answer` listens
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { base, affinity, socket } = arguments;
    let name = base.display();
    let text = fs::read(base).map_err(|e| {
        Failure::Other(format!("cannot read {name}: {e}; name your runtime's profile by --base"))
    })?;
    let parsed = serde_json::from_slice(&text).map_err(|e| {
        Failure::Other(format!("{name} is no JSON: {e}; name your runtime's profile by --base"))
    })?;
    let calls: &[Call] = if *affinity { &[Call::SysInfo, Call::GetAffinity] } else { &[Call::SysInfo] };
    let profile = with_answers(parsed, calls, socket)
        .map_err(|e| Failure::Other(format!("{name} cannot be the base: {e}; name another by --base")))?;
    let text = serde_json::to_string_pretty(&profile).unwrap_or_default() + "\n";
    io::stdout().write_all(text.as_bytes()).map_err(|e| Failure::Other(format!("cannot print: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
