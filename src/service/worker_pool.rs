//! Threads apart from those that serve, for what may take long: a container that is slow to read, or has asked for more than
//! its share, waits here for itself alone.
//!
//! Each owner, which is a cgroup, has one thread at a time, and they take [turns](super::turns) with others of their [`Lane`]. Few threads work for all of a lane;
//! another one joins only where it seems stuck, since the kernel may keep it for as
//! long as a tenant likes. Nobody waits for any of them, and with nothing to do there are none.
//!
//! What may hang is bounded by tenant: at each level of the hierarchy a cgroup has half of what the one above it may have, of
//! threads that are stuck and of jobs that wait.

use super::lane::{LANES, Lane, STUCK_TIMEOUT};
use super::owner::Owner;
use super::tenant_bound::are_too_many;
use super::turns::Turns;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// So many threads at most, those that are stuck counted in; and of those that look at what may hang.
const MAX_THREADS: usize = 32;
const MAX_BLOCKING_THREADS: usize = 48;
/// So many looks wait for a thread at most; for one owner these may at any depth.
const MAX_WAITING: usize = 1024;
const MIN_WAITING: usize = 16;
/// A thread with nothing to do ends after so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The nice value of those that are less important, see setpriority(2).
pub(super) const NICE: i32 = 5;

/// Why a job was dropped.
#[derive(Debug)]
pub(super) enum Refused {
    /// No thread can be made.
    NoThread(io::Error),
    /// So many hang or wait already that there would be none left for other tenants.
    TooMany,
}

/// Something to do.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Who waits for what.
pub(super) struct WorkerPool {
    most: usize,
    is_nice: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Owners in each lane with something to do for whom nobody works.
    turns: [Turns<Owner>; LANES.len()],
    waiting: HashMap<(Lane, Owner), VecDeque<Job>>,
    /// For whom somebody works, and since when.
    working: HashMap<(Lane, Owner), Instant>,
    /// What is to be done at a time, in its order.
    later: BTreeMap<(Instant, u64), Job>,
    numbered: u64,
    threads: usize,
    idle: usize,
}

impl State {
    /// Whether so many hang that belong to the same tenant as `owner`, at whatever level, that one more may not.
    fn hang_too_many(&self, (lane, owner): &(Lane, Owner), now: Instant) -> bool {
        let is_stuck = |of: Lane, since: Instant| of == Lane::Looks && now - since >= of.stuck_timeout();
        let stuck = self.working.iter().filter(|((of, _), since)| is_stuck(*of, **since));
        // One thread is always left.
        *lane == Lane::Looks
            && are_too_many(owner, (MAX_BLOCKING_THREADS - 1, 1), stuck.map(|((_, owner), _)| (owner, 1)))
    }

    /// Whether so many wait.
    fn wait_too_many(&self, (lane, owner): &(Lane, Owner)) -> bool {
        let waiting = self.waiting.iter().filter(|((of, _), _)| *of == Lane::Looks);
        *lane == Lane::Looks
            && are_too_many(
                owner,
                (MAX_WAITING, MIN_WAITING),
                waiting.map(|((_, owner), jobs)| (owner, jobs.len())),
            )
    }

    fn has_turns(&self) -> bool {
        self.turns.iter().any(|turns| !turns.is_empty())
    }

    fn has_turn(&mut self, (lane, owner): (Lane, Owner)) {
        self.turns[lane as usize].push(&Arc::clone(&owner), owner);
    }

    /// Whose turn it is, if anybody's.
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
    /// One for [`Lane::Quick`].
    pub(super) fn quick() -> Self {
        Self { most: MAX_THREADS, is_nice: false, state: Mutex::default(), changed: Condvar::new() }
    }

    /// One for [`Lane::Slow`], whose threads are less important than others of this process.
    pub(super) fn slow() -> Self {
        Self { is_nice: true, ..Self::quick() }
    }

    /// One for [`Lane::Looks`]: whoever has many that hang leaves the threads of others alone.
    pub(super) fn looks() -> Self {
        Self { most: MAX_BLOCKING_THREADS, ..Self::slow() }
    }

    /// Has `job` done when it is the owner's turn in a lane. One that may hang is dropped then if too many others of its tenant do.
    ///
    /// # Errors
    /// Where no thread can be made, or there are too many of a tenant; the job is dropped then.
    pub(super) fn push(self: &Arc<Self>, lane: Lane, owner: Owner, job: Job) -> Result<(), Refused> {
        let owner = (lane, owner);
        // Declared after the job, it is unlocked before that is dropped.
        let mut state = self.state.lock();
        if state.hang_too_many(&owner, Instant::now()) || state.wait_too_many(&owner) {
            return Err(Refused::TooMany);
        }
        self.need_a_thread(&mut state).map_err(Refused::NoThread)?;
        let is_worked_for = state.working.contains_key(&owner);
        let jobs = state.waiting.entry(owner.clone()).or_default();
        let is_first = jobs.is_empty();
        jobs.push_back(job);
        if is_first && !is_worked_for {
            state.has_turn(owner);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Has `job`, which is short, done at a time.
    ///
    /// # Errors
    /// Where no thread can be made; the job is dropped then.
    pub(super) fn push_later(self: &Arc<Self>, at: Instant, job: Job) -> io::Result<()> {
        let mut state = self.state.lock();
        self.need_a_thread(&mut state)?;
        state.numbered += 1;
        let key = (at, state.numbered);
        state.later.insert(key, job);
        self.changed.notify_one();
        Ok(())
    }

    /// Makes a thread unless one is idle, or there are as many as may be.
    fn need_a_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.idle > 0 || state.threads >= self.most {
            return Ok(());
        }
        let pool = Arc::clone(self);
        let work = move || {
            if pool.is_nice {
                // What is not allowed to be less important is as important as it was.
                let _ = rustix::process::setpriority_process(None, NICE);
            }
            pool.work();
        };
        match thread::Builder::new().name("aside".into()).spawn(work) {
            Ok(_) => {
                state.threads += 1;
                state.idle += 1;
                Ok(())
            }
            // Those that there are will come to it.
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
                    let job = match state.hang_too_many(&owner, now) {
                        true => Box::new(move || drop(job)),
                        false => job,
                    };
                    state.working.insert(owner.clone(), now);
                    state = self.unlocked(state, job);
                    state.working.remove(&owner);
                }
                if state.waiting.get(&owner).is_some_and(|jobs| !jobs.is_empty()) {
                    state.has_turn(owner);
                } else {
                    state.waiting.remove(&owner);
                }
                continue;
            }
            let next = state.later.first_key_value().map(|((at, _), _)| *at - now);
            let stuck = state.has_turns().then_some(STUCK_TIMEOUT);
            let wait = next.into_iter().chain(stuck).min();
            let timed_out = self.changed.wait_for(&mut state, wait.unwrap_or(IDLE_TIMEOUT)).timed_out();
            if timed_out && !state.has_turns() && state.later.is_empty() {
                state.threads -= 1;
                state.idle -= 1;
                return;
            }
        }
    }

    /// Does a job with the state unlocked. A panic must not take the thread with it; it was logged where it happened.
    fn unlocked<'s>(
        self: &'s Arc<Self>,
        mut state: MutexGuard<'s, State>,
        job: Job,
    ) -> MutexGuard<'s, State> {
        state.idle -= 1;
        if state.has_turns() || !state.later.is_empty() {
            // It may be stuck with this. If there is no thread for the others they are come to afterwards.
            let _ = self.need_a_thread(&mut state);
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
