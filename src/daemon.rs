//! The daemon: serves one mount until it is told to end, or to leave it to a successor.

use crate::fuse::Gate;
use crate::sandbox::{self, SandboxError};
use crate::service::Service;
use crate::session::keeper::Keeper;
use crate::session::{self, Connection, handover};
use crate::steward::Steward;
use crate::view::{VIEWS, View};
use nix::sys::signal::Signal;
use sd_notify::NotifyState;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How often the files of containers that are gone are closed.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a file system that containers still bind may keep the end waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many mounts on one file are worth a word.
const DEEP: usize = 64;

/// What the daemon waits for.
pub enum Event {
    /// It is to end. SIGTERM leaves the connection to a keeper.
    Signal(Signal),
    /// The connection is over.
    Ended(io::Result<()>),
    /// Somebody asks for the connection.
    Asked(UnixStream),
}

/// Why the daemon failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DaemonError {
    #[error("cannot serve {0}: {1}; see `dmesg`, then start cgprocfs again")]
    Serve(PathBuf, io::Error),
    #[error("the connection to the kernel failed: {0}; see `dmesg`, then start cgprocfs again")]
    Connection(io::Error),
    #[error("cannot unmount {0}: {1}; run `cgprocfs unmount {0}`")]
    Unmount(PathBuf, io::Error),
    #[error("cannot leave the connection to {0}: {1}; start cgprocfs again")]
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
    views: &[&'static dyn View],
    keeper: &Keeper,
    steward: &Steward,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> Result<Arc<Gate>, DaemonError> {
    let gate = Arc::new(Gate::default());
    let failed = |error| {
        // Best effort: the failure to serve is what has to be told.
        let _ = give_up(connection, &gate, steward);
        DaemonError::Serve(connection.directory(), error)
    };
    session::serve(connection, service, VIEWS, &gate, ended).map_err(failed)?;
    if let Some(anchors) = connection.anchors() {
        match steward.stack(&anchors, views) {
            Ok(()) => {}
            Err(error) if connection.generation() == 0 => return Err(failed(error)),
            // What the first daemon has laid is still there, and who only serves may not mount.
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
    if !keeper.has_given(connection) {
        keeper.keep(connection).map_err(|e| DaemonError::Keep(keeper.name(), e))?;
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
    views: &[&'static dyn View],
    keeper: &Keeper,
    steward: &Steward,
    events: &Receiver<Event>,
    sender: &Sender<Event>,
) -> Result<(), DaemonError> {
    let directory = connection.directory();
    let ended = sender.clone();
    let gate = start(connection, service, views, keeper, steward, move |result| {
        drop(ended.send(Event::Ended(result)))
    })?;
    if !matches!(keeper, Keeper::ServiceManager) {
        match handover::listen(&directory).and_then(|listener| listen(listener, sender.clone())) {
            Ok(()) => {}
            // Serving is what matters.
            Err(error) => log::warn!("no other daemon can take over: {error}"),
        }
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

    match wait(connection, service, keeper, events, &gate) {
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
            let is_mounted = connection.anchors().is_some_and(|anchors| anchors.is_mounted());
            // Nobody is left to answer anybody.
            if let Some(anchors) = connection.anchors() {
                let _ = steward.fall_back(&anchors);
                let _ = steward.abort(&anchors);
            }
            match result {
                Ok(()) if !is_mounted => {
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

/// Shows the kernel's own files at the anchors, answers what was asked before, and unmounts.
fn give_up(connection: &Connection, gate: &Arc<Gate>, steward: &Steward) -> io::Result<()> {
    let Some(anchors) = connection.anchors() else { return steward.unmount(&connection.mount_point()) };
    let fallen_back = steward.fall_back(&anchors);
    let _ = session::drain(gate, &anchors.live());
    let aborted = steward.abort(&anchors);
    gate.open();
    fallen_back.and(aborted)
}

enum End {
    /// The connection is somebody else's.
    Left,
    Signal(Signal),
    Connection(io::Result<()>),
}

/// Leaves a connection that [`start`] was called for to whoever keeps it.
pub fn leave(connection: &Connection, gate: &Arc<Gate>) {
    let _ = session::drain(gate, &connection.mount_point());
}

fn wait(
    connection: &Connection,
    service: &Service,
    keeper: &Keeper,
    events: &Receiver<Event>,
    gate: &Arc<Gate>,
) -> End {
    let mount_point = connection.mount_point();
    let interval = keeper.interval();
    let (mut swept, mut before) = (Instant::now(), Vec::new());
    loop {
        match events.recv_timeout(interval.unwrap_or(SWEEP).min(SWEEP)) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return End::Connection(Ok(())),
            Ok(Event::Ended(result)) => return End::Connection(result),
            Ok(Event::Signal(Signal::SIGTERM)) if !matches!(keeper, Keeper::Nobody) => {
                let _ = session::drain(gate, &mount_point);
                return End::Left;
            }
            Ok(Event::Signal(signal)) => return End::Signal(signal),
            Ok(Event::Asked(asking)) => {
                let _ = session::drain(gate, &mount_point);
                match handover::offer(&asking, connection) {
                    Ok(()) => {
                        keeper.release();
                        // Its end is what the successor waits for.
                        std::mem::forget(asking);
                        return End::Left;
                    }
                    Err(error) => {
                        log::warn!("nobody took the connection over: {error}");
                        gate.open();
                    }
                }
            }
        }
        if interval.is_some() {
            let now = connection.journal().fetched();
            // What is answered so slowly is not answered at all.
            let stuck = now.iter().find(|request| before.contains(*request));
            match stuck {
                Some(request) => log::error!(
                    "a thread has not answered request {} of process {} in time; without an answer the keeper replaces \
                     this daemon",
                    request.unique,
                    request.pid
                ),
                None => keeper.feed(),
            }
            before = now;
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            service.sweep();
        }
    }
}

/// Hears those who want to take over.
fn listen(listener: UnixListener, sender: Sender<Event>) -> io::Result<()> {
    let accept = move || {
        for asking in listener.incoming().map_while(Result::ok) {
            if !handover::is_from_root(&asking) {
                log::warn!("somebody who is not root asks for the connection");
                continue;
            }
            if sender.send(Event::Asked(asking)).is_err() {
                break;
            }
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
