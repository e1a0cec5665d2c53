//! One attempt to answer: identify the caller, look into the cache or read the cgroup, make the answer.

use super::outcome::{FollowUp, Outcome};
use super::query::Query;
use super::target::Target;
use crate::error::Error;
use crate::kernel::Reader;
use crate::service::cache::cached_cgroup::CacheLookup;
use crate::service::cache::rendered::MAX_AGE;
use crate::service::engine::Service;
use crate::service::scheduling::lane::Lane;
use crate::service::scheduling::owner::Owner;
use crate::service::scheduling::pending_request::{PendingRequest, ThreadRole};
use crate::service::scheduling::read_cost::ReadCost;
use crate::service::scheduling::thread_usage::ThreadUsage;
use cgprocfs_core::parse::pid::Pid;
use std::cell::RefCell;
use std::time::Instant;

/// How often the caller is identified anew because its cgroup went away in the middle of an attempt.
const MAX_ATTEMPTS: usize = 3;

thread_local! {
    /// The reader's `/proc/PID/cgroup`; the buffer is reused.
    static PROC_CGROUP: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Service {
    /// Tries to answer, as far as a thread of that role may.
    pub(in crate::service) fn attempt<Q: Query>(
        &self,
        role: ThreadRole,
        request: &PendingRequest,
        query: &Q,
    ) -> Outcome<Q::Answer> {
        if request.pid == Pid::UNSEEN {
            let found = Outcome::Done(query.for_unseen_reader(self), FollowUp::default());
            return self.finish(role, query, found, b"/", None);
        }
        PROC_CGROUP.with_borrow_mut(|proc_cgroup| {
            let mut attempt = 1;
            loop {
                match self.attempt_once(role, request, query, proc_cgroup) {
                    Outcome::Done(Err(error), _) if self.prepare_retry(attempt, &error) => attempt += 1,
                    done => return done,
                }
            }
        })
    }

    /// Whether to try again after attempt number `attempt`, which has failed with `error`: a cgroup went away
    /// meanwhile, or too many files were open. In that case half of them are closed first.
    pub(in crate::service) fn prepare_retry(&self, attempt: usize, error: &Error) -> bool {
        let is_for_files = error.is_fd_exhaustion();
        let is_worth_it = attempt < MAX_ATTEMPTS && (is_for_files || error.is_race());
        if is_worth_it && is_for_files {
            self.close_half();
        }
        is_worth_it
    }

    fn attempt_once<Q: Query>(
        &self,
        role: ThreadRole,
        request: &PendingRequest,
        query: &Q,
        proc_cgroup: &mut Vec<u8>,
    ) -> Outcome<Q::Answer> {
        let pid = request.pid;
        let began = if request.rounds == 0 { request.asked } else { Instant::now() };
        let (needs, is_patient) = (query.needs(), role.is_worker());
        let may_hang = role == ThreadRole::Blocking;
        let reader = Reader { pid, max_age: MAX_AGE, needs, may_search: is_patient, may_hang };
        // The container is not known yet: readers of one cgroup take turns as one.
        let mut caller = match self.source.caller(reader, proc_cgroup) {
            Ok(caller) => caller,
            Err(Error::TakesLong(path)) => {
                return Outcome::Queue(Lane::Fast, Owner::from(path), FollowUp::default());
            }
            Err(Error::MayHang(path)) => return Outcome::MayHang(Owner::from(path)),
            Err(error) => return Outcome::Done(Err(error), FollowUp::default()),
        };
        caller.may_take_long = role.may_take_long();
        let is_fast = role == ThreadRole::FastWorker;
        if is_fast && caller.is_deep() {
            return Outcome::Queue(Lane::Slow, caller.cgroup.into(), FollowUp::default());
        }
        let cached = match self.cached_cgroup(&caller) {
            Ok(cached) => cached,
            Err(Error::TakesLong(path)) => {
                return Outcome::Queue(Lane::Slow, Owner::from(path), FollowUp::default());
            }
            Err(error) => return Outcome::Done(Err(error), FollowUp::default()),
        };
        let account = self.account_of(&caller, &cached);
        if (is_fast || !is_patient) && account.is_slow(began) {
            let owner = Owner::from(caller.cgroup);
            self.fairness.slow_processes.add(pid, owner.clone());
            return Outcome::Queue(Lane::Slow, owner, FollowUp::default());
        }
        let target = Target { cached: &cached, account: &account, container: caller.container };
        let attempt = match cached.find(&caller, needs, request.asked, |entry| query.take_from(entry)) {
            CacheLookup::Answer(answer) => Outcome::Done(answer, FollowUp::default()),
            CacheLookup::BeingRead => return Outcome::BeingRead(cached),
            CacheLookup::Stale(reading) => self.read(role, &caller, query, target, reading),
        };
        let attempt = self.finish(role, query, attempt, caller.cgroup, Some(target));
        let ended = Instant::now();
        self.fairness.charge(&account, pid, began, ended);
        if is_patient {
            match account.is_slow(ended) {
                // Its next request follows most likely.
                true => self.fairness.slow_processes.add(pid, caller.cgroup.into()),
                false => self.fairness.slow_processes.remove(pid),
            }
        }
        attempt
    }

    /// Makes the answer from what was found. Reading files of the host is bounded as reading a cgroup is,
    /// because for some of them the kernel asks the hardware, as often as a tenant likes.
    fn finish<Q: Query>(
        &self,
        role: ThreadRole,
        query: &Q,
        attempt: Outcome<Q::Extract>,
        cgroup: &[u8],
        target: Option<Target<'_>>,
    ) -> Outcome<Q::Answer> {
        let (found, next) = match attempt.answer() {
            Ok(answer) => answer,
            Err(other) => return other,
        };
        if !Q::READS_FILES {
            return Outcome::Done(query.finish(self, found, cgroup), next);
        }
        let Some(permit) = self.permit(role, target.map_or(b"", |target| target.container), false) else {
            return Outcome::Queue(Lane::Fast, cgroup.into(), next);
        };
        let cost = target.map(|target| &target.cached.cost_of_files);
        let before = cost.and_then(ReadCost::begin);
        let began = Instant::now();
        let answer = query.finish(self, found, cgroup);
        let usage = before.map(ThreadUsage::since);
        drop(permit);
        if let Some(Target { cached, account, .. }) = target {
            if let Some(pause) = cached.cost_of_files.was_read(began.elapsed(), usage, self.fairness.pace) {
                account.make_slow(Instant::now() + pause);
            }
        }
        if answer.is_ok() {
            return Outcome::Done(answer, next);
        }
        // Another attempt may follow, which must not keep them waiting.
        self.defer_all(next);
        Outcome::Done(answer, FollowUp::default())
    }
}
