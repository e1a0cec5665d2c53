//! The command line of `cgprocfs mount`.

use crate::cli::cpu_view::CpuViewArgument;
use crate::cli::failure::Failure;
use crate::cli::systemd;
use crate::cli::views::ViewsArgument;
use crate::mount::{MountError, Writes};
use clap::Parser;
use clap::builder::FalseyValueParser;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The variables that stand for options. Whoever is started by this process gets options instead.
pub(super) const VARIABLES: [&str; 7] =
    [SUPERVISE, TAKEOVER, TRIGGERS, LAYOUT, RUNTIME_DIR, "CGPROCFS_CPU_VIEW", "CGPROCFS_VIEWS"];
const SUPERVISE: &str = "CGPROCFS_SUPERVISE";
const TAKEOVER: &str = "CGPROCFS_TAKEOVER";
const TRIGGERS: &str = "CGPROCFS_TRIGGERS";
const LAYOUT: &str = "CGPROCFS_LAYOUT";
const RUNTIME_DIR: &str = "CGPROCFS_RUNTIME_DIR";

/// Mount the views in a directory and serve them until stopped
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// An existing directory, where containers find the views to bind
    #[arg(default_value = "/run/cgprocfs")]
    pub(super) directory: PathBuf,
    /// Keep the mount in a process that starts the daemon again whenever it ends; SIGHUP or SIGUSR1 replaces
    /// it
    #[arg(long, env = SUPERVISE, value_parser = FalseyValueParser::new(), group = "way")]
    pub(super) supervise: bool,
    /// Take the mount over from the daemon that serves it now
    #[arg(long, env = TAKEOVER, value_parser = FalseyValueParser::new())]
    pub(super) takeover: bool,
    /// Keep the mount in the descriptor store of the systemd unit, and resume it from there
    #[arg(long, group = "way", help_heading = systemd::HELP_HEADING)]
    pub(super) resume: bool,
    /// Mount, leave the mount to the descriptor store of this systemd unit unless it has one already, and
    /// exit: who then serves it needs no right to mount
    #[arg(long, value_name = "UNIT", group = "way", conflicts_with = "takeover", help_heading = systemd::HELP_HEADING)]
    pub(super) leave: Option<String>,
    /// Lay the chosen views, and no others, at the anchors of a daemon that serves already, and exit
    #[arg(long, group = "way", conflicts_with = "takeover", help_heading = systemd::HELP_HEADING)]
    pub(super) lay: bool,
    /// How the views are laid out in the directory
    #[arg(long, env = LAYOUT, value_enum, default_value_t)]
    pub(super) layout: Layout,
    /// Directory of the anchors with `--layout=lxcfs`: what containers bind from there falls back to the
    /// kernel's files
    #[arg(long, env = RUNTIME_DIR, value_name = "DIRECTORY", default_value = "/run/lxcfs")]
    pub(super) runtime_dir: PathBuf,
    #[command(flatten)]
    pub(super) cpu_view: CpuViewArgument,
    #[command(flatten)]
    pub(super) views: ViewsArgument,
    /// Let containers write pressure triggers to the files of proc/pressure, and poll them. The mount is then
    /// writable, and fstat(2) after a read of any view costs a request more
    #[arg(long, env = TRIGGERS, value_parser = FalseyValueParser::new())]
    pub(super) triggers: bool,
    /// Started by `--supervise`
    #[arg(long, group = "way", hide = true)]
    pub(super) supervised: bool,
}

/// What is in the directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Layout {
    /// Anchors, which stay whoever serves: without a daemon the kernel's own files are there
    #[default]
    Anchors,
    /// The file system itself, as lxcfs has it, of type fuse.lxcfs
    Lxcfs,
}

impl Layout {
    /// As it is written on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Anchors => "anchors",
            Self::Lxcfs => "lxcfs",
        }
    }
}

impl Arguments {
    /// What a command line says that consists of these words, the first of which is the command's name.
    pub(in crate::cli) fn of_words(words: Vec<OsString>) -> Result<Self, clap::Error> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: Arguments,
        }
        Line::try_parse_from(words).map(|line| line.arguments)
    }

    pub(super) const fn writes(&self) -> Writes {
        if self.triggers { Writes::Triggers } else { Writes::Nothing }
    }

    /// The directory of the anchors, by its real path.
    pub(super) fn anchors(&self) -> Result<PathBuf, Failure> {
        if self.layout == Layout::Lxcfs {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(&self.runtime_dir);
            made.map_err(|source| MountError::Refused { path: self.runtime_dir.clone(), source })?;
        }
        Ok(crate::mount::directory(&self.anchors_as_given())?)
    }

    /// The directory of the anchors as the user has written it, but for slashes and dots.
    pub(super) fn anchors_as_given(&self) -> PathBuf {
        let given = match self.layout {
            Layout::Anchors => &self.directory,
            Layout::Lxcfs => &self.runtime_dir,
        };
        std::path::absolute(given).map_or_else(|_| given.clone(), |absolute| absolute.components().collect())
    }

    /// Where the file system is mounted as a whole, if it is, by its real path.
    pub(super) fn tree(&self) -> Result<Option<PathBuf>, Failure> {
        let is_wanted = self.layout == Layout::Lxcfs;
        Ok(is_wanted.then(|| crate::mount::tree(&self.directory)).transpose()?)
    }
}
