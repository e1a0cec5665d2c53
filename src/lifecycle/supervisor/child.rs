//! The child process, which serves.

use super::event::{Event, SupervisorError};
use crate::lifecycle::control;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::mpsc::Sender;
use std::thread;

/// A child that was started, and the socket that is its stdin.
pub(super) struct Running {
    pub(super) process: Child,
    pub(super) socket: UnixStream,
}

impl Running {
    pub(super) fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            // It may be gone already.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Starts a child, whose messages become events with its number.
pub(super) fn start(
    mut command: Command,
    number: usize,
    sender: &Sender<Event>,
) -> Result<Running, SupervisorError> {
    let failed = |command: &Command, error| {
        SupervisorError::Start(command.get_program().to_string_lossy().into_owned(), error)
    };
    let (ours, theirs) = UnixStream::pair().map_err(|e| failed(&command, e))?;
    let listening = ours.try_clone().map_err(|e| failed(&command, e))?;
    let sender = sender.clone();
    let listen = move || loop {
        let message = control::receive(&listening);
        let goes_on = [ErrorKind::Unsupported, ErrorKind::InvalidData];
        let is_last = message.as_ref().is_err_and(|error| !goes_on.contains(&error.kind()));
        if sender.send(Event::Child(number, message)).is_err() || is_last {
            break;
        }
    };
    // Before the child: nobody would look after that if there could be no thread. Without a child the thread
    // ends at once.
    thread::Builder::new().name("child".into()).spawn(listen).map_err(|e| failed(&command, e))?;
    let process = command.stdin(OwnedFd::from(theirs)).spawn().map_err(|e| failed(&command, e))?;
    Ok(Running { process, socket: ours })
}
