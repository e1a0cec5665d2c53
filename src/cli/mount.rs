//! `cgprocfs mount`: the daemon.

mod arguments;
mod connect;
mod supervise;
mod unit;

pub(super) use self::arguments::Arguments;

use self::connect::connect;
use self::supervise::supervise;
use self::unit::{lay, leave};
use super::failure::Failure;
use super::signals::{block_signals, forward_signals};
use crate::confinement::namespace_reader::NamespaceReader;
use crate::kernel::{CgroupMounts, Source};
use crate::lifecycle::daemon::{self, Event};
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::steward::Steward;
use crate::limits;
use crate::service::Service;
use cgprocfs_core::view::ViewId;
use std::io;
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
        return leave(arguments, &Arc::new(Service::new(source, most_files)), unit);
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
    let views = arguments.views.get();
    let namespace_reader = start_namespace_reader(&fd_store, sender.clone())?;
    let steward = start_steward(arguments, &views)?;
    let (connection, lock) = connect(arguments, &fd_store)?;
    // Capabilities are each thread's own and inherited, so they are dropped before any thread is started.
    crate::confinement::sandbox::keep_only(crate::confinement::sandbox::SERVER_CAPABILITIES)
        .map_err(daemon::DaemonError::from)?;
    let service = Arc::new(Service::new(source.with_namespace_reader(namespace_reader), most_files));
    let forward = sender.clone();
    forward_signals(signals, move |signal| forward.send(Event::Signal(signal)).is_ok())?;
    let served = daemon::serve(&connection, &service, &views, (fd_store, &steward), &events, &sender);
    if let Some(lock) = lock {
        lock.release_by(|| steward.remove_lock(&connection.directory()));
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the process that looks into namespaces. Without it containers cannot be told apart, so this process ends when that one
/// does; whoever keeps the connection starts both again, and no read is lost.
fn start_namespace_reader(
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
fn start_steward(arguments: &Arguments, views: &[ViewId]) -> Result<Steward, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Steward::Nobody);
    }
    Steward::start(&arguments.anchors()?, views).map_err(|e| {
        Failure::Other(format!("cannot start the process that mounts: {e}; check the limits on processes"))
    })
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
