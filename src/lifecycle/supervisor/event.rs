//! The events that the supervisor waits for, and its errors.

use crate::lifecycle::control::Message;
use nix::sys::signal::Signal;
use std::io;

/// An event that the supervisor waits for.
pub enum Event {
    /// A signal that this process got.
    Signal(Signal),
    /// A message from the child of that number, counted from 0. An error is its last, unless that says that
    /// the message makes no sense (`Unsupported`, `InvalidData`).
    Child(usize, io::Result<Message>),
}

/// Why there never was a child.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("cannot start {0}: {1}")]
    Start(String, io::Error),
}
