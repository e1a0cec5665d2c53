//! The command line as a whole: parses it, runs a subcommand, and says how that went.

use super::failure::Failure;
use super::{
    answer, attach, capture, cdi, config, doctor, generate, hint, hook, logging, lxcfs, mount, run,
    seccomp_profile, show, status, unmount, usage, views,
};
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
    Status(status::Arguments),
    Doctor(doctor::Arguments),
    Attach(attach::Arguments),
    Detach(attach::DetachArguments),
    Cdi(cdi::Arguments),
    Config(config::Arguments),
    Answer(answer::Arguments),
    SeccompProfile(seccomp_profile::Arguments),
    #[command(name = hook::NAME)]
    Hook(hook::Arguments),
    #[command(name = lxcfs::NAME, hide = true)]
    Lxcfs(lxcfs::Arguments),
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
    /// What asks the daemon for `status`
    #[command(name = crate::diagnosis::status::COMMAND, hide = true)]
    PrintStatus {
        /// Where it is mounted
        live: PathBuf,
    },
    /// What mounts for `mount`
    #[command(name = crate::lifecycle::steward::COMMAND, hide = true)]
    KeepMounts {
        /// The directory that the anchors are in
        directory: PathBuf,
        /// The views to mount there
        #[arg(value_parser = views::named)]
        views: Vec<cgprocfs_core::view::ViewId>,
    },
}

/// Parses the command line, runs the command, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = usage::explain(&error, Arguments::command());
            // A runtime was told to run it by another version perhaps, and a hook that fails stops the
            // container.
            let is_hook = std::env::args_os().nth(1).is_some_and(|command| command == hook::NAME);
            return if is_hook { ExitCode::SUCCESS } else { code };
        }
    };
    logging::start();
    let done = match arguments.command {
        Command::Mount(arguments) => mount::run(&arguments),
        Command::Unmount(arguments) => unmount::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Capture(arguments) => capture::run(&arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Attach(arguments) => attach::run(&arguments),
        Command::Detach(arguments) => attach::run_detach(&arguments),
        Command::Cdi(arguments) => cdi::run(&arguments),
        Command::Answer(arguments) => answer::run(&arguments),
        Command::SeccompProfile(arguments) => seccomp_profile::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Hook(arguments) => Ok(hook::run(&arguments)),
        Command::Lxcfs(arguments) => lxcfs::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments, Arguments::command()),
        Command::CleanUp { cgroups } => clean_up(&cgroups),
        Command::ReadNamespaces => helper(crate::confinement::namespace_reader::answer_stdin()),
        Command::PrintStatus { live } => Ok(ExitCode::from(crate::diagnosis::status::print(&live))),
        Command::KeepMounts { directory, views } => {
            helper(crate::lifecycle::steward::serve_stdin(&directory, &views))
        }
    };
    done.unwrap_or_else(|failure| {
        eprintln!("cgprocfs: {}", hint::line(&failure));
        ExitCode::from(failure.exit_code())
    })
}

/// Parses the command line, which is that of lxcfs if the program was called so.
fn parse() -> Result<Arguments, clap::Error> {
    match lxcfs::is_called_so() {
        true => {
            lxcfs::Arguments::try_parse().map(|arguments| Arguments { command: Command::Lxcfs(arguments) })
        }
        false => Arguments::try_parse(),
    }
}

fn helper(ended: std::io::Result<()>) -> Result<ExitCode, Failure> {
    ended.map_err(|e| {
        let hint = hint::of_system(&e).map(|hint| format!("{hint}; ")).unwrap_or_default();
        Failure::Other(format!("cannot serve the daemon: {e}; {hint}start cgprocfs again"))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn clean_up(cgroups: &[PathBuf]) -> Result<ExitCode, Failure> {
    crate::run::clean_up_after_stdin(cgroups).map_err(|e| {
        let shown: Vec<_> = cgroups.iter().map(|cgroup| cgroup.display().to_string()).collect();
        Failure::Other(format!("cannot remove cgroup {}: {e}; use rmdir", shown.join(" ")))
    })?;
    Ok(ExitCode::SUCCESS)
}
