//! The containers whose load is sampled, or was until nobody asked for it any more.

use super::retained_records::RetainedRecords;
use super::sampling_phase::{POLL_INTERVAL, SamplingPhase};
use crate::failpoint::idle;
use crate::kernel::CgroupId;
use crate::service::scheduling::turns::Turns;
use crate::shares::{Policy, Shares, entry_weight};
use crate::state::{MAX_LOADS, Table};
use cgprocfs_core::load_average::{LoadAvg, LoadState, TaskCounts};
use cgprocfs_core::parse::pid::Pid;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a container is sampled after somebody asked for its load. Programs that watch ask once a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long averages that a predecessor left are kept while nobody asks for their container, which is gone
/// then.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How many containers are tracked, or fewer with long paths. Where there are more, tenants share the room.
const MAX_TRACKED: usize = 10_000;

/// The containers, by the id of their cgroup, and when they are sampled.
pub(in crate::service) struct TrackedCgroups {
    pub(in crate::service) by_container: HashMap<CgroupId, TrackedCgroup>,
    pub(in crate::service) shares: Shares<CgroupId>,
    pub(in crate::service) retained: RetainedRecords<LoadState>,
    /// What a predecessor left, until somebody asks for it.
    pub(in crate::service) orphaned: HashMap<CgroupId, LoadState>,
    /// When this process has taken that over.
    attached: Option<Instant>,
    pub(in crate::service) phase: SamplingPhase,
    /// No container is sampled before.
    pub(in crate::service) next: Instant,
}

/// A container whose load was asked for.
pub(in crate::service) struct TrackedCgroup {
    pub(in crate::service) path: Vec<u8>,
    /// The cgroup that accounts for its processor time.
    pub(in crate::service) accounting: Option<Vec<u8>>,
    pub(in crate::service) record: LoadState,
    /// The averages that readers get.
    pub(in crate::service) reported: [f64; 3],
    pub(in crate::service) tasks: TaskCounts,
    /// When it is to be sampled again; `None` while nobody asks for its load.
    pub(in crate::service) due: Option<Instant>,
    pub(in crate::service) last_requested: Instant,
    /// Whether it was sampled since it was first asked for.
    pub(in crate::service) is_sampled: bool,
}

/// A container to sample.
pub(in crate::service) struct Due {
    pub(in crate::service) container: CgroupId,
    pub(in crate::service) path: Vec<u8>,
    /// The cgroup that accounts for its processor time, if this sample is the last until somebody asks for
    /// its load again: its averages then go on from what it has run by now.
    pub(in crate::service) accounting_if_last: Option<Vec<u8>>,
}

impl TrackedCgroup {
    /// Whether nobody asked for its load in a while, so that it need not be sampled.
    pub(in crate::service) fn is_idle(&self) -> bool {
        self.last_requested.elapsed() >= idle(IDLE_TIMEOUT)
    }

    pub(in crate::service) fn load_avg(&self, last_pid: Pid) -> LoadAvg {
        LoadAvg { averages: self.reported, tasks: self.tasks, last_pid }
    }
}

impl TrackedCgroups {
    pub(in crate::service) fn new() -> Self {
        Self {
            by_container: HashMap::new(),
            shares: Shares::new(MAX_TRACKED, Policy::Replace),
            retained: RetainedRecords::new(MAX_LOADS, Policy::Replace),
            orphaned: HashMap::new(),
            attached: None,
            phase: SamplingPhase::new(),
            next: Instant::now(),
        }
    }

    /// Stores the averages in a table from now on, and takes over those that a predecessor has stored there.
    pub(in crate::service) fn attach(&mut self, table: Table<LoadState>) {
        let orphaned = self.retained.resume(table).into_iter();
        self.orphaned = orphaned.map(|(id, record)| (CgroupId::new(id), record)).collect();
        self.attached = Some(Instant::now());
    }

    pub(in crate::service) fn insert(&mut self, container: CgroupId, tracked: TrackedCgroup) {
        if !self.by_container.contains_key(&container) {
            let path = &tracked.path;
            let Ok(displaced) = self.shares.admit(container, path, entry_weight(path)) else { return };
            for container in displaced {
                self.by_container.remove(&container);
                self.retained.release(container.get());
            }
        }
        self.by_container.insert(container, tracked);
    }

    pub(in crate::service) fn remove(&mut self, container: CgroupId) {
        self.by_container.remove(&container);
        self.shares.remove(container);
        self.retained.release(container.get());
    }

    /// Those to be sampled now. Of each tenant's, the one that has waited for the longest time comes first.
    pub(in crate::service) fn due(&self, now: Instant) -> Turns<Due> {
        let due = |tracked: &TrackedCgroup| tracked.due.filter(|due| *due <= now);
        let all = self.by_container.iter().filter_map(|(&id, tracked)| Some((due(tracked)?, id, tracked)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(due, id, _)| (*due, *id));
        let mut turns = Turns::default();
        for (_, container, tracked) in all {
            let accounting_if_last = tracked.accounting.clone().filter(|_| tracked.is_idle());
            let due = Due { container, path: tracked.path.clone(), accounting_if_last };
            turns.push(&tracked.path, due);
        }
        turns
    }

    /// How long there is nothing to do; `None` is until somebody asks.
    pub(in crate::service) fn pause(&self, now: Instant) -> Option<Duration> {
        let due = self.by_container.values().filter_map(|tracked| tracked.due).min()?;
        let pause = self.next.max(due).saturating_duration_since(now);
        Some(if self.phase.is_searching() { pause.min(POLL_INTERVAL) } else { pause })
    }

    /// Drops what a predecessor left of containers that are gone.
    pub(in crate::service) fn drop_orphans(&mut self) {
        if self.attached.is_some_and(|attached| attached.elapsed() > ORPHAN_TIMEOUT) {
            self.retained.release_unclaimed();
            self.orphaned = HashMap::new();
        }
    }
}
