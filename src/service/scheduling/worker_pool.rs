//! Threads for work that may take long, so that it makes nobody wait but its own container.
//!
//! An owner, which is a cgroup, has one job running at a time, and owners take [turns](super::turns) with
//! others of their [`Lane`]. A lane has few threads; another one joins only while one of them seems stuck,
//! because a tenant may keep it in the kernel for as long as it likes. No serving thread waits for any of
//! them, nor for the pool's lock, which is for workers and the [dispatcher](super::dispatcher). An idle pool
//! has no workers.
//!
//! Work that may hang is bounded by tenant: of stuck threads, and of waiting jobs, a cgroup may have half of
//! what the one above it may have.

use super::dispatcher::{Dispatcher, Job};
use super::lane::{LANES, Lane, STUCK_TIMEOUT};
use super::owner::Owner;
use super::priority::LessImportant;
use super::tenant_bound::are_too_many;
use super::turns::Turns;
use crate::rate_limited_log::RateLimitedLog;
use log::Level;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
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

/// Threads, and the jobs that wait for them.
pub(in crate::service) struct WorkerPool {
    max_threads: usize,
    priority: Option<LessImportant>,
    dispatcher: Dispatcher,
    state: Mutex<State>,
    changed: Condvar,
    log: RateLimitedLog,
}

#[derive(Default)]
struct State {
    /// By lane, the owners that have waiting jobs and none that runs.
    turns: [Turns<Owner>; LANES.len()],
    waiting: HashMap<(Lane, Owner), VecDeque<Job>>,
    /// The owners that have a running job, and since when.
    working: HashMap<(Lane, Owner), Instant>,
    threads: usize,
    /// How many of the threads have no job, with those that are being started.
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

    /// Counts a worker that is to be started; false where one is idle or there are enough.
    fn reserve_worker(&mut self, max_threads: usize) -> bool {
        let is_needed = self.idle == 0 && self.threads < max_threads;
        if is_needed {
            (self.threads, self.idle) = (self.threads + 1, self.idle + 1);
        }
        is_needed
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
        Self {
            max_threads: MAX_THREADS,
            priority: None,
            dispatcher: Dispatcher::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            log: RateLimitedLog::new(),
        }
    }

    /// A pool for [`Lane::Slow`], whose threads are less important than others of this process.
    pub(in crate::service) fn slow(priority: LessImportant) -> Self {
        Self { priority: Some(priority), ..Self::fast() }
    }

    /// A pool for [`Lane::Blocking`].
    pub(in crate::service) fn blocking(priority: LessImportant) -> Self {
        Self { max_threads: MAX_BLOCKING_THREADS, ..Self::slow(priority) }
    }

    /// Starts the thread that takes jobs in; it ends with the pool. The first job does so too.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(in crate::service) fn start_dispatcher(&self) -> io::Result<()> {
        self.dispatcher.start().map(drop)
    }

    /// Queues `job`, which runs when it is the owner's turn. It is dropped instead where no thread can be
    /// started, or, in [`Lane::Blocking`], where the tenant has too many stuck threads or waiting jobs.
    pub(in crate::service) fn push(self: &Arc<Self>, lane: Lane, owner: Owner, job: Job) {
        self.dispatch(move |pool| pool.accept(lane, owner, job));
    }

    /// Runs `job`, which has to be short, at `at`, or at once where no thread can be started.
    pub(in crate::service) fn push_later(&self, at: Instant, job: Job) {
        if let Err((error, job)) = self.dispatcher.send(Some(at), job) {
            self.warn_of_no_thread(&error);
            job();
        }
    }

    /// Has the dispatcher do something with this pool, if it is there by then.
    fn dispatch(self: &Arc<Self>, errand: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let pool = Arc::downgrade(self);
        let errand = move || pool.upgrade().as_ref().map_or((), errand);
        if let Err((error, _)) = self.dispatcher.send(None, Box::new(errand)) {
            self.warn_of_no_thread(&error);
        }
    }

    /// Queues a job on behalf of a serving thread.
    fn accept(self: &Arc<Self>, lane: Lane, owner: Owner, job: Job) {
        let owner = (lane, owner);
        // Declared after the job, so that it is unlocked before the job is dropped.
        let mut state = self.state.lock();
        if state.has_too_many_stuck(&owner, Instant::now()) || state.has_too_many_waiting(&owner) {
            drop(state);
            return self.warn_of_many_that_hang();
        }
        let is_worked_for = state.working.contains_key(&owner);
        let jobs = state.waiting.entry(owner.clone()).or_default();
        let is_first = jobs.is_empty();
        jobs.push_back(job);
        if is_first && !is_worked_for {
            state.enqueue(owner);
        }
        let needs_worker = state.reserve_worker(self.max_threads);
        drop(state);
        self.changed.notify_one();
        if needs_worker {
            self.start_worker();
        }
    }

    /// Starts a worker that was counted before. Where that fails, the others will come to what waits; without
    /// others it is dropped.
    fn start_worker(self: &Arc<Self>) {
        let pool = Arc::clone(self);
        let work = move || {
            if let Some(priority) = pool.priority {
                priority.apply();
            }
            pool.work();
        };
        let Err(error) = thread::Builder::new().name("deferred".into()).spawn(work) else { return };
        let mut state = self.state.lock();
        (state.threads, state.idle) = (state.threads - 1, state.idle - 1);
        if state.threads > 0 {
            return;
        }
        state.turns = Default::default();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.warn_of_no_thread(&error);
        drop(waiting);
    }

    /// Logs that requests were dropped.
    fn warn_of_no_thread(&self, error: &io::Error) {
        let message =
            format_args!("cannot start a thread for a slow container: {error}; raise the limit on tasks");
        self.log.message("no thread", Level::Error, message);
    }

    /// Logs that a container's age was not looked up.
    fn warn_of_many_that_hang(&self) {
        self.log.message(
            "many hang",
            Level::Warn,
            "too many processes of one tenant are blocked in exec; the age of its other containers may be too low",
        );
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
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
            let wait = if state.has_waiting() { STUCK_TIMEOUT } else { IDLE_TIMEOUT };
            let timed_out = self.changed.wait_for(&mut state, wait).timed_out();
            if timed_out && !state.has_waiting() {
                state.threads -= 1;
                state.idle -= 1;
                return;
            }
        }
    }

    /// Runs a job with the state unlocked. A panic, which was logged where it happened, does not end the
    /// thread.
    fn unlocked<'s>(
        self: &'s Arc<Self>,
        mut state: MutexGuard<'s, State>,
        job: Job,
    ) -> MutexGuard<'s, State> {
        state.idle -= 1;
        // This thread may get stuck with the job.
        let needs_other = state.has_waiting() && state.reserve_worker(self.max_threads);
        drop(state);
        if needs_other {
            self.dispatch(Self::start_worker);
        }
        let _ = catch_unwind(AssertUnwindSafe(job));
        let mut state = self.state.lock();
        state.idle += 1;
        state
    }
}

#[cfg(test)]
mod tests;
