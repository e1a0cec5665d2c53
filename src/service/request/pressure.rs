//! Pressure triggers: arming them, and what a poll is told.

use crate::error::Error;
use crate::kernel::{Caller, CgroupId, PressureFile};
use crate::service::engine::Service;
use crate::service::psi_monitor::PollState;
use crate::service::scheduling::pending_request::ThreadRole;
use crate::state::in_flight::InFlightGuard;
use crate::state::{OpenFile, PollWaiter};
use cgprocfs_core::psi::Trigger;
use cgprocfs_core::snapshot::{Needs, Scope};
use cgprocfs_core::view::ViewId;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::thread;

/// Whose pressure it is, the container's cgroup and path, or `None` for the host; and where that is told, if it is.
type Pressure = (Option<CgroupId>, Vec<u8>, Option<PressureFile>);

impl Service {
    /// Takes a pressure trigger that `pid` has written to an open file of a view, and has `reply` told: EINVAL for what is no
    /// trigger, EBUSY where the file has one, ENOSPC where the container has too many.
    pub fn ask_to_arm(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        (file, pid): (OpenFile, u32),
        view: ViewId,
        trigger: Option<Trigger>,
        reply: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        match trigger {
            None => reply(Err(Error::Errno(Errno::INVAL))),
            Some(trigger) => {
                let find = move |service: &Self, role| service.pressure_for(role, pid, view);
                // Who is told that it took too long has no trigger.
                self.find_deferred(in_flight, pid, find, move |service, found| {
                    reply(service.watch(file, found, trigger, None));
                });
            }
        }
    }

    /// Watches what was found, which has to be of `owner`, if that is known.
    fn watch(
        &self,
        file: OpenFile,
        found: Result<Pressure, Error>,
        trigger: Trigger,
        owner: Option<Option<CgroupId>>,
    ) -> Result<(), Error> {
        let (found, path, pressure) = found?;
        if owner.is_some_and(|owner| owner != found) {
            return Err(Error::Errno(Errno::NODEV));
        }
        self.psi_monitor.arm(file, (found, &path), trigger, pressure).map_err(Error::Errno)
    }

    /// The pressure that a view shows a reader.
    fn pressure_for(&self, role: ThreadRole, pid: u32, view: ViewId) -> Result<Pressure, Error> {
        let (file, native) = view.pressure().zip(view.host_file()).ok_or(Error::Errno(Errno::ROFS))?;
        let of_container = |caller: &Caller<'_>| {
            let path = self.source.ancestry(caller.cgroup)?;
            // Whose pressure it is has to be whose text it reads.
            if let Scope::Host(_) = self.source.read_snapshot(&path, caller, Needs::CPUS)?.scope {
                return Ok(None);
            }
            let container = path.container(caller.container);
            container
                .map(|it| Ok((Some(it.id), it.path.to_vec(), self.source.pressure_of(caller, file)?)))
                .transpose()
        };
        let found = if pid == 0 { None } else { self.for_caller(role, pid, of_container)? };
        match found {
            Some(found) => Ok(found),
            None => Ok((None, b"/".to_vec(), Some(self.source.pressure_of_host(native)?))),
        }
    }

    /// Calls `reply` with what a poll of an open pressure file is told. If that is no event, the next one wakes `waiter`.
    pub fn ask_poll(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        (file, pid): (OpenFile, u32),
        view: ViewId,
        waiter: Option<PollWaiter>,
        reply: impl FnOnce(PollState) + Send + 'static,
    ) {
        match self.psi_monitor.orphaned(file) {
            None => reply(self.psi_monitor.poll(file, waiter)),
            Some(left) => {
                let owner = (left.owner != 0).then(|| CgroupId::new(left.owner));
                let find = move |service: &Self, role| service.pressure_for(role, pid, view);
                self.find_deferred(in_flight, pid, find, move |service, found| {
                    if let Err(error) = service.watch(file, found, left.trigger, Some(owner)) {
                        service.log(&error);
                    }
                    reply(service.psi_monitor.poll(file, waiter));
                });
            }
        }
    }

    /// An open file was closed.
    pub fn closed(&self, file: OpenFile) {
        self.psi_monitor.release(file);
    }

    /// Looks after triggers on a thread of its own that ends with this service. `wake` has the kernel ask again for those who
    /// wait.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn follow_triggers(self: &Arc<Self>, wake: impl Fn(PollWaiter) + Send + 'static) -> io::Result<()> {
        // Not the service: while nothing is armed this waits without end.
        let monitor = Arc::clone(&self.psi_monitor);
        let follow = move || while monitor.watch(&wake) {};
        thread::Builder::new().name("pressure".into()).spawn(follow).map(drop)
    }
}
