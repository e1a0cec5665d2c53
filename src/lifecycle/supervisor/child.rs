//! The process that serves.

use super::event::{Event, SupervisorError};
use crate::lifecycle::control;
use rustix::process::{Pid, Signal, kill_process};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::mpsc::Sender;
use std::thread;

/// A child that was started, and the socket that is its stdin.
pub(crate) struct Running {
    pub(crate) process: Child,
    pub(crate) socket: UnixStream,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Starts a child, whose messages become events.
pub(crate) fn start(
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
        let is_last = message.is_err();
        if sender.send(Event::Child(number, message)).is_err() || is_last {
            break;
        }
    };
    // Before the child, which would be nobody's if there could be no thread. Without a child it ends at once.
    thread::Builder::new().name("child".into()).spawn(listen).map_err(|e| failed(&command, e))?;
    let process = command.stdin(OwnedFd::from(theirs)).spawn().map_err(|e| failed(&command, e))?;
    Ok(Running { process, socket: ours })
}
