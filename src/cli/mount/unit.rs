//! What the systemd unit has done in the host's mount namespace, before and after it starts the server.

use super::arguments::Arguments;
use super::connect::{begin, refuse_deep};
use super::processes::{start_namespace_reader, start_steward};
use crate::cli::failure::Failure;
use crate::cli::systemd;
use crate::confinement::sandbox;
use crate::diagnosis::status::MountStatus;
use crate::kernel::Source;
use crate::lifecycle::FailureRecord;
use crate::lifecycle::daemon::{self, DaemonError};
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::steward::Task;
use crate::mount::{Anchors, Lock, MountError};
use crate::service::Service;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

/// Mounts and leaves the connection to the unit's descriptor store, before the unit starts the server.
pub(super) fn leave(
    arguments: &Arguments,
    source: Source,
    most_files: usize,
    unit: &str,
) -> Result<ExitCode, Failure> {
    if systemd::keeps_connection(unit) {
        return Ok(ExitCode::SUCCESS);
    }
    let directory = arguments.anchors()?;
    let lock = Lock::take(&directory)?;
    if FailureRecord::of(&directory).has_too_many() {
        return Err(Failure::Other(format!(
            "the daemon fails again and again, and its log says why; mend that, then `cgprocfs unmount {}` and start it",
            directory.display()
        )));
    }
    refuse_deep(&directory)?;
    let connection = begin(arguments, &directory)?;
    let fd_store = FdStore::ServiceManager;
    // Containers are answered meanwhile, as by the server that follows.
    let namespace_reader = start_namespace_reader(&fd_store, mpsc::channel().0)?;
    let steward = start_steward(arguments)?;
    crate::process::raise_priority();
    sandbox::keep_only(sandbox::SERVER_CAPABILITIES).map_err(DaemonError::from)?;
    let service = Arc::new(Service::new(source.with_namespace_reader(namespace_reader), most_files));
    let gate = daemon::start(&connection, &service, (&fd_store, &steward), drop)?;
    daemon::leave(&connection, &gate);
    lock.release_by(|| steward.have_done(Task::RemoveLock));
    Ok(ExitCode::SUCCESS)
}

/// Lays views at the anchors of a daemon that serves, by options that may have changed since they were laid.
pub(super) fn lay(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let directory = &*arguments.anchors_as_given();
    // Views are looked up in what is served: without an answer that would never end.
    let is_served = |anchors: &Anchors| anchors.is_mounted() && MountStatus::is_answered(&anchors.live());
    let not_served = || {
        let directory = directory.display();
        Failure::Other(format!("no cgprocfs serves {directory}; start it there, then run this again"))
    };
    let anchors = Anchors::at(directory).filter(is_served).ok_or_else(not_served)?;
    if anchors.writes() != Some(arguments.writes()) {
        log::warn!(
            "triggers stay as they are until cgprocfs is stopped and started: they need another mount"
        );
    }
    let refused = |source| MountError::Refused { path: directory.to_path_buf(), source };
    Anchors::set_up(directory, arguments.tree()?.as_deref())?
        .stack(&arguments.views.get())
        .map_err(refused)?;
    if is_served(&anchors) {
        return Ok(ExitCode::SUCCESS);
    }
    // Whoever ended meanwhile may have given containers the kernel's files before the views were laid over
    // them.
    anchors.fall_back().map_err(refused)?;
    Err(not_served())
}
