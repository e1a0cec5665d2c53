//! Pressure triggers: arming them, and what a poll is told.

use crate::error::Error;
use crate::kernel::{Caller, CgroupId};
use crate::service::engine::Service;
use crate::service::pressure_source::PressureSource;
use crate::service::psi_monitor::PollState;
use crate::service::scheduling::pending_request::ThreadRole;
use crate::state::in_flight::InFlightGuard;
use crate::state::{OpenFile, PollWaiter};
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::psi::Trigger;
use cgprocfs_core::snapshot::{Needs, Scope};
use cgprocfs_core::view::ViewId;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::thread;

/// A request about the trigger of an open pressure file.
pub struct PressureRequest {
    /// Where it is in the table of requests.
    pub in_flight: InFlightGuard,
    /// The open file.
    pub file: OpenFile,
    /// The process that asks; 0 if it can't be seen from here.
    pub pid: Pid,
    /// The view that is open.
    pub view: ViewId,
}

impl Service {
    /// Takes a pressure trigger that a process has written, and calls `reply`: with EINVAL for what is no
    /// trigger, EBUSY if the file has one, ENOSPC if the container has too many.
    pub fn ask_to_arm(
        self: &Arc<Self>,
        request: PressureRequest,
        trigger: Option<Trigger>,
        reply: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        match trigger {
            None => reply(Err(Error::Errno(Errno::INVAL))),
            Some(trigger) => {
                let PressureRequest { in_flight, file, pid, view } = request;
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
        found: Result<PressureSource, Error>,
        trigger: Trigger,
        owner: Option<Option<CgroupId>>,
    ) -> Result<(), Error> {
        let source = found?;
        if owner.is_some_and(|owner| owner != source.owner) {
            return Err(Error::Errno(Errno::NODEV));
        }
        self.psi_monitor.arm(file, trigger, source).map_err(Error::Errno)
    }

    /// The pressure that a view shows a reader.
    fn pressure_for(&self, role: ThreadRole, pid: Pid, view: ViewId) -> Result<PressureSource, Error> {
        let (file, native) = view.pressure().zip(view.host_file()).ok_or(Error::Errno(Errno::ROFS))?;
        let of_container = |caller: &Caller<'_>| {
            let path = self.source.ancestry(caller.cgroup)?;
            // Whose pressure it is has to be whose text it reads.
            if let Scope::Host(_) = self.source.read_snapshot(&path, caller, Needs::CPUS)?.scope {
                return Ok(None);
            }
            let Some(container) = path.container(caller.container) else { return Ok(None) };
            let (owner, path) = (Some(container.id), container.path.to_vec());
            Ok(Some(PressureSource { owner, path, file: self.source.pressure_of(caller, file)? }))
        };
        let found = if pid == Pid::UNSEEN { None } else { self.for_caller(role, pid, of_container)? };
        match found {
            Some(found) => Ok(found),
            None => {
                let file = Some(self.source.pressure_of_host(native)?);
                Ok(PressureSource { owner: None, path: b"/".to_vec(), file })
            }
        }
    }

    /// Calls `reply` with what a poll of an open pressure file is told. If that is no event, the next one
    /// wakes `waiter`.
    pub fn ask_poll(
        self: &Arc<Self>,
        request: PressureRequest,
        waiter: Option<PollWaiter>,
        reply: impl FnOnce(PollState) + Send + 'static,
    ) {
        let PressureRequest { in_flight, file, pid, view } = request;
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

    /// Looks after triggers on a thread of its own that ends with this service. `wake` has the kernel ask
    /// again for those who wait.
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
