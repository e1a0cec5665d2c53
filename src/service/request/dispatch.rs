//! Hands work to the threads that may do it.

use super::deadline_reply::{DeadlineReply, Reply};
use super::outcome::FollowUp;
use crate::service::engine::Service;
use crate::service::scheduling::lane::Lane;
use crate::service::scheduling::owner::{Owner, of_process};
use crate::service::scheduling::pending_request::{Continuation, ThreadRole};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use std::sync::Arc;
use std::time::Instant;

/// How many of the requests that waited for what it has read a serving thread answers; workers answer the
/// others.
const MAX_HELPED: usize = 4;

impl Service {
    /// Runs `work` on a worker of `lane`, on behalf of the cgroup of `pid`.
    pub(crate) fn dispatch(
        self: &Arc<Self>,
        lane: Lane,
        in_flight: InFlightGuard,
        pid: Pid,
        work: impl FnOnce(&Arc<Self>, InFlightGuard) + Send + 'static,
    ) {
        let (service, owner) = (Arc::clone(self), self.owner_of(pid));
        in_flight.wait(&owner);
        let job = move || {
            in_flight.begin();
            work(&service, in_flight);
        };
        self.workers.enqueue(lane, owner, Box::new(job));
    }

    /// On whose behalf work for a process is done.
    pub(in crate::service) fn owner_of(&self, pid: Pid) -> Owner {
        let place = if pid == Pid::UNSEEN { None } else { self.source.cgroup_of(pid).ok() };
        place.map_or_else(|| of_process(pid), Owner::from)
    }

    /// Tries a request again in `lane`.
    pub(in crate::service) fn defer(&self, lane: Lane, owner: Owner, again: Continuation) {
        self.workers.enqueue(lane, owner, Box::new(move || again(ThreadRole::of(lane))));
    }

    /// A reply for work that may hang: it is EAGAIN after the machine's `look_timeout`.
    pub(in crate::service) fn deadline_reply<T: Send + 'static>(
        &self,
        owner: &Owner,
        in_flight: InFlightGuard,
        reply: Reply<T>,
    ) -> DeadlineReply<T> {
        let (reply, give_up) = DeadlineReply::new(owner, in_flight, reply);
        self.workers.enqueue_at(Instant::now() + self.fairness.pace.look_timeout, give_up);
        reply
    }

    /// Tries the requests again that waited for a reading: a serving thread takes a few of them itself.
    pub(in crate::service) fn resume_waiters(&self, role: ThreadRole, next: FollowUp) {
        let lane = next.lane();
        for (index, again) in next.again.into_iter().enumerate() {
            match role {
                ThreadRole::Serving if index < MAX_HELPED && lane == Lane::Fast => again(ThreadRole::Helping),
                _ => self.defer(lane, next.owner.clone(), again),
            }
        }
    }

    /// Leaves all of them to workers.
    pub(in crate::service) fn defer_all(&self, next: FollowUp) {
        let lane = next.lane();
        next.again.into_iter().for_each(|again| self.defer(lane, next.owner.clone(), again));
    }
}
