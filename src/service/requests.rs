//! What a file system asks for, and how long it waits.

use super::engine::Service;
use super::pending_request::{PendingRequest, ThreadRole};
use super::query::{FilesOf, TextOf, Viewer};
use super::rendered::Text;
use crate::error::Error;
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::snapshot::Needs;
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

impl Service {
    /// The text of `view` for the process or thread `pid`, which is 0 for one that can't be seen. It is
    /// at most [`MAX_AGE`] old, and all of it is of one moment. For who can wait: a serving thread [asks](Self::ask_text).
    ///
    /// # Errors
    /// Where the reader or its cgroup is gone, or the kernel's files can't be read.
    pub fn text(self: &Arc<Self>, pid: u32, view: ViewId) -> Result<Arc<Text>, Error> {
        let (sender, answer) = mpsc::channel();
        let query = TextOf(view);
        let request =
            PendingRequest { pid, asked: Instant::now(), in_flight: InFlightGuard::nowhere(), rounds: 0 };
        // Nobody waits any more if that fails.
        self.ask(ThreadRole::Patient, request, query, move |text| drop(sender.send(text)));
        answer.recv().unwrap_or(Err(Error::Errno(Errno::IO)))
    }

    /// Has `reply` told the text of `view`, as [`text`](Self::text) has it: at once, or by another thread where it takes
    /// longer or others would have to wait for it. The request stays in_flight until then.
    pub fn ask_text(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        view: ViewId,
        reply: impl FnOnce(Result<Arc<Text>, Error>) + Send + 'static,
    ) {
        self.ask_serving(in_flight, pid, TextOf(view), reply);
    }

    /// Likewise what `make` makes of files of the host for the reader, of whom `needs` is read: [`Topology::needs`], or more.
    pub fn ask_files<T: Send + 'static>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        needs: Needs,
        make: impl Fn(&Self, &Viewer<'_>) -> Result<T, Error> + Send + Sync + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        self.ask_serving(in_flight, pid, FilesOf::new(needs, make), reply);
    }

    /// Likewise the text of the file at `path` below `sys/devices/system`, as `pid` has it; ENOENT where that is of a
    /// processor or a node that it has not.
    pub fn ask_system_file(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        path: Vec<u8>,
        reply: impl FnOnce(Result<Arc<Text>, Error>) + Send + 'static,
    ) {
        let needs = Topology::needs(&path);
        let make = move |service: &Self, viewer: &Viewer<'_>| {
            let taken = Instant::now();
            let read = |path: &[u8]| Ok::<_, Error>(service.source.system_directory().text(path)?);
            let bytes = match viewer.topology {
                None => read(&path)?,
                Some(topology) => {
                    let native = topology.native_path(&path).ok_or(Errno::NOENT)?;
                    topology.text(&path, read(&native)?, viewer.memory, read)?
                }
            };
            Ok(Arc::new(Text { taken, bytes, cgroup: viewer.cgroup.into() }))
        };
        self.ask_files(in_flight, pid, needs, make, reply);
    }

    /// The text of such a file, for who can wait.
    ///
    /// # Errors
    /// As [`text`](Self::text), and ENOENT where the reader has none there.
    pub fn system_text(self: &Arc<Self>, pid: u32, path: &str) -> Result<Arc<Text>, Error> {
        let (sender, answer) = mpsc::channel();
        // Nobody waits any more if that fails.
        self.ask_system_file(InFlightGuard::nowhere(), pid, path.into(), move |text| drop(sender.send(text)));
        answer.recv().unwrap_or(Err(Error::Errno(Errno::IO)))
    }

    /// Notes that a serving thread has fetched a request, while many of the others were about one or few.
    pub fn fetched(&self, are_many: bool) {
        self.busyness.note(are_many);
    }
}
