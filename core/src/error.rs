//! Why a view has no text although the kernel's files were read.

use crate::parse::ParseError;

/// Why a view has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A part of the snapshot that a view needs was not loaded: a defect of this program.
    #[error("the snapshot lacks {0}; this is a defect, please report it")]
    NotLoaded(&'static str),
    /// A file of the kernel was loaded, and its text is malformed.
    #[error("cannot make sense of {0}: {1}; please report it with the file's content")]
    Malformed(&'static str, ParseError),
}
