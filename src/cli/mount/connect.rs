//! How a daemon comes by its connection.

use super::arguments::Arguments;
use crate::cli::failure::Failure;
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::{Connection, handover};
use crate::mount::{Anchors, Lock, MountError};
use std::path::Path;

/// The connection that was kept, or another daemon's if that is wanted, or a new one; with the lock that goes
/// with it, where the store does not have that.
pub(super) fn connect(
    arguments: &Arguments,
    fd_store: &FdStore,
) -> Result<(Connection, Option<Lock>), Failure> {
    let kept = fd_store.restore().map_err(|e| {
        Failure::Other(format!("cannot get the connection that was kept: {e}; start cgprocfs again"))
    })?;
    let has_none = kept.is_none();
    if let Some((device, memory)) = kept {
        match Connection::resume(device, memory) {
            Ok(connection) => return Ok((connection, None)),
            Err(error) => log::warn!("mounting anew: {error}"),
        }
    }
    let directory = arguments.anchors()?;
    let is_supervised = matches!(fd_store, FdStore::Supervisor(_));
    if arguments.takeover && has_none {
        let connection = handover::request(&directory)?;
        return Ok((connection, lock_after_takeover(&directory, is_supervised)));
    }
    if is_supervised {
        // The supervisor has the lock, and counts mounts.
        return Ok((begin(arguments, &directory)?, None));
    }
    let lock = Lock::take(&directory)?;
    crate::mount::refuse_served(&directory)?;
    refuse_deep(&directory)?;
    Ok((begin(arguments, &directory)?, Some(lock)))
}

/// The lock of a directory that was taken over. It is served whether or not the lock can be had.
fn lock_after_takeover(directory: &Path, is_supervised: bool) -> Option<Lock> {
    if is_supervised {
        return None;
    }
    let lock = Lock::take_after_predecessor(directory);
    lock.inspect_err(|error| log::warn!("cannot lock {}: {error}", directory.display())).ok()
}

/// Mounts, and begins a connection.
pub(super) fn begin(arguments: &Arguments, directory: &Path) -> Result<Connection, Failure> {
    let (device, anchors) = crate::mount::mount(directory, arguments.tree()?.as_deref(), arguments.writes())?;
    let connection = Connection::begin(device, &anchors.live(), arguments.writes()).map_err(|error| {
        let _ = anchors.abort();
        Failure::Other(format!(
            "cannot serve {}: {error}; see `dmesg`, then start cgprocfs again",
            anchors.directory().display()
        ))
    })?;
    if anchors.are_new() {
        connection.note_new_anchors();
    }
    Ok(connection)
}

/// Refuses to mount where too many mounts lie on the anchors: each connection that was lost has left two, and
/// somebody may make it be lost again and again.
pub(super) fn refuse_deep(directory: &Path) -> Result<(), Failure> {
    let Some(anchors) = Anchors::at(directory) else { return Ok(()) };
    let depth = anchors.depth();
    if depth < crate::mount::MAX_DEPTH {
        return Ok(());
    }
    if anchors.are_bound() {
        return Err(MountError::TooDeep(depth, directory.to_path_buf()).into());
    }
    anchors.remove().map_err(|source| MountError::Refused { path: directory.to_path_buf(), source }.into())
}
