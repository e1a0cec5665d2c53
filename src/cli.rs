//! The command line: one file a command.

mod capture;
mod generate;
mod logging;
mod mount;
mod run;
mod show;
mod systemd;
mod unmount;
mod views;

use crate::kernel::CpuView;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows containers their own /proc files, and Kubernetes' working set, computed from the cgroup of whoever
/// reads them.
#[derive(Parser)]
#[command(name = "cgprocfs", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Mount(mount::Arguments),
    Unmount(unmount::Arguments),
    Show(show::Arguments),
    Capture(capture::Arguments),
    Run(run::Arguments),
    #[command(hide = true)]
    Generate(generate::Arguments),
    /// What `run` leaves behind to clean up after it
    #[command(name = crate::run::JANITOR, hide = true)]
    CleanUp {
        /// The cgroups to remove
        cgroups: Vec<PathBuf>,
    },
    /// What looks into namespaces for `mount`
    #[command(name = crate::confinement::namespace_reader::COMMAND, hide = true)]
    ReadNamespaces,
    /// What mounts for `mount`
    #[command(name = crate::lifecycle::steward::COMMAND, hide = true)]
    KeepMounts {
        /// Of the anchors
        directory: PathBuf,
        /// The views to lay there
        #[arg(value_parser = views::named)]
        views: Vec<cgprocfs_core::view::ViewId>,
    },
}

/// Where `--help` lists what only a unit has a use for.
const OF_UNIT: &str = "Used by the systemd unit";

/// An option of every command that computes views.
#[derive(Clone, Copy, clap::Args)]
struct CpuViewArgument {
    /// Which limits reduce the number of processors that a container sees
    #[arg(long, value_enum, default_value_t)]
    cpu_view: CpuViewName,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum CpuViewName {
    /// Its cpuset and its CPU bandwidth (cpu.max)
    #[default]
    Quota,
    /// Its cpuset only
    Cpuset,
}

impl CpuViewArgument {
    const fn get(self) -> CpuView {
        match self.cpu_view {
            CpuViewName::Quota => CpuView::Quota,
            CpuViewName::Cpuset => CpuView::Cpuset,
        }
    }

    /// As it is written on the command line.
    const fn name(self) -> &'static str {
        match self.cpu_view {
            CpuViewName::Quota => "quota",
            CpuViewName::Cpuset => "cpuset",
        }
    }
}

/// What ends a command early, in one line for a person.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    CgroupMounts(#[from] crate::kernel::CgroupMountsError),
    #[error(transparent)]
    Mount(#[from] crate::mount::MountError),
    #[error(transparent)]
    Daemon(#[from] crate::lifecycle::daemon::DaemonError),
    #[error(transparent)]
    Serve(#[from] crate::error::Error),
    #[error(transparent)]
    Capture(#[from] crate::capture::CaptureError),
    #[error(transparent)]
    Run(#[from] crate::run::RunError),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Parses the command line, runs the command, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    logging::start();
    let done = match arguments.command {
        Command::Mount(arguments) => mount::run(&arguments),
        Command::Unmount(arguments) => unmount::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Capture(arguments) => capture::run(&arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Generate(arguments) => generate::run(&arguments, Arguments::command()),
        Command::CleanUp { cgroups } => clean_up(&cgroups),
        Command::ReadNamespaces => helper(crate::confinement::namespace_reader::answer_stdin()),
        Command::KeepMounts { directory, views } => {
            helper(crate::lifecycle::steward::serve_stdin(&directory, &views))
        }
    };
    done.unwrap_or_else(|failure| {
        eprintln!("cgprocfs: {failure}");
        ExitCode::from(failure.exit_code())
    })
}

fn helper(ended: std::io::Result<()>) -> Result<ExitCode, Failure> {
    ended.map_err(|e| Failure::Other(format!("cannot serve the daemon: {e}; start cgprocfs again")))?;
    Ok(ExitCode::SUCCESS)
}

fn clean_up(cgroups: &[PathBuf]) -> Result<ExitCode, Failure> {
    crate::run::clean_up_after_stdin(cgroups).map_err(|e| {
        let shown: Vec<_> = cgroups.iter().map(|cgroup| cgroup.display().to_string()).collect();
        Failure::Other(format!("cannot remove cgroup {}: {e}; use rmdir", shown.join(" ")))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Help and version go to whoever asked for them; a mistake is one line and exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody is left to tell if that fails.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let what = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => "a command is missing".to_string(),
        // Their names are on the lines that follow.
        (ErrorKind::MissingRequiredArgument, Some(missing)) => format!("missing: {missing}"),
        _ => first.trim_start_matches("error: ").to_string(),
    };
    let command = std::env::args().nth(1).filter(|word| Arguments::command().find_subcommand(word).is_some());
    let meant = meant(error).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let of_command = command.map(|command| format!(" {command}")).unwrap_or_default();
    eprintln!("cgprocfs: {what}{meant}; see `cgprocfs{of_command} --help`");
    ExitCode::from(2)
}

/// What is written almost like that.
fn meant(error: &clap::Error) -> Option<String> {
    let program = Arguments::command();
    let is_shown =
        |name: &&String| program.find_subcommand(name).is_none_or(|command| !command.is_hide_set());
    [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| match error.get(kind)? {
            ContextValue::String(name) => Some(name).filter(is_shown).cloned(),
            ContextValue::Strings(names) => names.iter().find(is_shown).cloned(),
            _ => None,
        })
}
