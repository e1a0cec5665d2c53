//! `cgprocfs mount`: the daemon.

use super::Failure;
use crate::fuse::ViewFs;
use crate::service::Service;
use crate::session;
use crate::source::{Layout, Source};
use crate::view::VIEWS;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use sd_notify::NotifyState;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Serve the views at a mount point until SIGTERM or SIGINT
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// An existing directory
    #[arg(default_value = "/run/cgprocfs")]
    mount_point: PathBuf,
}

/// How often the files of containers that are gone are closed.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a file system that containers still bind may keep the end waiting.
const PATIENCE: Duration = Duration::from_secs(1);

enum Event {
    Signal(Signal),
    Ended(io::Result<()>),
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (events, received) = mpsc::channel();
    forward_signals(events.clone())?;

    let source = Source::open(Path::new("/"), None)?;
    require_whole_hierarchy(source.layout())?;
    let service = Arc::new(Service::new(source, most_files()));

    let (device, mount_point) = session::mount(&arguments.mount_point)?;
    let fs = ViewFs::new(Arc::clone(&service), VIEWS);
    let ended = move |result| drop(events.send(Event::Ended(result)));
    if let Err(error) = session::serve(fs, device, ended) {
        // Best effort: the failure to serve is what has to be told.
        let _ = session::unmount(&mount_point);
        return Err(Failure::Other(format!("cannot serve {}: {error}", mount_point.display())));
    }
    log::info!("serving {}", mount_point.display());
    notify(&[NotifyState::Ready]);

    let event = loop {
        match received.recv_timeout(SWEEP) {
            Err(RecvTimeoutError::Timeout) => service.sweep(),
            Err(RecvTimeoutError::Disconnected) => break Event::Ended(Ok(())),
            Ok(event) => break event,
        }
    };
    match event {
        Event::Signal(signal) => {
            log::info!("unmounting {} on {signal}", mount_point.display());
            notify(&[NotifyState::Stopping]);
            stop(&mount_point, &received)
        }
        Event::Ended(Ok(())) => {
            log::info!("{} was unmounted by somebody else", mount_point.display());
            Ok(ExitCode::SUCCESS)
        }
        Event::Ended(Err(error)) => {
            let _ = session::unmount(&mount_point);
            Err(Failure::Other(format!("the connection to the kernel failed: {error}; start cgprocfs again")))
        }
    }
}

fn stop(mount_point: &Path, received: &mpsc::Receiver<Event>) -> Result<ExitCode, Failure> {
    session::unmount(mount_point).map_err(|e| {
        Failure::Other(format!("cannot unmount {}: {e}; try `umount -l`", mount_point.display()))
    })?;
    if received.recv_timeout(PATIENCE).is_err() {
        log::warn!("containers still have views bound, which fail from now on");
    }
    Ok(ExitCode::SUCCESS)
}

/// Signals become events, so that the daemon ends by unmounting.
fn forward_signals(events: mpsc::Sender<Event>) -> Result<(), Failure> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]);
    // Before any other thread is made: they inherit it.
    let failed = |e: io::Error| Failure::Other(format!("cannot wait for signals: {e}"));
    signals.thread_block().map_err(|e| failed(e.into()))?;
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// Raises the limit on open files as far as it goes, and says how many of them may be cgroups'.
fn most_files() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    // The rest is for namespaces, for readers that are remembered, and for what the daemon itself has open.
    usize::try_from(limit.min(64 << 10)).unwrap_or(1024) / 2
}

/// From inside a container only the container's own part can be seen, and the host's processes not at all.
fn require_whole_hierarchy(layout: &Layout) -> Result<(), Failure> {
    if layout.memory.is_whole() {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "only part of the cgroup hierarchy is visible at {}; start cgprocfs in the host's cgroup namespace",
        layout.memory.mount_point.display()
    )))
}

/// Tells systemd, if it is there.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot notify systemd: {error}");
    }
}
