//! Waits while there is no child.

use super::event::Event;
use nix::sys::signal::Signal;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Why a wait ended.
#[derive(PartialEq, Eq)]
pub(super) enum Woken {
    /// The time is over.
    ByTime,
    /// Somebody wants another child now.
    ByReload,
    /// Somebody wants the supervisor to end.
    ToEnd,
}

/// Waits until the pause is over, or a signal asks for something.
pub(super) fn wait(pause: Duration, events: &Receiver<Event>) -> Woken {
    let end = Instant::now() + pause;
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Err(_) => return Woken::ByTime,
            Ok(Event::Child(..) | Event::Signal(Signal::SIGUSR2)) => {}
            Ok(Event::Signal(Signal::SIGHUP | Signal::SIGUSR1)) => return Woken::ByReload,
            Ok(Event::Signal(_)) => return Woken::ToEnd,
        }
    }
}
