//! What the file system can ask for, and others who wait for an answer.

use super::query::{FilesOf, Query, TextOf, Viewer};
use crate::error::Error;
use crate::service::cache::rendered::Rendered;
use crate::service::engine::Service;
use crate::service::scheduling::pending_request::{PendingRequest, ThreadRole};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::Needs;
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

impl Service {
    /// `view` for the process or thread `pid`, which is 0 for one that can't be seen: one snapshot, at most
    /// [`MAX_AGE`](crate::service::MAX_AGE) old. Blocks; a serving thread calls [`ask_text`](Self::ask_text).
    ///
    /// # Errors
    /// Where the reader or its cgroup is gone, or the kernel's files can't be read.
    pub fn text(self: &Arc<Self>, pid: Pid, view: ViewId) -> Result<Arc<Rendered>, Error> {
        self.wait_for(pid, TextOf(view))
    }

    /// The answer to any query. Blocks.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub(in crate::service) fn wait_for<Q: Query>(
        self: &Arc<Self>,
        pid: Pid,
        query: Q,
    ) -> Result<Q::Answer, Error> {
        let (sender, answer) = mpsc::channel();
        let request = PendingRequest::new(pid, InFlightGuard::untracked());
        // The receiver is gone where nobody waits any more.
        self.ask(ThreadRole::Worker, request, query, move |found| drop(sender.send(found)));
        answer.recv().unwrap_or(Err(Error::Errno(Errno::IO)))
    }

    /// Calls `reply` with what [`text`](Self::text) returns: at once, or from another thread where readers of
    /// other containers would have to wait. The request stays in flight until then.
    pub fn ask_text(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        view: ViewId,
        reply: impl FnOnce(Result<Arc<Rendered>, Error>) + Send + 'static,
    ) {
        self.ask_serving(in_flight, pid, TextOf(view), reply);
    }

    /// Calls `reply` with what `make` makes of files of the host for the reader, after a snapshot with
    /// `needs` was read: [`Topology::needs`] or more. As with [`ask_text`](Self::ask_text), that may be later
    /// and from another thread.
    pub fn ask_files<T: Send + 'static>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        needs: Needs,
        make: impl Fn(&Self, &Viewer<'_>) -> Result<T, Error> + Send + Sync + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        self.ask_serving(in_flight, pid, FilesOf::new(needs, make), reply);
    }

    /// Calls `reply` with the text of the file at `path` below `sys/devices/system`; ENOENT where it belongs
    /// to a processor or a node that the reader's container does not have.
    pub fn ask_system_file(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        path: Vec<u8>,
        reply: impl FnOnce(Result<Arc<Rendered>, Error>) + Send + 'static,
    ) {
        let needs = Topology::needs(&path);
        let make = move |service: &Self, viewer: &Viewer<'_>| {
            let sampled_at = Instant::now();
            let read = |path: &[u8]| Ok::<_, Error>(service.source.system_directory().text(path)?.to_vec());
            let bytes = match viewer.topology {
                None => read(&path)?,
                Some(topology) => {
                    let native = topology.native_path(&path).ok_or(Errno::NOENT)?;
                    topology.text(&path, read(&native)?, viewer.memory, read)?
                }
            };
            Ok(Arc::new(Rendered { sampled_at, bytes, cgroup: viewer.cgroup.into() }))
        };
        self.ask_files(in_flight, pid, needs, make, reply);
    }

    /// The text of a file below `sys/devices/system`, as [`ask_system_file`](Self::ask_system_file) gives it.
    /// Blocks.
    ///
    /// # Errors
    /// Those of [`text`](Self::text), and ENOENT where the reader has no such file.
    pub fn system_text(self: &Arc<Self>, pid: Pid, path: &str) -> Result<Arc<Rendered>, Error> {
        let (sender, answer) = mpsc::channel();
        // The receiver is gone where nobody waits any more.
        self.ask_system_file(InFlightGuard::untracked(), pid, path.into(), move |text| {
            drop(sender.send(text))
        });
        answer.recv().unwrap_or(Err(Error::Errno(Errno::IO)))
    }
}
