//! `cgprocfs mount`: the daemon.

mod arguments;
mod connect;
mod processes;
mod supervise;
mod unit;

pub(super) use self::arguments::Arguments;

use self::connect::connect;
use self::processes::{start_namespace_reader, start_steward};
use self::supervise::supervise;
use self::unit::{lay, leave};
use super::failure::Failure;
use super::signals::{block_signals, forward_signals};
use crate::kernel::{CgroupMounts, Source};
use crate::lifecycle::daemon::{self, Event};
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::steward::Task;
use crate::limits;
use crate::service::Service;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.lay {
        return lay(arguments);
    }
    crate::sys::share_one_heap();
    if arguments.supervise { supervise(arguments) } else { serve(arguments) }
}

fn serve(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (sender, events) = mpsc::channel();
    let signals = block_signals()?;
    let source = Source::open(Path::new("/"), None)?.with_cpu_view(arguments.cpu_view.get());
    require_whole_hierarchy(source.cgroup_mounts())?;
    let (most_files, _) = limits::raise_open_files();
    if let Some(unit) = &arguments.leave {
        return leave(arguments, source, most_files, unit);
    }
    let fd_store = match arguments {
        Arguments { resume: true, .. } => FdStore::ServiceManager,
        Arguments { supervised: true, .. } => FdStore::supervisor().map_err(|e| {
            Failure::Other(format!(
                "no supervisor at stdin: {e}; `--supervised` is for `cgprocfs mount --supervise` alone"
            ))
        })?,
        _ => FdStore::Nobody,
    };
    let namespace_reader = start_namespace_reader(&fd_store, sender.clone())?;
    let steward = start_steward(arguments)?;
    let (connection, lock) = connect(arguments, &fd_store)?;
    crate::process::raise_priority();
    // Capabilities are each thread's own and inherited, so they are dropped before any thread is started.
    crate::confinement::sandbox::keep_only(crate::confinement::sandbox::SERVER_CAPABILITIES)
        .map_err(daemon::DaemonError::from)?;
    let service = Arc::new(Service::new(source.with_namespace_reader(namespace_reader), most_files));
    let forward = sender.clone();
    forward_signals(signals, move |signal| forward.send(Event::Signal(signal)).is_ok())?;
    let served = daemon::serve(&connection, &service, (fd_store, &steward), &events, &sender);
    if let Some(lock) = lock {
        lock.release_by(|| steward.have_done(Task::RemoveLock));
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// From inside a container only the container's own part can be seen, and the host's processes not at all.
fn require_whole_hierarchy(cgroup_mounts: &CgroupMounts) -> Result<(), Failure> {
    if cgroup_mounts.memory.is_fully_visible() {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "only part of the cgroup hierarchy is visible at {}; start cgprocfs in the host's cgroup namespace",
        cgroup_mounts.memory.mount_point.display()
    )))
}
