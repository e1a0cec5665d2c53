//! A request that is not answered yet, and how it is tried again.

use super::lane::Lane;
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Tries a pending request again, on a thread of the given role.
pub(in crate::service) type Continuation = Box<dyn FnOnce(ThreadRole) + Send>;

/// What a thread may do for a request, which depends on who waits for the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadRole {
    /// Serves all containers: it must neither take long nor hang.
    Serving,
    /// Serves all containers, and has spent its time for this one: what it can't answer at once is for
    /// others.
    Helping,
    /// Works for containers that are not known to be slow: it may look for what a serving thread has no time
    /// for, once.
    FastWorker,
    /// Works for one container: it may take long.
    Worker,
    /// Nobody waits for it: it may even hang in the kernel.
    Blocking,
}

impl ThreadRole {
    /// The role of a worker of `lane`.
    pub(in crate::service) const fn of(lane: Lane) -> Self {
        match lane {
            Lane::Fast => Self::FastWorker,
            Lane::Slow => Self::Worker,
            Lane::Blocking => Self::Blocking,
        }
    }

    /// Whether it is a thread that serves nobody at once.
    pub(in crate::service) const fn is_worker(self) -> bool {
        matches!(self, Self::FastWorker | Self::Worker | Self::Blocking)
    }

    /// Whether its work may take as long as a tenant likes. Tenants take turns in the fast lane, too, but all
    /// of them need it.
    pub(in crate::service) const fn may_take_long(self) -> bool {
        matches!(self, Self::Worker | Self::Blocking)
    }
}

/// A request, and who waits for its answer.
pub(in crate::service) struct PendingRequest {
    /// The reader's process or thread id; 0 for one in a pid namespace that can't be seen from here.
    pub(in crate::service) pid: Pid,
    pub(in crate::service) asked: Instant,
    /// Keeps the request in the table of requests in flight.
    pub(in crate::service) in_flight: InFlightGuard,
    /// How often it was tried again.
    pub(in crate::service) rounds: u16,
    /// Of a request that was given to a thread that may hang: when its reader stops waiting.
    pub(in crate::service) deadline: Option<Deadline>,
}

impl PendingRequest {
    /// A request that begins now.
    pub(in crate::service) fn new(pid: Pid, in_flight: InFlightGuard) -> Self {
        Self { pid, asked: Instant::now(), in_flight, rounds: 0, deadline: None }
    }
}

/// Whether a reader still waits. One that has its answer may be in the middle of an exec, and keep whoever
/// looks at it for as long as it likes.
#[derive(Clone, Default)]
pub(in crate::service) struct Deadline(Arc<AtomicBool>);

impl Deadline {
    /// Records that the reader has its answer.
    pub(in crate::service) fn pass(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(in crate::service) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A request that was tried so often gets EAGAIN: each time something else was missing, and will be the next
/// time.
pub(in crate::service) const MAX_ROUNDS: u16 = 1000;
