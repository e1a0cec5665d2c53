//! `cgprocfs run`: one command that sees its own memory.

use super::cpu_view::CpuViewArgument;
use super::failure::Failure;
use super::views::ViewsArgument;
use crate::run::{Options, run as run_program};
use cgprocfs_core::units::{Bytes, MilliCpus};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// Run a program in a cgroup of its own, where it sees its own numbers, and report what it used
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Limit on its memory, such as 256M
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Limit on its processor time, in processors, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = processors)]
    cpus: Option<MilliCpus>,
    #[command(flatten)]
    cpu_view: CpuViewArgument,
    #[command(flatten)]
    views: ViewsArgument,
    /// Leave sysinfo(2) and sched_getaffinity(2) to the kernel, which answers with the host's numbers
    #[arg(long)]
    no_syscalls: bool,
    /// Print the numbers this often while it runs, such as 400ms
    #[arg(long, value_name = "TIME", value_parser = interval)]
    refresh: Option<Duration>,
    /// Print samples and report as JSON on stderr, one object per line
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
        cpus: arguments.cpus,
        cpu_view: arguments.cpu_view.get(),
        views: arguments.views.get(),
        syscalls: !arguments.no_syscalls,
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

/// Thousandths of a processor. The kernel takes no quota below 1 ms of its period of 100.
fn processors(text: &str) -> Result<MilliCpus, String> {
    const MAX: u64 = 1 << 20;
    let error = || "write 0.01 to 1048.576, with at most three decimals, such as 1.5".to_string();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || part.len() > 3 || !is_number(whole) || !is_number(part) {
        return Err(error());
    }
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| error())?;
    let milli = whole.checked_mul(1000).and_then(|whole| whole.checked_add(part)).ok_or_else(error)?;
    if (10..=MAX).contains(&milli) { Ok(MilliCpus::new(milli)) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_people_write() {
        for (text, milli) in [("1.5", 1500), ("2", 2000), ("0.01", 10), ("1.25", 1250), ("3.", 3000)] {
            assert_eq!(processors(text), Ok(MilliCpus::new(milli)));
        }
        for text in ["", ".5", "0", "0.001", "-1", "1e3", "1.2345", "99999999999999999999", "two"] {
            assert!(processors(text).is_err(), "{text}");
        }
    }
}
