//! The daemon: serves one mount until it is told to end, or to leave it to a successor.

mod event;
mod event_loop;
mod shutdown;
mod takeover;

pub use self::event::{DaemonError, Event};

use self::event_loop::End;
use super::connection::Connection;
use super::fd_store::FdStore;
use super::server;
use super::steward::{Steward, Task};
use crate::confinement::sandbox::{self, Refusal, SandboxError};
use crate::fuse::QuiesceGate;
use crate::mount::MAX_DEPTH;
use crate::service::Service;
use cgprocfs_core::view::ViewId;
use sd_notify::NotifyState;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

/// Starts to serve `connection`, shows views at the anchors, and has the connection stored. The process is
/// confined before it answers anybody.
///
/// # Errors
/// [`DaemonError`]; nothing is mounted then, unless the connection is stored already.
pub fn start(
    connection: &Connection,
    service: &Arc<Service>,
    (fd_store, steward): (&FdStore, &Steward),
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> Result<Arc<QuiesceGate>, DaemonError> {
    let gate = Arc::new(QuiesceGate::default());
    let failed = |error: io::Error| {
        // Best effort: the failure to serve is what has to be reported.
        let _ = shutdown::unmount(connection, &gate, steward);
        match error.downcast::<SandboxError>() {
            Ok(error) => error.into(),
            Err(error) => DaemonError::Serve(connection.directory(), error),
        }
    };
    let confine = || sandbox::restrict_server(Refusal::OF_BUILD).map_err(io::Error::other);
    server::serve(connection, service, &ViewId::ALL, &gate, confine, ended).map_err(failed)?;
    if let Some(anchors) = connection.anchors() {
        match steward.have_done(Task::Stack) {
            Ok(()) => {}
            Err(error) if connection.generation() == 0 => return Err(failed(error)),
            // The views that the first daemon has mounted are still there, and a process that only serves may
            // not mount.
            Err(error) => log::debug!("cannot lay views on {}: {error}", anchors.directory().display()),
        }
        let depth = anchors.depth();
        if depth > MAX_DEPTH {
            log::warn!(
                "{depth} mounts lie on one file in {}, two for each connection that was lost; \
                 `cgprocfs unmount --anchors` removes them once no container binds them",
                anchors.directory().display()
            );
        }
    }
    let stored = if fd_store.is_stored(connection) { Ok(()) } else { fd_store.store(connection) };
    if let Err(error) = stored {
        // Nobody would have the connection after this process, and readers would be left with an error.
        fd_store.release();
        let _ = shutdown::unmount(connection, &gate, steward);
        return Err(DaemonError::Keep(fd_store.name(), error));
    }
    Ok(gate)
}

/// Serves `connection` until an event ends that.
///
/// # Errors
/// [`DaemonError`]; nothing is mounted then, unless the connection is stored.
pub fn serve(
    connection: &Connection,
    service: &Arc<Service>,
    (mut fd_store, steward): (FdStore, &Steward),
    events: &Receiver<Event>,
    sender: &Sender<Event>,
) -> Result<(), DaemonError> {
    // The anchors may be gone once the connection is.
    let directory = connection.directory();
    // Before this process may not make a socket any more.
    let listens = match fd_store {
        FdStore::ServiceManager => Ok(()),
        _ => takeover::listen(&directory, connection, sender),
    };
    if let Err(error) = listens {
        // Serving is what matters.
        log::warn!("no other daemon can take over: {error}");
    }
    let ended = sender.clone();
    let ended = move |result| drop(ended.send(Event::Ended(result)));
    let gate = start(connection, service, (&fd_store, steward), ended)?;
    start_background_threads(service);
    match connection.generation() {
        0 => log::info!("serving {}", directory.display()),
        generation => log::info!("serving {}, resumed by server {generation}", directory.display()),
    }
    notify(&[NotifyState::Ready]);
    fd_store.ping_watchdog();

    service.note_keeper(fd_store.keeper());
    let began = Instant::now();
    match event_loop::run((connection, service), &mut fd_store, events, &gate) {
        End::Left => {
            log::info!("leaving {} to a successor", directory.display());
            Ok(())
        }
        End::Signal(signal) => {
            log::info!("unmounting {} on {signal}", directory.display());
            notify(&[NotifyState::Stopping]);
            fd_store.release();
            shutdown::shut_down(&directory, connection, &gate, steward, events)
        }
        End::Connection(result) => {
            let loss = (began.elapsed(), result);
            shutdown::after_loss(&directory, connection, &fd_store, steward, loss)
        }
    }
}

/// Leaves a connection that [`start`] was called for to whoever has it stored.
pub fn leave(connection: &Connection, gate: &Arc<QuiesceGate>) {
    event_loop::quiesce_for_successor(connection, gate);
}

fn start_background_threads(service: &Arc<Service>) {
    if let Err(error) = service.spawn_sweeper() {
        log::warn!("cannot start the clean-up thread: {error}; files of removed containers stay open");
    }
    if let Err(error) = service.spawn_load_sampler() {
        log::warn!(
            "cannot start the thread that samples load: {error}; proc/loadavg stays as it is until a restart"
        );
    }
}

/// Tells systemd, if it is there.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot notify systemd: {error}");
    }
}
