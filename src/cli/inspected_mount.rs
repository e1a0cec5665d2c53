//! The mount that a command looks at from outside, and how it says what it sees.

use super::failure::Failure;
use super::root::require_root;
use crate::containers::bind::DIRECTORY;
use crate::diagnosis::status::MountStatus;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// The options of such a command.
#[derive(clap::Args)]
pub(super) struct InspectedMount {
    /// Where the daemon mounts
    #[arg(default_value = DIRECTORY)]
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl InspectedMount {
    /// How the mount is.
    pub(super) fn status(&self) -> Result<MountStatus, Failure> {
        require_root("look into containers")?;
        Ok(MountStatus::of(&self.directory))
    }

    /// Prints a value as JSON, or in words. Somebody may not want to read to the end.
    pub(super) fn print<T: Serialize>(
        &self,
        value: &T,
        in_words: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.json {
            true => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
            false => in_words(value),
        };
        match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Other(format!("cannot print: {error}")))
            }
            _ => Ok(()),
        }
    }
}
