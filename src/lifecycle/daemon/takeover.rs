//! How the daemon gives its connection to another that asks for it.

use super::event::Event;
use crate::lifecycle::connection::Connection;
use crate::lifecycle::handover;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// How long to wait after a failed accept(2).
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Starts a thread that listens to those who want to take over.
///
/// # Errors
/// Where there can be no socket or no thread.
pub(super) fn listen(directory: &Path, connection: &Connection, sender: &Sender<Event>) -> io::Result<()> {
    let (sender, given) = (sender.clone(), connection.try_clone()?);
    let listener = handover::listen(directory)?;
    let accept = move || accept(&listener, &given, &sender);
    thread::Builder::new().name("handover".into()).spawn(accept).map(drop)
}

/// Handles those who connect one after the other.
fn accept(listener: &UnixListener, connection: &Connection, sender: &Sender<Event>) {
    for asking in listener.incoming() {
        let asking = match asking {
            Ok(asking) => asking,
            Err(error) => {
                log::warn!("cannot accept take-over requests: {error}");
                thread::sleep(RETRY_INTERVAL);
                continue;
            }
        };
        if !handover::is_from_root(&asking) {
            log::warn!("refused a take-over request from a user other than root");
            continue;
        }
        if let Err(error) = handover::offer(&asking, connection) {
            log::warn!("nobody took the connection over: {error}");
            continue;
        }
        let (goes_on, verdict) = mpsc::channel();
        if sender.send(Event::Given(asking, goes_on)).is_err() {
            break;
        }
        // Otherwise two processes could be given it. The sender is dropped if this process goes on.
        let _ = verdict.recv();
    }
}
