//! What the daemon does while it serves: waits for events, and tells the descriptor store that it lives.

use super::event::Event;
use crate::fuse::QuiesceGate;
use crate::lifecycle::connection::Connection;
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::handover;
use crate::lifecycle::quiesce::quiesce;
use crate::service::Service;
use nix::sys::signal::Signal;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often to look after things where nobody wants to hear that this process lives.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

/// Why the daemon stops serving.
pub(super) enum End {
    /// The connection is another process's from now on.
    Left,
    /// This signal asks for it.
    Signal(Signal),
    /// The connection is over.
    Connection(io::Result<()>),
}

/// Serves until there is a reason to stop.
pub(super) fn run(
    (connection, service): (&Connection, &Service),
    fd_store: &mut FdStore,
    events: &Receiver<Event>,
    gate: &Arc<QuiesceGate>,
) -> End {
    let mut answered_before = None;
    loop {
        let interval = fd_store.watchdog_interval();
        let event = events.recv_timeout(interval.unwrap_or(IDLE_INTERVAL));
        if fd_store.is_gone() {
            log::error!(
                "{} has ended: nobody keeps the connection if this daemon dies; SIGTERM unmounts, and \
                 `cgprocfs mount --supervise --takeover {}` has it supervised again",
                fd_store.name(),
                connection.directory().display()
            );
            *fd_store = FdStore::Nobody;
            service.note_keeper(None);
        }
        match event {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return End::Connection(Ok(())),
            Ok(Event::Ended(result)) => return End::Connection(result),
            Ok(Event::Signal(Signal::SIGTERM)) if !matches!(fd_store, FdStore::Nobody) => {
                quiesce_for_successor(connection, gate);
                return End::Left;
            }
            // As the supervisor does on it. The service manager starts another one.
            Ok(Event::Signal(Signal::SIGUSR1)) if matches!(fd_store, FdStore::ServiceManager) => {
                quiesce_for_successor(connection, gate);
                return End::Left;
            }
            Ok(Event::Signal(signal @ (Signal::SIGUSR1 | Signal::SIGUSR2))) => {
                log::info!("{signal} does nothing; a supervisor replaces its daemon on SIGHUP and SIGUSR1");
            }
            Ok(Event::Signal(signal)) => return End::Signal(signal),
            Ok(Event::Given(successor, goes_on)) => {
                quiesce_for_successor(connection, gate);
                if handover::is_there(&successor) {
                    fd_store.release();
                    // The successor waits until this socket is closed, at the end of this process.
                    std::mem::forget(successor);
                    // Dropped, it would mean that this process goes on, and the connection could be given to
                    // another.
                    std::mem::forget(goes_on);
                    return End::Left;
                }
                log::warn!("the process that took the connection over has exited; this daemon serves on");
                gate.open();
            }
        }
        connection.in_flight().mark_alive();
        if interval.is_some() {
            // If every thread handles a request, and none was answered since the last look, nobody is served.
            let answered = gate.all_busy().then(|| connection.in_flight().answered());
            if answered.is_some() && answered == answered_before {
                log::error!(
                    "all threads are busy, and none has answered since the last check; this daemon is restarted if that goes on"
                );
            } else {
                fd_store.ping_watchdog();
            }
            answered_before = answered;
        }
    }
}

/// Answers what was fetched, as far as a successor need not wait for it, and fetches no more.
pub(super) fn quiesce_for_successor(connection: &Connection, gate: &Arc<QuiesceGate>) {
    if !quiesce(gate, &connection.in_flight(), &connection.mount_point(), true) {
        log::info!("what is not answered yet is left to the successor");
        connection.in_flight().leave_to_successor();
    }
}
