//! The threads that serve a connection.

use super::connection::Connection;
use super::recovery::recover_in_flight;
use crate::fuse::seams::init_replay::replay_init;
use crate::fuse::{QuiesceGate, ServedConnection, ViewFs, replay_request, waker};
use crate::service::Service;
use cgprocfs_core::view::ViewId;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Starts to serve a connection, be it new or a predecessor's. The thread ends when the file system is
/// unmounted everywhere, or the connection is aborted, and calls `ended` then. Nobody is answered before
/// `confine` has been called.
///
/// # Errors
/// Where the kernel's INIT request is not understood, or no thread can be made.
pub fn serve(
    connection: &Connection,
    service: &Arc<Service>,
    views: &[ViewId],
    gate: &Arc<QuiesceGate>,
    confine: impl FnOnce() -> io::Result<()>,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    crate::failpoint::start();
    let served = ServedConnection {
        generation: connection.generation(),
        in_flight: connection.in_flight(),
        is_read_only: connection.is_read_only(),
    };
    let fs = ViewFs::new(Arc::clone(service), views, served, Arc::clone(gate));
    let session = replay_init(fs, connection.device(), &connection.init_request(), gate.threads())?;
    confine()?;
    // These, and all that they start, are confined as this thread is; and no thread that serves is to start
    // one.
    if let Err(error) = service.spawn_dispatchers() {
        log::warn!("cannot start the threads that hand out work: {error}; tried again once there is some");
    }
    // Before anything is answered from it.
    let waiters = service.attach(connection.state());
    let quarantine = |pid| service.quarantine(pid);
    let poisoned = recover_in_flight(connection, gate.threads(), quarantine, |fetched, in_flight, reply| {
        replay_request(service, views, *fetched, Arc::clone(in_flight), reply);
    })?;
    if !poisoned.is_empty() {
        log::warn!(
            "requests of processes {poisoned:?} get EIO: earlier servers have ended, or hung, over them"
        );
    }
    let wake = waker(session.notifier());
    waiters.into_iter().for_each(&wake);
    service.follow_triggers(wake)?;
    thread::Builder::new().name("session".into()).spawn(move || ended(session.run()))
}
