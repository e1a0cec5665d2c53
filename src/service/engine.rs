//! The parts of a service, and what its steps have in common.

use crate::error::Error;
use crate::kernel::{Caller, Source};
use crate::rate_limited_log::RateLimitedLog;
use crate::service::accounts::cpu_accounts::CpuAccounts;
use crate::service::accounts::load_sampler::LoadSampler;
use crate::service::accounts::start_times::StartTimes;
use crate::service::cache::cached_cgroup::CachedCgroup;
use crate::service::cache::snapshot_cache::SnapshotCache;
use crate::service::connection_stats::ConnectionStats;
use crate::service::psi_monitor::PsiMonitor;
use crate::service::scheduling::fairness::Fairness;
use crate::service::scheduling::pace::Pace;
use crate::service::scheduling::permits::ReadPermits;
use crate::service::scheduling::priority::LessImportant;
use crate::service::scheduling::serving_account::ServingAccount;
use crate::service::scheduling::workers::Workers;
use crate::service::sleeper::Activity;
use crate::state::{PersistentState, PollWaiter};
use cgprocfs_core::parse::pid::Pid;
use log::Level;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::thread;

/// How many threads serve: one for each processor, but from two to four. A second one doubles what two
/// readers get; idle threads take turns, so that each more than needed makes a single reader slower.
#[must_use]
pub fn serving_threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get).clamp(2, MAX_SERVING_THREADS)
}

/// The upper bound of [`serving_threads`].
pub(crate) const MAX_SERVING_THREADS: usize = 4;

/// Computes views for readers.
pub struct Service {
    pub(super) source: Source,
    pub(super) cache: SnapshotCache,
    pub(super) cpu_accounts: CpuAccounts,
    pub(super) load_sampler: LoadSampler,
    pub(super) psi_monitor: Arc<PsiMonitor>,
    pub(super) starts: StartTimes,
    pub(super) workers: Workers,
    pub(super) fairness: Fairness,
    /// Which serving threads are reading a cgroup: one is always left for requests that need none to be read.
    pub(super) read_permits: ReadPermits,
    pub(super) log: RateLimitedLog,
    pub(super) less_important: LessImportant,
    pub(super) activity: Arc<Activity>,
    /// The connection, once there is one.
    pub(super) connection: OnceLock<ConnectionStats>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.psi_monitor.end();
        self.load_sampler.sleeper.wake();
        self.activity.sleeper.wake();
    }
}

impl Service {
    /// A service that reads `source` and keeps about `max_files` files open at most.
    #[must_use]
    pub fn new(source: Source, max_files: usize) -> Self {
        // A container takes about twelve files of cgroups, four by which its readers are identified, and one
        // for its start.
        let part = |sixteenths: usize| max_files / 16 * sixteenths + max_files % 16 * sixteenths / 16;
        let tick_rate = source.machine().tick_rate;
        let pace = Pace::of_machine(|| source.procfs.read("meminfo"));
        let less_important = LessImportant::than_this_process();
        Self {
            source: source.with_max_open_files(part(4)),
            cache: SnapshotCache::new(part(10)),
            cpu_accounts: CpuAccounts::new(tick_rate),
            load_sampler: LoadSampler::new(),
            psi_monitor: Arc::new(PsiMonitor::new(part(8))),
            starts: StartTimes::new(part(1)),
            workers: Workers::new(less_important),
            fairness: Fairness::new(pace, serving_threads()),
            read_permits: ReadPermits::new(serving_threads() - 1),
            log: RateLimitedLog::new(),
            less_important,
            activity: Arc::default(),
            connection: OnceLock::new(),
        }
    }

    /// The system that is read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Logs an error that a reader gets, unless it is the reader's own doing, or the same was logged just
    /// before.
    pub fn log(&self, error: &Error) {
        self.log.error(error);
    }

    /// Goes on from the state of a predecessor, and keeps what has to outlive this process there. Returns the
    /// waiters of the predecessor that have to be woken.
    pub fn attach(&self, state: &PersistentState) -> Vec<PollWaiter> {
        // There is one connection in a service's life.
        let _ = self.connection.set(ConnectionStats::now(state));
        self.cpu_accounts.attach(state.cpu_accounts());
        self.load_sampler.attach(state.loads());
        self.psi_monitor.attach(state.psi_triggers())
    }

    /// The cache entry of the caller's cgroup.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] where the path leads to another cgroup by now; the entry is evicted then.
    pub(super) fn cached_cgroup(&self, caller: &Caller<'_>) -> Result<Arc<CachedCgroup>, Error> {
        let open = || self.source.ancestry_of(caller);
        let account = || self.fairness.accounts.of(caller.cgroup);
        let cached = self.cache.get_or_open(caller.cgroup, open, account)?;
        self.source.verify(cached.ancestry()).inspect_err(|_| self.forget(caller))?;
        Ok(cached)
    }

    /// Whether the requests of a process go to the slow lane, as far as that is known without a look at it.
    #[must_use]
    pub fn is_in_slow_lane(&self, pid: Pid) -> bool {
        self.fairness.slow_processes.owner(pid).is_some()
    }

    /// Counts a request that a serving thread has fetched, and whether half of the other threads were busy then.
    pub fn note_request(&self, half_are_busy: bool) {
        self.fairness.busyness.note(half_are_busy);
        self.activity.note();
    }

    /// The account of a caller's container.
    pub(super) fn account_of(&self, caller: &Caller<'_>, cached: &CachedCgroup) -> Arc<ServingAccount> {
        match caller.container {
            container if container.len() < caller.cgroup.len() => self.fairness.accounts.of(container),
            _ => Arc::clone(cached.account()),
        }
    }

    /// Evicts the caller's cgroup from all caches.
    pub(super) fn forget(&self, caller: &Caller<'_>) {
        self.cache.forget(caller.cgroup);
        self.source.forget(caller.cgroup);
    }

    /// Closes half of the cached files, because the process has too many open. Those of the heaviest branches
    /// go, so that a tenant can't have the files of others closed again and again.
    pub(super) fn close_half(&self) {
        self.cache.close_half();
        self.starts.close_half();
        self.source.close_half();
    }

    /// The container of an unseen reader can't be found. It gets the host's numbers, which is what it would
    /// see without us.
    pub(super) fn warn_of_unseen(&self) {
        self.log.message(
            "unseen reader",
            Level::Warn,
            "a reader is in a pid namespace that cannot be seen from here and gets the host's values; \
             start cgprocfs in the host's pid namespace",
        );
    }
}
