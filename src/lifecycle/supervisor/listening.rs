//! Listens to a child until it is gone.

use super::child::Running;
use super::event::Event;
use super::kept_mount::KeptMount;
use crate::lifecycle::connection::Connection;
use crate::lifecycle::control::Message;
use nix::sys::signal::Signal;
use std::fmt::Display;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a child may say nothing before it counts as stuck.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a child.
#[derive(Default)]
pub(super) struct Heard {
    /// It said that it serves.
    pub(super) served: bool,
    /// It said that it has ended in order.
    pub(super) ended: bool,
    /// It was told to end. It may have had the same signal from elsewhere before, and have left the mount to
    /// another.
    pub(super) told_to_end: bool,
    /// It has served on a connection that could not be kept.
    pub(super) was_unkept: bool,
}

/// Passes signals on to a child, kills it when it is stuck, and keeps the connection that it sends, until it
/// is gone.
pub(super) fn listen(
    number: usize,
    child: &Running,
    events: &Receiver<Event>,
    mount: &mut KeptMount<'_>,
) -> Heard {
    let mut heard = Heard::default();
    let give_up = |error: &dyn Display, heard: &mut Heard, mount: &mut KeptMount<'_>| {
        log::error!("cannot keep the connection: {error}; starting the daemon anew");
        heard.was_unkept = true;
        mount.cannot_keep();
        child.signal(Signal::SIGTERM);
    };
    let mut last_sign = Instant::now();
    loop {
        crate::failpoint::panic_point();
        match events.recv_timeout(SILENCE_TIMEOUT.saturating_sub(last_sign.elapsed())) {
            Err(RecvTimeoutError::Disconnected) => return heard,
            Err(RecvTimeoutError::Timeout) => {
                log::error!(
                    "no sign of life from the daemon for {} s: killing it",
                    SILENCE_TIMEOUT.as_secs()
                );
                child.signal(Signal::SIGKILL);
                last_sign = Instant::now();
            }
            Ok(Event::Signal(Signal::SIGHUP | Signal::SIGUSR1)) => child.signal(Signal::SIGTERM),
            // It says that this does nothing.
            Ok(Event::Signal(Signal::SIGUSR2)) => child.signal(Signal::SIGUSR2),
            Ok(Event::Signal(_)) => {
                heard.told_to_end = true;
                child.signal(Signal::SIGINT);
            }
            Ok(Event::Child(from, _)) if from != number => {}
            Ok(Event::Child(_, message)) => {
                last_sign = Instant::now();
                match message {
                    // A successor sends back what it was given.
                    Ok(Message::Connection(_, memory))
                        if mount.connection().is_some_and(|kept| kept.has_memory(memory.as_fd())) => {}
                    Ok(Message::Connection(device, memory)) => match Connection::look(device, memory) {
                        Ok(connection) => mount.keep(connection),
                        Err(error) => give_up(&error, &mut heard, mount),
                    },
                    Ok(Message::Ended) => heard.ended = true,
                    Ok(Message::Alive) => heard.served = true,
                    Ok(Message::Ask | Message::Nothing | Message::Taken) => {}
                    // One that came without its descriptors. A successor sends what is kept already.
                    Err(error) if error.kind() == ErrorKind::InvalidData => {
                        if mount.connection().is_none() || mount.is_aborted() {
                            give_up(&error, &mut heard, mount);
                        }
                    }
                    // What a newer program says besides.
                    Err(error) if error.kind() == ErrorKind::Unsupported => {}
                    Err(error) => {
                        let is_gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
                        if !is_gone.contains(&error.kind()) {
                            log::error!("cannot hear the daemon: {error}; starting it anew");
                            child.signal(Signal::SIGKILL);
                        }
                        return heard;
                    }
                }
            }
        }
    }
}
