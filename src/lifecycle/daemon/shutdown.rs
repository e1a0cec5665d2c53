//! The end of a mount: containers get the kernel's own files, and nobody is left waiting.

use super::event::{DaemonError, Event};
use crate::fuse::QuiesceGate;
use crate::lifecycle::connection::Connection;
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::quiesce::quiesce;
use crate::lifecycle::steward::{Steward, Task};
use crate::mount::{AnchorUse, Anchors};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Who has served for less time is not to be started again at once: each connection that is aborted leaves
/// two mounts in the containers that bind its files, and somebody may abort them as fast as they come.
const MIN_SERVED_TIME: Duration = Duration::from_secs(60);

/// How long a file system that containers still bind may delay the end.
const IN_USE_TIMEOUT: Duration = Duration::from_secs(1);

/// Ends a mount that is served, on request.
///
/// # Errors
/// [`DaemonError::Unmount`].
pub(super) fn shut_down(
    directory: &Path,
    connection: &Connection,
    gate: &Arc<QuiesceGate>,
    steward: &Steward,
    events: &Receiver<Event>,
) -> Result<(), DaemonError> {
    // There is none under a service manager.
    let _ = steward.have_done(Task::RemoveSocket);
    unmount(connection, gate, steward).map_err(|e| DaemonError::Unmount(directory.to_path_buf(), e))?;
    match events.recv_timeout(IN_USE_TIMEOUT) {
        Ok(Event::Ended(_)) => {}
        _ => log::warn!(
            "views are still in use after {} s; restart containers that do not bind them as slaves",
            IN_USE_TIMEOUT.as_secs()
        ),
    }
    Ok(())
}

/// Mounts the kernel's own files on the anchors, answers what was asked before, and unmounts. If nobody has
/// bound an anchor there are as many mounts then as there were before.
///
/// # Errors
/// The first of the kernel's. The rest is done all the same.
pub(super) fn unmount(connection: &Connection, gate: &Arc<QuiesceGate>, steward: &Steward) -> io::Result<()> {
    let Some(anchors) = connection.anchors() else { return steward.have_done(Task::Abort) };
    let withdrawn = steward.withdraw();
    if !quiesce(gate, &connection.in_flight(), &anchors.live(), false) {
        log::warn!("some requests were not answered in time; their readers get an error");
    }
    let aborted = steward.have_done(Task::Abort);
    let is_to_be_removed = matches!(withdrawn, Ok(AnchorUse::Unbound)) && connection.has_new_anchors();
    let removed = if is_to_be_removed { steward.have_done(Task::Remove) } else { Ok(()) };
    gate.open();
    withdrawn.map(drop).and(aborted).and(removed)
}

/// Cleans up after a connection that is over. It is an error unless somebody has unmounted in order.
///
/// # Errors
/// [`DaemonError::Connection`], or [`DaemonError::EarlyLoss`] if it has `served` for less than a minute and
/// the service manager would start another at once.
pub(super) fn after_loss(
    directory: &Path,
    connection: &Connection,
    fd_store: &FdStore,
    steward: &Steward,
    (served, result): (Duration, io::Result<()>),
) -> Result<(), DaemonError> {
    // There may be none.
    let _ = steward.have_done(Task::RemoveSocket);
    let anchors = connection.anchors();
    let is_given_up = anchors.as_ref().is_none_or(Anchors::are_given_up);
    // Nobody is left to answer a reader.
    if anchors.is_some() {
        if let Err(error) = steward.have_done(Task::FallBackAndAbort) {
            log::debug!("cannot lay the kernel's files on {}: {error}", directory.display());
        }
    }
    match result {
        Ok(()) if is_given_up => {
            fd_store.release();
            log::info!("{} was unmounted by somebody else", directory.display());
            Ok(())
        }
        result => {
            let aborted = || io::Error::from(Errno::CONNABORTED);
            let error = result.err().unwrap_or_else(aborted);
            let is_early = served < MIN_SERVED_TIME && matches!(fd_store, FdStore::ServiceManager);
            Err(if is_early { DaemonError::EarlyLoss(error) } else { DaemonError::Connection(error) })
        }
    }
}
