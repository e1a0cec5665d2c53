//! The events that the daemon waits for, and its errors.

use crate::confinement::sandbox::SandboxError;
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

/// An event that the daemon waits for.
pub enum Event {
    /// The daemon is to end. On SIGTERM it leaves the connection to the descriptor store, on SIGUSR1 to
    /// systemd's; SIGUSR2 does nothing.
    Signal(Signal),
    /// The connection is over.
    Ended(io::Result<()>),
    /// Another process was given the connection. If this one goes on serving after all, it drops the sender.
    Given(UnixStream, Sender<()>),
}

/// Why the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("cannot serve {0}: {1}")]
    Serve(PathBuf, io::Error),
    #[error("the connection to the kernel failed: {0}")]
    Connection(io::Error),
    #[error(
        "the connection to the kernel failed soon after the start, so that the next start has to wait: {0}"
    )]
    EarlyLoss(io::Error),
    #[error("cannot unmount {0}: {1}")]
    Unmount(PathBuf, io::Error),
    #[error("cannot leave the connection to {0}: {1}")]
    Keep(&'static str, io::Error),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
