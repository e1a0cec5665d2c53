//! Asks until there is an answer: a request is tried, and tried again by another thread where it would make
//! readers of other containers wait.

use super::deadline_reply::Reply;
use super::outcome::Outcome;
use super::query::Query;
use crate::error::Error;
use crate::kernel::cgroup::ancestors::ancestors;
use crate::kernel::{Caller, Reader};
use crate::service::cache::rendered::MAX_AGE;
use crate::service::engine::Service;
use crate::service::scheduling::lane::Lane;
use crate::service::scheduling::owner::Owner;
use crate::service::scheduling::pending_request::{Continuation, MAX_ROUNDS, PendingRequest, ThreadRole};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::Needs;
use log::Level;
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a container stays in the slow lane after a server ended over one of its requests.
const QUARANTINE: Duration = Duration::from_secs(60);
/// No runtime puts containers deeper than this below the root of the hierarchy.
const MAX_CONTAINER_DEPTH: usize = 16;

impl Service {
    /// Calls `reply` with the answer; for a serving thread.
    pub(in crate::service) fn ask_serving<Q: Query>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) {
        let request = PendingRequest::new(pid, in_flight);
        match self.fairness.slow_processes.owner(pid) {
            Some(owner) => {
                let again = self.continuation(&owner, request, query, reply);
                self.defer(Lane::Slow, owner, again);
            }
            None => self.ask(ThreadRole::Serving, request, query, reply),
        }
    }

    /// Calls `reply` with the answer: now, or later from another thread where readers of other containers
    /// would have to wait.
    pub(in crate::service) fn ask<Q: Query>(
        self: &Arc<Self>,
        role: ThreadRole,
        request: PendingRequest,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) {
        if request.rounds > MAX_ROUNDS {
            self.log.message(
                "rounds",
                Level::Error,
                "a request was tried a thousand times; please report it",
            );
            return reply(Err(Error::Errno(Errno::AGAIN)));
        }
        match self.attempt(role, &request, &query) {
            Outcome::Done(answer, next) => {
                reply(answer);
                drop(request);
                self.resume_waiters(role, next);
            }
            Outcome::Queue(lane, owner, next) => {
                let again = self.continuation(&owner, request, query, reply);
                self.defer(lane, owner, again);
                self.defer_all(next);
            }
            Outcome::BeingRead(cached) => {
                // The reading may have ended meanwhile.
                if let Some(again) = cached.park(self.continuation(cached.path(), request, query, reply)) {
                    again(role);
                }
            }
            Outcome::MayHang(owner) => self.attempt_blocking(owner, request, query, Box::new(reply)),
            Outcome::NeedsStart(search) => {
                let again = self.continuation(&Owner::from(&*search.cgroup), request, query, reply);
                self.seek_start(role, search, again);
            }
        }
    }

    /// What tries the request again, in whichever thread it is called.
    fn continuation<Q: Query>(
        self: &Arc<Self>,
        owner: &Owner,
        mut request: PendingRequest,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) -> Continuation {
        let service = Arc::clone(self);
        request.rounds = request.rounds.saturating_add(1);
        request.in_flight.wait(owner);
        let Some(deadline) = request.deadline.clone() else {
            return Box::new(move |role| {
                request.in_flight.begin();
                service.ask(role, request, query, reply);
            });
        };
        // Its reader hangs perhaps as soon as it need not wait any more, so no other thread than one that may
        // hang looks at it.
        let owner = owner.clone();
        let ask = move |service: &Arc<Self>| {
            if !deadline.is_over() {
                service.ask(ThreadRole::Blocking, request, query, reply);
            }
        };
        Box::new(move |role| match role {
            ThreadRole::Blocking => ask(&service),
            _ => {
                let asking = Arc::clone(&service);
                service.workers.enqueue(Lane::Blocking, owner, Box::new(move || ask(&asking)));
            }
        })
    }

    /// Tries on a thread that may hang. If that takes too long, `reply` gets EAGAIN.
    fn attempt_blocking<Q: Query>(
        self: &Arc<Self>,
        owner: Owner,
        request: PendingRequest,
        query: Q,
        reply: Reply<Q::Answer>,
    ) {
        let PendingRequest { pid, asked, in_flight, rounds, .. } = request;
        let (service, reply) = (Arc::clone(self), self.deadline_reply(&owner, in_flight, reply));
        let look = move || {
            if reply.begin() {
                let (in_flight, deadline) = (InFlightGuard::untracked(), Some(reply.deadline()));
                let request = PendingRequest { pid, asked, in_flight, rounds, deadline };
                let reply: Reply<_> = Box::new(move |answer| reply.send(answer));
                service.ask(ThreadRole::Blocking, request, query, reply);
            }
        };
        self.workers.enqueue(Lane::Blocking, owner, Box::new(look));
    }

    /// Calls `then` with what `look` finds out about a process, from a worker, or from a thread that may hang
    /// where `look` may. If that takes too long, `then` gets EAGAIN.
    pub(in crate::service) fn find_deferred<T: Send + 'static>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        look: impl Fn(&Self, ThreadRole) -> Result<T, Error> + Send + 'static,
        then: impl FnOnce(&Self, Result<T, Error>) + Send + 'static,
    ) {
        self.dispatch(Lane::Slow, in_flight, pid, move |service, in_flight| {
            match look(service, ThreadRole::Worker) {
                Err(Error::MayHang(path)) => {
                    let (told, looking) = (Arc::clone(service), Arc::clone(service));
                    let owner = Owner::from(path);
                    let reply =
                        service.deadline_reply(&owner, in_flight, Box::new(move |found| then(&told, found)));
                    let look = move || {
                        if reply.begin() {
                            reply.send(look(&looking, ThreadRole::Blocking));
                        }
                    };
                    service.workers.enqueue(Lane::Blocking, owner, Box::new(look));
                }
                found => then(service, found),
            }
        });
    }

    /// Identifies the caller and calls `make`, again where its cgroup was removed meanwhile. May take long.
    pub(in crate::service) fn for_caller<T>(
        &self,
        role: ThreadRole,
        pid: Pid,
        make: impl Fn(&Caller<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut proc_cgroup, mut attempt) = (Vec::new(), 1);
        loop {
            let may_hang = role == ThreadRole::Blocking;
            let (max_age, needs) = (MAX_AGE, Needs::CPUS);
            let reader = Reader { pid, max_age, needs, may_search: true, may_hang };
            let caller = self.source.caller(reader, &mut proc_cgroup)?;
            match make(&caller) {
                Err(error) if self.prepare_retry(attempt, &error) => {
                    if error.is_race() {
                        self.forget(&caller);
                    }
                    attempt += 1;
                }
                made => return made,
            }
        }
    }

    /// Puts the container of a process into the slow lane for a while: a server has ended over one of its
    /// requests. If it ends before anybody can find its container, that is one of its cgroup's ancestors, if
    /// not the cgroup itself.
    pub fn quarantine(self: &Arc<Self>, pid: Pid) {
        let (service, owner) = (Arc::clone(self), self.owner_of(pid));
        let above = ancestors(&owner).skip(1).take(MAX_CONTAINER_DEPTH);
        for container in above.chain([&*owner]) {
            self.fairness.accounts.of(container).make_slow(Instant::now() + QUARANTINE);
        }
        let leave = move || {
            let leave = service.for_caller(ThreadRole::Blocking, pid, |caller| {
                let cached = service.cached_cgroup(caller)?;
                service.account_of(caller, &cached).make_slow(Instant::now() + QUARANTINE);
                Ok(())
            });
            if let Err(error) = leave {
                service.log(&error);
            }
        };
        self.workers.enqueue(Lane::Blocking, owner, Box::new(leave));
    }
}

#[cfg(test)]
mod tests;
