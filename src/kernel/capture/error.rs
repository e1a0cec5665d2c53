//! Why there is no copy.

use crate::error::Error;
use std::io;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The reader or its cgroup can't be read.
    #[error(transparent)]
    Read(#[from] Error),
    /// The copy can't be written.
    #[error("cannot write {0}: {1}")]
    Write(String, io::Error),
}
