//! Why there is no answer, though everything was read.

use crate::parse::ParseError;

/// Why a view has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A part of the snapshot that a view needs was not loaded: a defect of this program.
    #[error("the snapshot lacks {0}, which is a defect")]
    NotLoaded(&'static str),
    /// A text of the kernel's was loaded and made no sense.
    #[error("cannot make sense of {0}: {1}")]
    Malformed(&'static str, ParseError),
}
