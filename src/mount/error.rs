//! Errors of mounting.

use std::io;
use std::path::PathBuf;

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("only root can mount")]
    NotRoot,
    #[error("/dev/fuse is missing")]
    NoDevice,
    #[error("mount point {0} does not exist")]
    Missing(PathBuf),
    #[error("mount point {0} is not a directory")]
    NotADirectory(PathBuf),
    #[error("a FUSE file system is already mounted on {0}")]
    AlreadyMounted(PathBuf),
    #[error("{0} is served already, or its connection is kept for a daemon that starts again")]
    AlreadyServed(PathBuf),
    #[error("{0} belongs to, or can be changed by, a user other than root")]
    Forged(PathBuf),
    #[error("{0} mounts lie on one file in {1}, two for each connection that was lost")]
    TooDeep(usize, PathBuf),
    #[error("cannot mount on {path}: {source}")]
    Refused { path: PathBuf, source: io::Error },
}
