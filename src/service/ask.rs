//! From a reader and what it asks for to the answer, without anybody having to wait for it who is not of its container.

use super::attempt::MAX_ATTEMPTS;
use super::engine::Service;
use super::in_time::Reply;
use super::lane::Lane;
use super::outcome::Outcome;
use super::owner::{Owner, of_path};
use super::pending_request::{Continuation, MAX_ROUNDS, PendingRequest, ThreadRole};
use super::query::Query;
use super::rendered::MAX_AGE;
use crate::error::Error;
use crate::kernel::{Caller, Reader};
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::snapshot::Needs;
use log::Level;
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long a container is served aside after a server has ended over it.
const LEFT_ASIDE: Duration = Duration::from_secs(60);

impl Service {
    /// Has `reply` told the answer, on a thread that serves everybody.
    pub(super) fn ask_serving<Q: Query>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) {
        let request = PendingRequest { pid, asked: Instant::now(), in_flight, rounds: 0 };
        match self.known_aside.owner(pid) {
            Some(owner) => {
                let again = self.again(&owner, request, query, reply);
                self.put_aside(Lane::Slow, owner, again);
            }
            None => self.ask(ThreadRole::Serving, request, query, reply),
        }
    }

    /// Has `reply` told the answer: now, or where that would have others wait, later by another thread.
    pub(super) fn ask<Q: Query>(
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
                "a reader was put off a thousand times; please report it",
            );
            return reply(Err(Error::Errno(Errno::AGAIN)));
        }
        match self.attempt(role, &request, &query) {
            Outcome::Done(answer, next) => {
                reply(answer);
                drop(request);
                self.go_on(role, next);
            }
            Outcome::Aside(lane, owner, next) => {
                let again = self.again(&owner, request, query, reply);
                self.put_aside(lane, owner, again);
                self.put_all_aside(next);
            }
            Outcome::IsRead(answers) => {
                // It may have been read meanwhile.
                if let Some(again) = answers.park(self.again(answers.cgroup(), request, query, reply)) {
                    again(role);
                }
            }
            Outcome::Look(owner) => self.look(owner, request, query, Box::new(reply)),
            Outcome::Start(search) => {
                let again = self.again(&Owner::from(&*search.memory), request, query, reply);
                self.seek_start(role, search, again);
            }
        }
    }

    fn again<Q: Query>(
        self: &Arc<Self>,
        owner: &Owner,
        mut request: PendingRequest,
        query: Q,
        reply: impl FnOnce(Result<Q::Answer, Error>) + Send + 'static,
    ) -> Continuation {
        let service = Arc::clone(self);
        request.rounds = request.rounds.saturating_add(1);
        request.in_flight.wait(owner);
        Box::new(move |role| {
            request.in_flight.begin();
            service.ask(role, request, query, reply);
        })
    }

    /// Has `reply` told by a thread that may hang, or else in time to ask again.
    fn look<Q: Query>(
        self: &Arc<Self>,
        owner: Owner,
        request: PendingRequest,
        query: Q,
        reply: Reply<Q::Answer>,
    ) {
        let PendingRequest { pid, asked, in_flight, rounds } = request;
        let (service, reply) = (Arc::clone(self), self.in_time(&owner, in_flight, reply));
        let look = move || {
            if reply.begin() {
                let request = PendingRequest { pid, asked, in_flight: InFlightGuard::nowhere(), rounds };
                let reply: Reply<_> = Box::new(move |answer| reply.tell(answer));
                service.ask(ThreadRole::Looking, request, query, reply);
            }
        };
        self.push_aside(Lane::Looks, owner, Box::new(look));
    }

    /// Has `tell` told what `look` finds out about a process, by a thread that nobody else waits for, or where that may hang, by
    /// one that may, in time to ask again.
    pub(super) fn look_aside<T: Send + 'static>(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: u32,
        look: impl Fn(&Self, ThreadRole) -> Result<T, Error> + Send + 'static,
        tell: impl FnOnce(&Self, Result<T, Error>) + Send + 'static,
    ) {
        self.do_aside(Lane::Slow, in_flight, pid, move |service, in_flight| {
            match look(service, ThreadRole::Patient) {
                Err(Error::MayHang(path)) => {
                    let (told, looking) = (Arc::clone(service), Arc::clone(service));
                    let owner = of_path(&path);
                    let reply = service.in_time(&owner, in_flight, Box::new(move |found| tell(&told, found)));
                    let look = move || {
                        if reply.begin() {
                            reply.tell(look(&looking, ThreadRole::Looking));
                        }
                    };
                    service.push_aside(Lane::Looks, owner, Box::new(look));
                }
                found => tell(service, found),
            }
        });
    }

    /// Finds the caller, and has `make` try again where its cgroup was removed meanwhile. It may take long.
    pub(super) fn for_caller<T>(
        &self,
        role: ThreadRole,
        pid: u32,
        make: impl Fn(&Caller<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut membership, mut attempt) = (Vec::new(), 1);
        loop {
            let may_hang = role == ThreadRole::Looking;
            let (max_age, needs) = (MAX_AGE, Needs::CPUS);
            let reader = Reader { pid, max_age, needs, may_take_long: true, may_hang };
            let caller = self.source.caller(reader, &mut membership)?;
            match make(&caller) {
                Err(error) if error.is_race() && attempt < MAX_ATTEMPTS => {
                    self.forget(&caller);
                    attempt += 1;
                }
                Err(error) if error.is_fd_exhaustion() && attempt < MAX_ATTEMPTS => {
                    self.close_half();
                    attempt += 1;
                }
                made => return made,
            }
        }
    }

    /// Serves the container of a process aside for a while: a server has ended while it had a request of it.
    pub fn leave_aside(self: &Arc<Self>, pid: u32) {
        let service = Arc::clone(self);
        let leave = move || {
            let leave = service.for_caller(ThreadRole::Looking, pid, |caller| {
                let answers = service.answers_for(caller)?;
                service.share_of(caller, &answers).put_aside(Instant::now() + LEFT_ASIDE);
                Ok(())
            });
            if let Err(error) = leave {
                service.log(&error);
            }
        };
        self.push_aside(Lane::Looks, self.owner_of(pid), Box::new(leave));
    }
}

#[cfg(test)]
mod tests;
