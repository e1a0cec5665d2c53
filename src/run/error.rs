//! Why a program was not run.

use crate::kernel::CgroupMountsError;
use std::io;

/// Why the program did not run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    #[error("only root can make a cgroup and a mount namespace; run it as root")]
    NotRoot,
    #[error("{0}: program not found; check its name and PATH")]
    NotFound(String),
    #[error("{0}: cannot be executed: {1}; check its mode and format")]
    NotExecutable(String, io::Error),
    #[error("cannot start {0}: {1}; check the limits on processes and memory")]
    NotStarted(String, io::Error),
    #[error(
        "cannot {what} cgroup {path}: {source}; check that the hierarchy is writable and takes the value"
    )]
    Cgroup { what: &'static str, path: String, source: io::Error },
    #[error(
        "cannot enable the {controller} controller in cgroup {path}: {source}; check that the hierarchy is writable"
    )]
    Enable { controller: &'static str, path: String, source: io::Error },
    #[error("no cgroup hierarchy here has the cpu controller; mount one, or leave out --cpus")]
    NoCpuController,
    #[error("cannot prepare the program's mounts: {0}; check the capabilities of this process, and `dmesg`")]
    Mounts(String),
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
