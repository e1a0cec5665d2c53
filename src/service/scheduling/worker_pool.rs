//! Threads for work that may take long, so that it makes nobody wait but its own container.
//!
//! An owner, which is a cgroup, has one job running at a time, and owners take [turns](super::turns) with others of their
//! [`Lane`]. A lane has few threads; another one joins only while one of them seems stuck, because a tenant may keep it in the
//! kernel for as long as it likes. No serving thread waits for any of them, and an idle pool has no threads.
//!
//! Work that may hang is bounded by tenant: of stuck threads, and of waiting jobs, a cgroup may have half of what the one above
//! it may have.

use super::lane::{LANES, Lane, STUCK_TIMEOUT};
use super::owner::Owner;
use super::priority::LessImportant;
use super::tenant_bound::are_too_many;
use super::turns::Turns;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The most threads of a pool, stuck ones included.
const MAX_THREADS: usize = 32;
/// The most threads of the pool for [`Lane::Blocking`].
const MAX_BLOCKING_THREADS: usize = 48;
/// The most jobs that may hang and wait for a thread.
const MAX_WAITING: usize = 1024;
/// How many of them any owner may have, at whatever depth.
const MIN_WAITING: usize = 16;
/// How long a thread stays idle before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a job was not accepted; it was dropped.
#[derive(Debug)]
pub(in crate::service) enum Refused {
    /// No thread could be started.
    NoThread(io::Error),
    /// The tenant has as many stuck threads, or waiting jobs, as it may have.
    TooMany,
}

/// A unit of work.
pub(in crate::service) type Job = Box<dyn FnOnce() + Send>;

/// Threads, and the jobs that wait for them.
pub(in crate::service) struct WorkerPool {
    max_threads: usize,
    priority: Option<LessImportant>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By lane, the owners that have waiting jobs and none that runs.
    turns: [Turns<Owner>; LANES.len()],
    waiting: HashMap<(Lane, Owner), VecDeque<Job>>,
    /// The owners that have a running job, and since when.
    working: HashMap<(Lane, Owner), Instant>,
    /// Jobs that run at a given time, in their order.
    later: BTreeMap<(Instant, u64), Job>,
    next_number: u64,
    threads: usize,
    idle: usize,
}

impl State {
    /// Whether the owner's tenant, at whatever level, has as many stuck threads as it may have.
    fn has_too_many_stuck(&self, (lane, owner): &(Lane, Owner), now: Instant) -> bool {
        let is_stuck = |of: Lane, since: Instant| of == Lane::Blocking && now - since >= of.stuck_timeout();
        let stuck = self.working.iter().filter(|((of, _), since)| is_stuck(*of, **since));
        // One thread is always left for others.
        *lane == Lane::Blocking
            && are_too_many(owner, (MAX_BLOCKING_THREADS - 1, 1), stuck.map(|((_, owner), _)| (owner, 1)))
    }

    /// Whether the owner's tenant has as many waiting jobs as it may have.
    fn has_too_many_waiting(&self, (lane, owner): &(Lane, Owner)) -> bool {
        let waiting = self.waiting.iter().filter(|((of, _), _)| *of == Lane::Blocking);
        *lane == Lane::Blocking
            && are_too_many(
                owner,
                (MAX_WAITING, MIN_WAITING),
                waiting.map(|((_, owner), jobs)| (owner, jobs.len())),
            )
    }

    fn has_waiting(&self) -> bool {
        self.turns.iter().any(|turns| !turns.is_empty())
    }

    fn enqueue(&mut self, (lane, owner): (Lane, Owner)) {
        self.turns[lane as usize].push(&Arc::clone(&owner), owner);
    }

    /// The owner whose turn it is, if a lane has a thread to spare.
    fn next(&mut self, now: Instant) -> Option<(Lane, Owner)> {
        LANES.into_iter().find_map(|lane| {
            let is_busy = |of: Lane, since: Instant| of == lane && now - since < lane.stuck_timeout();
            let busy = self.working.iter().filter(|((of, _), since)| is_busy(*of, **since)).count();
            if busy < lane.width() {
                self.turns[lane as usize].pop().map(|owner| (lane, owner))
            } else {
                None
            }
        })
    }
}

impl WorkerPool {
    /// A pool for [`Lane::Fast`].
    pub(in crate::service) fn fast() -> Self {
        Self { max_threads: MAX_THREADS, priority: None, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A pool for [`Lane::Slow`], whose threads are less important than others of this process.
    pub(in crate::service) fn slow(priority: LessImportant) -> Self {
        Self { priority: Some(priority), ..Self::fast() }
    }

    /// A pool for [`Lane::Blocking`].
    pub(in crate::service) fn blocking(priority: LessImportant) -> Self {
        Self { max_threads: MAX_BLOCKING_THREADS, ..Self::slow(priority) }
    }

    /// Queues `job`, which runs when it is the owner's turn. A job of [`Lane::Blocking`] is dropped instead if the tenant has too many
    /// stuck threads by then.
    ///
    /// # Errors
    /// Where no thread can be started, or the tenant has too many jobs.
    pub(in crate::service) fn push(
        self: &Arc<Self>,
        lane: Lane,
        owner: Owner,
        job: Job,
    ) -> Result<(), Refused> {
        let owner = (lane, owner);
        // Declared after the job, so that it is unlocked before the job is dropped.
        let mut state = self.state.lock();
        if state.has_too_many_stuck(&owner, Instant::now()) || state.has_too_many_waiting(&owner) {
            return Err(Refused::TooMany);
        }
        self.ensure_thread(&mut state).map_err(Refused::NoThread)?;
        let is_worked_for = state.working.contains_key(&owner);
        let jobs = state.waiting.entry(owner.clone()).or_default();
        let is_first = jobs.is_empty();
        jobs.push_back(job);
        if is_first && !is_worked_for {
            state.enqueue(owner);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Runs `job`, which has to be short, at `at`.
    ///
    /// # Errors
    /// Where no thread can be started; the job is dropped.
    pub(in crate::service) fn push_later(self: &Arc<Self>, at: Instant, job: Job) -> io::Result<()> {
        let mut state = self.state.lock();
        self.ensure_thread(&mut state)?;
        state.next_number += 1;
        let key = (at, state.next_number);
        state.later.insert(key, job);
        self.changed.notify_one();
        Ok(())
    }

    /// Starts a thread unless one is idle or there are enough.
    fn ensure_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.idle > 0 || state.threads >= self.max_threads {
            return Ok(());
        }
        let pool = Arc::clone(self);
        let work = move || {
            if let Some(priority) = pool.priority {
                priority.apply();
            }
            pool.work();
        };
        match thread::Builder::new().name("deferred".into()).spawn(work) {
            Ok(_) => {
                state.threads += 1;
                state.idle += 1;
                Ok(())
            }
            // The running threads will come to it.
            Err(_) if state.threads > 0 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if state.later.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                if let Some((_, job)) = state.later.pop_first() {
                    state = self.unlocked(state, job);
                }
                continue;
            }
            if let Some(owner) = state.next(now) {
                if let Some(job) = state.waiting.get_mut(&owner).and_then(VecDeque::pop_front) {
                    let job = match state.has_too_many_stuck(&owner, now) {
                        true => Box::new(move || drop(job)),
                        false => job,
                    };
                    state.working.insert(owner.clone(), now);
                    state = self.unlocked(state, job);
                    state.working.remove(&owner);
                }
                if state.waiting.get(&owner).is_some_and(|jobs| !jobs.is_empty()) {
                    state.enqueue(owner);
                } else {
                    state.waiting.remove(&owner);
                }
                continue;
            }
            let next = state.later.first_key_value().map(|((at, _), _)| *at - now);
            let stuck = state.has_waiting().then_some(STUCK_TIMEOUT);
            let wait = next.into_iter().chain(stuck).min();
            let timed_out = self.changed.wait_for(&mut state, wait.unwrap_or(IDLE_TIMEOUT)).timed_out();
            if timed_out && !state.has_waiting() && state.later.is_empty() {
                state.threads -= 1;
                state.idle -= 1;
                return;
            }
        }
    }

    /// Runs a job with the state unlocked. A panic, which was logged where it happened, does not end the thread.
    fn unlocked<'s>(
        self: &'s Arc<Self>,
        mut state: MutexGuard<'s, State>,
        job: Job,
    ) -> MutexGuard<'s, State> {
        state.idle -= 1;
        if state.has_waiting() || !state.later.is_empty() {
            // This thread may get stuck with the job. If no other can be started, what waits is run afterwards.
            let _ = self.ensure_thread(&mut state);
        }
        drop(state);
        let _ = catch_unwind(AssertUnwindSafe(job));
        let mut state = self.state.lock();
        state.idle += 1;
        state
    }
}

#[cfg(test)]
mod tests;
