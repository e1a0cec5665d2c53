//! Operation the supervisor waits for, and why it can't.

use crate::lifecycle::control::Message;
use nix::sys::signal::Signal;
use std::io;

/// Operation the supervisor waits for.
pub enum Event {
    /// Somebody wants something.
    Signal(Signal),
    /// From the child of that number, counted from 0; an error is its last.
    Child(usize, io::Result<Message>),
}

/// Why there never was a child.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SupervisorError {
    #[error("cannot start {0}: {1}")]
    Start(String, io::Error),
}
