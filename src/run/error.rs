//! Why a program was not run.

use crate::kernel::CgroupMountsError;
use crate::lifecycle::ConnectionError;
use crate::mount::MountError;
use std::io;

/// Why the program did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("only root can make a cgroup and a mount namespace")]
    NotRoot,
    #[error("{0}: program not found")]
    NotFound(String),
    #[error("{0}: cannot be executed: {1}")]
    NotExecutable(String, io::Error),
    #[error("cannot start {0}: {1}")]
    NotStarted(String, io::Error),
    #[error("cannot {what} cgroup {path}: {source}")]
    Cgroup { what: &'static str, path: String, source: io::Error },
    #[error("cannot enable the {controller} controller in cgroup {path}: {source}")]
    Enable { controller: &'static str, path: String, source: io::Error },
    #[error("no cgroup hierarchy here has the cpu controller")]
    NoCpuController,
    #[error("cannot prepare the program's mounts: {0}")]
    Mounts(#[from] NamespaceError),
    #[error(transparent)]
    CgroupMounts(#[from] CgroupMountsError),
    #[error(transparent)]
    Serve(#[from] crate::error::Error),
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl RunError {
    /// The exit code that a shell would give.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(..) => 126,
            _ => 1,
        }
    }
}

/// Why the program has no mount namespace with the views in it.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("{0}: {1}")]
    System(String, io::Error),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Serve(io::Error),
    #[error("the thread for it failed")]
    Panic,
}
