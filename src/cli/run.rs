//! `cgprocfs run`: one command that sees its own memory.

use super::Failure;
use crate::bytes::Bytes;
use crate::run::{Options, run as run_program};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// Run a program in a cgroup of its own in which it sees its own memory, and report what it used
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Limit its memory, for example to 256M
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Print the numbers this often while it runs, for example every 400ms
    #[arg(long, value_name = "TIME", value_parser = interval)]
    refresh: Option<Duration>,
    /// Print samples and report as JSON, an object a line
    #[arg(long)]
    json: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut command = arguments.command.into_iter();
    let options = Options {
        memory: arguments.memory,
        refresh: arguments.refresh,
        json: arguments.json,
        program: command.next().unwrap_or_default(),
        arguments: command.collect(),
    };
    Ok(ExitCode::from(run_program(options)?))
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) | Err(_) => Err("not a time: write for example 400ms or 2s".into()),
        Ok(interval) => Ok(interval),
    }
}
