//! The processes beside the one that serves.

use super::arguments::Arguments;
use crate::cli::failure::Failure;
use crate::confinement::namespace_reader::NamespaceReader;
use crate::lifecycle::daemon::Event;
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::steward::Steward;
use std::io;
use std::sync::mpsc;

/// Starts the process that looks into namespaces. Without it containers cannot be told apart, so this process
/// ends when that one does; whoever keeps the connection starts both again, and no read is lost.
pub(super) fn start_namespace_reader(
    fd_store: &FdStore,
    events: mpsc::Sender<Event>,
) -> Result<NamespaceReader, Failure> {
    let is_kept = !matches!(fd_store, FdStore::Nobody);
    let lost = move || {
        log::error!("the process that looks into namespaces has ended, or hangs");
        if is_kept {
            std::process::exit(1);
        }
        // Once is enough.
        let _ = events.send(Event::Ended(Err(io::ErrorKind::BrokenPipe.into())));
    };
    NamespaceReader::start(lost).map_err(|e| {
        Failure::Other(format!(
            "cannot start the process that looks into namespaces: {e}; run cgprocfs as root, or as its unit does"
        ))
    })
}

/// Starts the process that mounts, where this one may mount at all.
pub(super) fn start_steward(arguments: &Arguments) -> Result<Steward, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Steward::Nobody);
    }
    Steward::start(&arguments.anchors()?, &arguments.views.get()).map_err(|e| {
        Failure::Other(format!("cannot start the process that mounts: {e}; check the limits on processes"))
    })
}
