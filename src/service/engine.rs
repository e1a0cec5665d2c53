//! The parts that a service is made of, and what its steps have in common.

use super::cached_cgroup::CachedCgroup;
use super::container_shares::ContainerShares;
use super::known_aside::KnownAside;
use super::ledgers::{Ledgers, StartedLedger};
use super::loads::Loads;
use super::permits::Readings;
use super::share::{Busyness, Share};
use super::snapshot_cache::SnapshotCache;
use super::start_times::StartTimes;
use super::triggers::{KeptTrigger, Triggers};
use super::worker_pool::WorkerPool;
use crate::error::Error;
use crate::kernel::{Caller, Source};
use crate::rate_limited_log::RateLimitedLog;
use crate::state::Table;
use cgprocfs_core::load_average::LoadState;
use log::Level;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

/// How many threads serve: as many as processors, from two to four. A second one doubles what two readers get. Idle ones take
/// turns, so that each more than needed makes a single reader slower.
#[must_use]
pub fn serving_threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get).clamp(2, MAX_SERVING_THREADS)
}

/// As many as that at most.
pub(crate) const MAX_SERVING_THREADS: usize = 4;

/// Memory that outlives this process; tables with room for nothing where there is none.
pub struct PersistentState {
    /// Of [`LEDGERS`].
    pub ledgers: Table<StartedLedger>,
    /// Of [`TRIGGERS`], by the open file's number and 1.
    pub triggers: Table<KeptTrigger>,
    /// Of [`LOADS`].
    pub loads: Table<LoadState>,
}

/// Computes views for readers.
pub struct Service {
    pub(super) source: Source,
    pub(super) cache: SnapshotCache,
    pub(super) ledgers: Ledgers,
    pub(super) loads: Loads,
    pub(super) triggers: Arc<Triggers>,
    pub(super) starts: StartTimes,
    /// Those who are not known to be slow wait here,
    pub(super) quick: Arc<WorkerPool>,
    /// those who are here,
    pub(super) slow: Arc<WorkerPool>,
    /// and looks at what may hang here.
    pub(super) looks: Arc<WorkerPool>,
    pub(super) known_aside: KnownAside,
    pub(super) busyness: Busyness,
    pub(super) shares: ContainerShares,
    /// So many serving threads may begin to read a cgroup: another one is always left for who needs none to be read.
    pub(super) readings: Readings,
    pub(super) log: RateLimitedLog,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.triggers.end();
    }
}

impl Service {
    /// A service that reads `source` and keeps about `most_files` files of cgroups open at most.
    #[must_use]
    pub fn new(source: Source, most_files: usize) -> Self {
        let tick_rate = source.machine().tick_rate;
        Self {
            // As much again, for who asks.
            source: source.keeping(most_files / 2),
            cache: SnapshotCache::new(most_files),
            ledgers: Ledgers::new(tick_rate),
            loads: Loads::new(),
            triggers: Arc::new(Triggers::new(most_files)),
            starts: StartTimes::new(most_files / 8),
            quick: Arc::new(WorkerPool::quick()),
            slow: Arc::new(WorkerPool::slow()),
            looks: Arc::new(WorkerPool::looks()),
            known_aside: KnownAside::default(),
            busyness: Busyness::default(),
            shares: ContainerShares::default(),
            readings: Readings::new(serving_threads() - 1),
            log: RateLimitedLog::new(),
        }
    }

    /// What is read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Logs an error that a reader gets, if it is anybody else's business and was not logged just before.
    pub fn log(&self, error: &Error) {
        self.log.error(error);
    }

    /// Keeps what has to outlive this process, and goes on with what is there. Returns those who wait for a predecessor
    /// and have to be woken.
    pub fn keep_in(&self, kept: &PersistentState) -> Vec<u64> {
        self.ledgers.keep(kept.ledgers);
        self.loads.keep(kept.loads);
        self.triggers.keep(kept.triggers)
    }

    /// The answers for the readers in the caller's cgroup, which has to be the one that they are of.
    pub(super) fn answers_for(&self, caller: &Caller<'_>) -> Result<Arc<CachedCgroup>, Error> {
        let open = || self.source.path_of(caller);
        let answers = self.cache.of_cgroup(caller.memory, open)?;
        self.source.verify(answers.path()).inspect_err(|_| self.forget(caller))?;
        Ok(answers)
    }

    /// The share of a caller's container.
    pub(super) fn share_of(&self, caller: &Caller<'_>, answers: &CachedCgroup) -> Arc<Share> {
        match caller.memory.get(..caller.container_length) {
            Some(container) if container.len() < caller.memory.len() => self.shares.of(container),
            _ => Arc::clone(answers.share()),
        }
    }

    pub(super) fn forget(&self, caller: &Caller<'_>) {
        self.cache.forget(caller.memory);
        self.source.forget(caller.memory);
    }

    /// Closes half of the files that are kept for the next who ask: there are too many. Whoever has most gives, so that a tenant can't
    /// have others' be looked for anew again and again.
    pub(super) fn close_half(&self) {
        self.cache.close_half();
        self.starts.close_half();
        self.source.close_half();
    }

    /// The container of such a reader can't be found, and nobody else's numbers may be given out for its
    /// own: the host's are what it would see without us.
    pub(super) fn warn_of_unseen(&self) {
        self.log.message(
            "unseen reader",
            Level::Warn,
            "a reader is in a pid namespace that cannot be seen from here and gets the host's values; \
             start cgprocfs in the host's pid namespace",
        );
    }

    /// That requests are left unanswered.
    pub(super) fn warn_of_no_thread(&self, error: &io::Error) {
        let message =
            format!("cannot start a thread for a slow container: {error}; raise the limit on tasks");
        self.log.message("no thread", Level::Error, message);
    }

    /// That it was not looked how old a container is.
    pub(super) fn warn_of_many_that_hang(&self) {
        self.log.message(
            "many hang",
            Level::Warn,
            "too many processes of one tenant hang in the middle of an exec to look at more of its containers: their age \
             may be too low",
        );
    }
}

/// The path of a caller's container.
pub(super) fn container_of<'t>(caller: &Caller<'t>) -> &'t [u8] {
    caller.memory.get(..caller.container_length).unwrap_or(caller.memory)
}
