//! Why there is no capture, or why one tells nothing.

use crate::error::Error;
use crate::kernel::CopyError;
use std::io;

/// Why there is no capture, or why one tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The directory has something in it already.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// The capture can't be written.
    #[error("cannot write {0}: {1}")]
    Write(String, #[source] io::Error),
    /// The reader can't be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Neither the capture nor the command line says which process reads.
    #[error("{0} does not say which process reads")]
    NoReader(String),
    /// The directory is no capture.
    #[error("{0} has no directory `proc`, nor one `root` that has")]
    NoTree(String),
    /// The capture lacks a file that an answer is made from.
    #[error("{0} lacks {1}")]
    Lacks(String, String),
    /// The capture is from a machine with pages of another size, in which the kernel counts.
    #[error("{0} is of a machine with pages of {1} bytes, and this one's have {2}")]
    OtherPages(String, usize, usize),
    /// A file of the capture makes no sense.
    #[error(transparent)]
    Read(Error),
}
