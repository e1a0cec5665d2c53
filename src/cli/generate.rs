//! `cgprocfs generate`: manual pages and completions, for packages.

use super::failure::Failure;
use super::lxcfs;
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the manual pages, or the completions of all shells, into a directory
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What to write
    what: What,
    /// An existing directory
    directory: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// A page for the program, one for each command, and one for what it is in place of lxcfs
    Man,
    /// A file for each shell, by the name under which that looks for it
    Completions,
}

pub(super) fn run(arguments: &Arguments, program: Command) -> Result<ExitCode, Failure> {
    let directory = &arguments.directory;
    let written = match arguments.what {
        // `help` has no page of its own.
        What::Man => clap_mangen::generate_to(program.disable_help_subcommand(true), directory)
            .and_then(|()| clap_mangen::generate_to(lxcfs::Arguments::command(), directory)),
        What::Completions => completions(program, directory),
    };
    written.map_err(|e| {
        let directory = directory.display();
        Failure::Other(format!("cannot write to {directory}: {e}; name a directory that can be written to"))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn completions(mut program: Command, directory: &Path) -> std::io::Result<()> {
    fs::metadata(directory)?;
    let name = program.get_name().to_string();
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut program, &name, directory)?;
    }
    Ok(())
}
