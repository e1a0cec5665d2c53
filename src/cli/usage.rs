//! What to say of a command line that is not understood.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::process::ExitCode;

/// Help and version go to whoever asked for them; a mistake is one line and exit code 2.
pub(super) fn explain(error: &clap::Error, program: Command) -> ExitCode {
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
    let command = std::env::args().nth(1).filter(|word| program.find_subcommand(word).is_some());
    let meant = meant(error, &program).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let of_command = command.map(|command| format!(" {command}")).unwrap_or_default();
    eprintln!("cgprocfs: {what}{meant}; see `cgprocfs{of_command} --help`");
    ExitCode::from(2)
}

/// The subcommand, option or value that is written almost like the one that nobody knows.
fn meant(error: &clap::Error, program: &Command) -> Option<String> {
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
