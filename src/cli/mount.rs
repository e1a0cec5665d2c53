//! `cgprocfs mount`: the daemon.

use super::cpu_view::CpuViewArgument;
use super::failure::Failure;
use super::signals::{block_signals, forward_signals};
use super::systemd;
use super::views::ViewsArgument;
use crate::confinement::namespace_reader::NamespaceReader;
use crate::kernel::{CgroupMounts, CpuView, Source};
use crate::lifecycle::daemon::{self, Event};
use crate::lifecycle::fd_store::FdStore;
use crate::lifecycle::steward::Steward;
use crate::lifecycle::supervisor;
use crate::lifecycle::{Connection, handover};
use crate::limits;
use crate::mount::{Anchors, Lock, MountError, Writes};
use crate::service::Service;
use cgprocfs_core::view::ViewId;
use clap::builder::FalseyValueParser;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::mpsc;

/// The variables that say how the daemon is started, which is no business of those that it starts.
const SUPERVISE: &str = "CGPROCFS_SUPERVISE";
const TAKEOVER: &str = "CGPROCFS_TAKEOVER";

/// Mount the views in a directory and serve them until stopped
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// An existing directory, where containers find the views to bind
    #[arg(default_value = "/run/cgprocfs")]
    directory: PathBuf,
    /// Keep the mount in a process that starts the daemon again whenever it ends; SIGHUP or SIGUSR1 replaces it
    #[arg(long, env = SUPERVISE, value_parser = FalseyValueParser::new(), group = "way")]
    supervise: bool,
    /// Take the mount over from the daemon that serves it now
    #[arg(long, env = TAKEOVER, value_parser = FalseyValueParser::new())]
    takeover: bool,
    /// Keep the mount in the descriptor store of the systemd unit, and resume it from there
    #[arg(long, group = "way", help_heading = systemd::HELP_HEADING)]
    resume: bool,
    /// Mount, leave the mount to the descriptor store of this systemd unit unless it has one already, and
    /// exit: who then serves it needs no right to mount
    #[arg(long, value_name = "UNIT", group = "way", conflicts_with = "takeover", help_heading = systemd::HELP_HEADING)]
    leave: Option<String>,
    /// Lay the chosen views, and no others, at the anchors of a daemon that serves already, and exit
    #[arg(long, group = "way", conflicts_with = "takeover", help_heading = systemd::HELP_HEADING)]
    lay: bool,
    #[command(flatten)]
    cpu_view: CpuViewArgument,
    #[command(flatten)]
    views: ViewsArgument,
    /// Let containers write pressure triggers to the files of proc/pressure, and poll them. The mount is then writable,
    /// and fstat(2) after a read of any view costs a request more
    #[arg(long, env = "CGPROCFS_TRIGGERS", value_parser = FalseyValueParser::new())]
    triggers: bool,
    /// Started by `--supervise`
    #[arg(long, group = "way", hide = true)]
    supervised: bool,
}

impl Arguments {
    const fn writes(&self) -> Writes {
        if self.triggers { Writes::Triggers } else { Writes::Nothing }
    }
}

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
    let steward = start_steward(&arguments.directory, &views)?;
    let (connection, lock) = connect(arguments, &fd_store)?;
    // Threads have what they are made with: before there is any.
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
fn start_steward(directory: &Path, views: &[ViewId]) -> Result<Steward, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Steward::Nobody);
    }
    Steward::start(&crate::mount::directory(directory)?, views).map_err(|e| {
        Failure::Other(format!("cannot start the process that mounts: {e}; check the limits on processes"))
    })
}

/// Mounts and leaves the connection to the unit's descriptor store, before the unit starts the server.
fn leave(arguments: &Arguments, service: &Arc<Service>, unit: &str) -> Result<ExitCode, Failure> {
    if systemd::keeps_connection(unit) {
        return Ok(ExitCode::SUCCESS);
    }
    // Afterwards there is a mount that somebody keeps.
    let _lock = Lock::take(&crate::mount::directory(&arguments.directory)?)?;
    refuse_deep(&arguments.directory)?;
    let connection = begin(arguments)?;
    let keeping = (&FdStore::ServiceManager, &Steward::Itself);
    let gate = daemon::start(&connection, service, &arguments.views.get(), keeping, drop)?;
    daemon::leave(&connection, &gate);
    Ok(ExitCode::SUCCESS)
}

/// Lays views at the anchors of a daemon that serves, by options that may have changed since they were laid.
fn lay(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let directory = &arguments.directory;
    let Some(anchors) = Anchors::at(directory).filter(|anchors| anchors.is_mounted() && !anchors.is_lost())
    else {
        let directory = directory.display();
        return Err(Failure::Other(format!(
            "no cgprocfs serves {directory}; start it there, then say this again"
        )));
    };
    if anchors.writes() != Some(arguments.writes()) {
        log::warn!(
            "triggers stay as they are until cgprocfs is stopped and started: they need another mount"
        );
    }
    let refused = |source| MountError::Refused { path: directory.clone(), source };
    Anchors::set_up(directory)?.stack(&arguments.views.get()).map_err(refused)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses to mount where too many mounts lie on the anchors: each connection that was lost has left two, and somebody may make
/// it be lost again and again.
fn refuse_deep(directory: &Path) -> Result<(), Failure> {
    let directory = crate::mount::directory(directory)?;
    let Some(anchors) = Anchors::at(&directory) else { return Ok(()) };
    let depth = anchors.depth();
    if depth < crate::mount::MAX_DEPTH {
        return Ok(());
    }
    if anchors.are_bound() {
        return Err(MountError::TooDeep(depth, directory).into());
    }
    anchors.remove().map_err(|source| MountError::Refused { path: directory, source }.into())
}

/// The connection that was kept, or another daemon's if that is wanted, or a new one; with the lock that goes with it, where
/// the store does not have that.
fn connect(arguments: &Arguments, fd_store: &FdStore) -> Result<(Connection, Option<Lock>), Failure> {
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
    let directory = crate::mount::directory(&arguments.directory)?;
    let is_supervised = matches!(fd_store, FdStore::Supervisor(_));
    if arguments.takeover && has_none {
        let connection = handover::request(&directory)?;
        return Ok((connection, lock_after_takeover(&directory, is_supervised)));
    }
    if is_supervised {
        // The supervisor has the lock, and counts mounts.
        return Ok((begin(arguments)?, None));
    }
    let lock = Lock::take(&directory)?;
    crate::mount::refuse_served(&directory)?;
    refuse_deep(&directory)?;
    Ok((begin(arguments)?, Some(lock)))
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
fn begin(arguments: &Arguments) -> Result<Connection, Failure> {
    let (device, anchors) = crate::mount::mount(&arguments.directory, arguments.writes())?;
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

fn supervise(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (sender, events) = mpsc::channel();
    let signals = sender.clone();
    forward_signals(block_signals()?, move |signal| signals.send(supervisor::Event::Signal(signal)).is_ok())?;
    let directory = crate::mount::directory(&arguments.directory)?;
    let lock = if arguments.takeover {
        // Whoever serves what is to be taken over has it.
        None
    } else {
        let lock = Lock::take(&directory)?;
        crate::mount::refuse_served(&directory)?;
        Some(lock)
    };
    let program = std::env::current_exe()
        .map_err(|e| Failure::Other(format!("cannot find this program: {e}; start it by its path")))?;
    let child = |is_first: bool| {
        let mut command = Command::new(&program);
        command.args(["mount", "--supervised"]).arg(&directory).env_remove(SUPERVISE).env_remove(TAKEOVER);
        // Only what is not the default: an older version, which may be started, has no such option.
        if arguments.cpu_view.get() != CpuView::default() {
            command.args(["--cpu-view", arguments.cpu_view.name()]);
        }
        if let Some(views) = arguments.views.value() {
            command.args(["--views", &views]);
        }
        if arguments.triggers {
            command.arg("--triggers");
        }
        if arguments.takeover && is_first {
            command.arg("--takeover");
        }
        command
    };
    let code = supervisor::supervise(&directory, lock, child, &events, &sender);
    Ok(code.map(ExitCode::from)?)
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
