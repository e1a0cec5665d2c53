//! The daemon: serves one mount until it is told to end, or to leave it to a successor.

use super::fd_store::FdStore;
use super::steward::Steward;
use super::{Connection, handover};
use crate::confinement::sandbox::{self, SandboxError};
use crate::fuse::QuiesceGate;
use crate::mount::{Anchors, Way};
use crate::service::Service;
use cgprocfs_core::view::ViewId;
use nix::sys::signal::Signal;
use sd_notify::NotifyState;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long nothing need be looked after where nobody keeps the mount.
const LONG: Duration = Duration::from_secs(3600);
/// How long a file system that containers still bind may keep the end waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before another attempt to hear somebody who wants to take over.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// So many mounts on one file are too many.
pub const DEEP: usize = 64;

/// Operation the daemon waits for.
pub enum Event {
    /// It is to end. SIGTERM leaves the connection to a keeper; SIGUSR1 and SIGUSR2 mean nothing.
    Signal(Signal),
    /// The connection is over.
    Ended(io::Result<()>),
    /// Somebody has been given the connection. Where this process goes on after all, the other is told.
    Given(UnixStream, Sender<()>),
}

/// Why the daemon failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DaemonError {
    #[error("cannot serve {0}: {1}")]
    Serve(PathBuf, io::Error),
    #[error("the connection to the kernel failed: {0}")]
    Connection(io::Error),
    #[error("cannot unmount {0}: {1}")]
    Unmount(PathBuf, io::Error),
    #[error("cannot leave the connection to {0}: {1}")]
    Keep(&'static str, io::Error),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Starts to serve `connection`, shows `views` at the anchors, and has it kept.
///
/// # Errors
/// [`DaemonError`]; nothing is mounted then, unless a keeper has it.
pub fn start(
    connection: &Connection,
    service: &Arc<Service>,
    views: &[ViewId],
    (keeper, steward): (&FdStore, &Steward),
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> Result<Arc<QuiesceGate>, DaemonError> {
    let gate = Arc::new(QuiesceGate::default());
    let failed = |error| {
        // Best effort: the failure to serve is what has to be told.
        let _ = give_up(connection, &gate, steward);
        DaemonError::Serve(connection.directory(), error)
    };
    super::serve(connection, service, &ViewId::ALL, &gate, ended).map_err(failed)?;
    if let Some(anchors) = connection.anchors() {
        match steward.stack(&anchors, views) {
            Ok(()) => {}
            Err(error) if connection.generation() == 0 => return Err(failed(error)),
            // Operation the first daemon has laid is still there, and who only serves may not mount.
            Err(error) => log::debug!("cannot lay views on {}: {error}", anchors.directory().display()),
        }
        let depth = anchors.depth();
        if depth > DEEP {
            log::warn!(
                "{depth} mounts lie on one file in {}, two for each connection that was lost; \
                 `cgprocfs unmount --anchors` removes them once no container binds them",
                anchors.directory().display()
            );
        }
    }
    if !keeper.has_given(connection)
        && let Err(error) = keeper.keep(connection)
    {
        // Nobody would have it after this process, and who reads would be left with an error.
        keeper.release();
        let _ = give_up(connection, &gate, steward);
        return Err(DaemonError::Keep(keeper.name(), error));
    }
    Ok(gate)
}

/// Serves `connection` until an event ends that.
///
/// # Errors
/// [`DaemonError`]; nothing is mounted then, unless a keeper has it.
pub fn serve(
    connection: &Connection,
    service: &Arc<Service>,
    views: &[ViewId],
    (mut keeper, steward): (FdStore, &Steward),
    events: &Receiver<Event>,
    sender: &Sender<Event>,
) -> Result<(), DaemonError> {
    let directory = connection.directory();
    let ended = sender.clone();
    let gate = start(connection, service, views, (&keeper, steward), move |result| {
        drop(ended.send(Event::Ended(result)))
    })?;
    if !matches!(keeper, FdStore::ServiceManager) {
        let kept = connection.try_clone();
        let listening = kept.and_then(|connection| {
            let listener = handover::listen(&directory)?;
            listen(listener, connection, sender.clone())
        });
        match listening {
            Ok(()) => {}
            // Serving is what matters.
            Err(error) => log::warn!("no other daemon can take over: {error}"),
        }
    }
    if let Err(error) = service.sweep_now_and_then() {
        log::warn!("cannot start the thread that sweeps: {error}; files of gone containers stay open");
    }
    if let Err(error) = service.follow_loads() {
        log::warn!(
            "cannot start the thread that samples load: {error}; proc/loadavg stays as it is until a restart"
        );
    }
    // Before anybody is told that it serves: from here on all that it does takes no more.
    if let Err(error) = sandbox::restrict_server() {
        // Best effort: why it does not serve has to be told.
        let _ = give_up(connection, &gate, steward);
        return Err(error.into());
    }
    match connection.generation() {
        0 => log::info!("serving {}", directory.display()),
        generation => log::info!("serving {}, resumed by server {generation}", directory.display()),
    }
    notify(&[NotifyState::Ready]);
    keeper.feed();

    match wait(connection, &mut keeper, events, &gate) {
        End::Left => {
            log::info!("leaving {} to a successor", directory.display());
            Ok(())
        }
        End::Signal(signal) => {
            log::info!("unmounting {} on {signal}", directory.display());
            notify(&[NotifyState::Stopping]);
            keeper.release();
            // There is none under a service manager.
            let _ = steward.forget_socket(&directory);
            give_up(connection, &gate, steward).map_err(|e| DaemonError::Unmount(directory, e))?;
            match events.recv_timeout(PATIENCE) {
                Ok(Event::Ended(_)) => {}
                _ => log::warn!(
                    "views are still in use after {} s; restart containers that do not bind them as slaves",
                    PATIENCE.as_secs()
                ),
            }
            Ok(())
        }
        End::Connection(result) => {
            let _ = steward.forget_socket(&directory);
            let anchors = connection.anchors();
            let is_given_up = anchors.as_ref().is_none_or(Anchors::are_given_up);
            // Nobody is left to answer anybody.
            if let Some(Err(error)) = anchors.map(|anchors| steward.let_go(&anchors)) {
                log::debug!("cannot lay the kernel's files on {}: {error}", directory.display());
            }
            match result {
                Ok(()) if is_given_up => {
                    keeper.release();
                    log::info!("{} was unmounted by somebody else", directory.display());
                    Ok(())
                }
                result => {
                    let aborted = || io::Error::from_raw_os_error(libc::ECONNABORTED);
                    Err(DaemonError::Connection(result.err().unwrap_or_else(aborted)))
                }
            }
        }
    }
}

/// Shows the kernel's own files at the anchors, answers what was asked before, and unmounts. Where nobody has bound an
/// anchor, there are as many mounts then as there were before.
fn give_up(connection: &Connection, gate: &Arc<QuiesceGate>, steward: &Steward) -> io::Result<()> {
    let Some(anchors) = connection.anchors() else { return steward.unmount(&connection.mount_point()) };
    let given_way = steward.give_way(&anchors);
    if !super::drain(gate, &connection.journal(), &anchors.live(), false) {
        log::warn!("a request is not answered in time; who waits for it gets an error");
    }
    let aborted = steward.abort(&anchors);
    let is_to_be_removed = matches!(given_way, Ok(Way::Free)) && connection.has_new_anchors();
    let removed = if is_to_be_removed { steward.remove(&anchors) } else { Ok(()) };
    gate.open();
    given_way.map(drop).and(aborted).and(removed)
}

enum End {
    /// The connection is somebody else's.
    Left,
    Signal(Signal),
    Connection(io::Result<()>),
}

/// Leaves a connection that [`start`] was called for to whoever keeps it.
pub fn leave(connection: &Connection, gate: &Arc<QuiesceGate>) {
    drain(connection, gate);
}

fn drain(connection: &Connection, gate: &Arc<QuiesceGate>) {
    if !super::drain(gate, &connection.journal(), &connection.mount_point(), true) {
        log::info!("what is not answered yet is left to the successor");
    }
}

fn wait(
    connection: &Connection,
    keeper: &mut FdStore,
    events: &Receiver<Event>,
    gate: &Arc<QuiesceGate>,
) -> End {
    let mut before = None;
    loop {
        let interval = keeper.interval();
        let event = events.recv_timeout(interval.unwrap_or(LONG));
        if keeper.is_gone() {
            log::error!(
                "{} has ended: nobody keeps the connection if this daemon dies; SIGTERM unmounts, and \
                 `cgprocfs mount --supervise --takeover {}` has it supervised again",
                keeper.name(),
                connection.directory().display()
            );
            *keeper = FdStore::Nobody;
        }
        match event {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return End::Connection(Ok(())),
            Ok(Event::Ended(result)) => return End::Connection(result),
            Ok(Event::Signal(Signal::SIGTERM)) if !matches!(keeper, FdStore::Nobody) => {
                drain(connection, gate);
                return End::Left;
            }
            Ok(Event::Signal(signal @ (Signal::SIGUSR1 | Signal::SIGUSR2))) => {
                log::info!("{signal} does nothing; a supervisor replaces its daemon on SIGHUP and SIGUSR1");
            }
            Ok(Event::Signal(signal)) => return End::Signal(signal),
            Ok(Event::Given(successor, goes_on)) => {
                drain(connection, gate);
                if handover::is_there(&successor) {
                    keeper.release();
                    // Its end is what the successor waits for.
                    std::mem::forget(successor);
                    // Nobody else is given the connection.
                    std::mem::forget(goes_on);
                    return End::Left;
                }
                log::warn!("who took the connection over is gone; serving on");
                gate.open();
            }
        }
        connection.journal().beat();
        if interval.is_some() {
            // Where every thread is about a request, and none was answered since the last look, nobody is served.
            let now = gate.all_are_inside().then(|| connection.journal().answered());
            if now.is_some() && now == before {
                log::error!("no thread answers in time; without answers the keeper replaces this daemon");
            } else {
                keeper.feed();
            }
            before = now;
        }
    }
}

/// Hears those who want to take over, one after the other.
fn listen(listener: UnixListener, connection: Connection, sender: Sender<Event>) -> io::Result<()> {
    let accept = move || {
        for asking in listener.incoming() {
            let asking = match asking {
                Ok(asking) => asking,
                Err(error) => {
                    log::warn!("cannot hear who wants to take over: {error}");
                    thread::sleep(ACCEPT_AGAIN);
                    continue;
                }
            };
            if !handover::is_from_root(&asking) {
                log::warn!("somebody who is not root asks for the connection");
                continue;
            }
            if let Err(error) = handover::offer(&asking, &connection) {
                log::warn!("nobody took the connection over: {error}");
                continue;
            }
            let (goes_on, verdict) = mpsc::channel();
            if sender.send(Event::Given(asking, goes_on)).is_err() {
                break;
            }
            // Two would serve it otherwise. The sender is dropped where this process goes on.
            let _ = verdict.recv();
        }
    };
    thread::Builder::new().name("handover".into()).spawn(accept).map(drop)
}

/// Tells systemd, if it is there.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot notify systemd: {error}");
    }
}
