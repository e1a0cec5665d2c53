//! Samples the load of the containers that were asked for it.
//!
//! No cgroup counts its tasks by state. So each task of a container is looked at every five seconds, just
//! after the kernel has sampled its own load. That is done less often where it would take more than a
//! hundredth of a processor for one container, and where it would take more than a tenth for all of them,
//! first for those whose tenants have the most. Of more than 1,000 tasks a sample stands for all, so that no
//! container delays the others. Estimating the load from processor time and `cpu.pressure` would take one
//! read a container, but pressure tells for how long *some* task waited and not how many did: three tasks on
//! half a processor look like two. The taskstats interface counts in the kernel, but only for cgroup v1, and
//! not what is below a cgroup.
//!
//! The averages start at 0 when the container does, and each sample counts for the whole time since the last,
//! like the kernel's. Over a time without samples, because nobody asked, see [`estimate`].

use super::load_estimate::{active, cpu_usage, estimate};
use super::tracked_cgroups::{TrackedCgroup, TrackedCgroups};
use crate::error::Error;
use crate::kernel::{Caller, CgroupRef, ScanLimits, Source, TaskScan, boot_clock};
use crate::service::scheduling::turns::Turns;
use crate::service::sleeper::Sleeper;
use crate::state::Table;
use crate::sys;
use cgprocfs_core::error::ViewError;
use cgprocfs_core::load_average::{CpuUsageAt, LoadAvg, LoadState};
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::{HostFile, Snapshot};
use parking_lot::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The part of a processor that sampling one container takes at most is the inverse of this.
const DUTY_CYCLE: u32 = 100;
/// The longest pause between two samples of a container, however long they took: a tenant that makes its
/// samples expensive is not to make the others wait.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The part of a processor that sampling all containers takes at most is the inverse of this: a tenant may
/// make any number of them expensive.
const TOTAL_DUTY_CYCLE: u32 = 10;
/// How long a serving thread waits for the table.
const MAX_WAIT: Duration = Duration::from_millis(1);
/// How much of a container is sampled: a tenant may make many tasks and cgroups, and the others wait
/// meanwhile. It takes some 10 ms for the tasks, and 50 ms for the cgroups.
const FULL_SCAN: ScanLimits = ScanLimits { cgroups: 4_000, tasks: 1_000, with_run_queue: false, asker: None };
/// Load averages of containers.
pub(in crate::service) struct LoadSampler {
    tracked: Mutex<TrackedCgroups>,
    /// The thread that samples.
    pub(in crate::service) sleeper: Sleeper,
}

/// A question for the load of a container.
pub(in crate::service) struct LoadRequest<'s> {
    /// The container's cgroup.
    pub(in crate::service) container: CgroupRef<'s>,
    pub(in crate::service) caller: &'s Caller<'s>,
    pub(in crate::service) snapshot: &'s Snapshot,
    /// Whether it is certain when the container started.
    pub(in crate::service) start_is_certain: bool,
}

impl LoadSampler {
    pub(in crate::service) fn new() -> Self {
        Self { tracked: Mutex::new(TrackedCgroups::new()), sleeper: Sleeper::default() }
    }

    /// Stores the averages in a table from now on, and goes on with those that a predecessor has stored
    /// there.
    pub(in crate::service) fn attach(&self, table: Table<LoadState>) {
        self.tracked.lock().attach(table);
    }

    /// The load of a container, which is sampled first only if that has not been done lately.
    ///
    /// # Errors
    /// [`Error::TakesLong`] if the container has to be sampled, or the table is in use, and the caller may
    /// not take long.
    pub(in crate::service) fn load_average(
        &self,
        request: &LoadRequest<'_>,
        source: &Source,
    ) -> Result<LoadAvg, Error> {
        let container = request.container.id;
        let last_pid = source.innermost_pid(request.caller.pid)?;
        let start = request.snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
        // A container that has started later is another one, in the same cgroup.
        let is_same = |record: &LoadState| record.start >= start || !request.start_is_certain;
        let now = Instant::now();
        let (earlier, known) = {
            let mut all = self.table_for(request)?;
            let all = &mut *all;
            match all.by_container.get_mut(&container).filter(|tracked| is_same(&tracked.record)) {
                Some(tracked) => {
                    let earlier = tracked.record;
                    tracked.last_requested = now;
                    tracked.record.ran = cpu_usage(request.snapshot)?.or(earlier.ran);
                    all.shares.touch(container);
                    (Some(earlier), tracked.due.map(|due| (due, tracked.load_avg(last_pid))))
                }
                None => (all.orphaned.get(&container).copied().filter(is_same), None),
            }
        };
        match known {
            Some((due, load)) if due > now => Ok(load),
            // To look at its tasks is not for a thread that others wait for.
            _ if !request.caller.may_take_long => Err(Error::TakesLong(request.container.path.into())),
            // The sampler's own thread is late.
            Some((_, load)) => {
                let limits = ScanLimits { asker: Some(request.caller.pid), ..FULL_SCAN };
                self.sample(request.container, None, limits, source);
                let all = self.table_for(request)?;
                let tracked = all.by_container.get(&container).filter(|tracked| is_same(&tracked.record));
                Ok(tracked.map_or(load, |tracked| tracked.load_avg(last_pid)))
            }
            None => self.track(request, earlier, last_pid, source),
        }
    }

    /// The table, for a request. The thread that samples is less important than those that serve, and may be
    /// kept from running while it has the lock, so that a serving thread leaves the request to others then.
    fn table_for(&self, request: &LoadRequest<'_>) -> Result<MutexGuard<'_, TrackedCgroups>, Error> {
        match request.caller.may_take_long {
            true => Ok(self.tracked.lock()),
            false => self
                .tracked
                .try_lock_for(MAX_WAIT)
                .ok_or_else(|| Error::TakesLong(request.container.path.into())),
        }
    }

    /// Samples a container that is not tracked by now, and tracks it from then on.
    fn track(
        &self,
        request: &LoadRequest<'_>,
        earlier: Option<LoadState>,
        last_pid: Pid,
        source: &Source,
    ) -> Result<LoadAvg, Error> {
        let now = Instant::now();
        let (container, asker) = (request.container, Some(request.caller.pid));
        let limits = ScanLimits { with_run_queue: true, asker, ..FULL_SCAN };
        // A container that goes away meanwhile still has its reader.
        let scan = source.tasks(container, limits).unwrap_or_default();
        let accounting = source.accounting_cgroup(request.caller)?.map(<[u8]>::to_vec);
        let mut all = self.table_for(request)?;
        let (record, reported) = estimate(earlier, &scan, request.snapshot, all.phase.since(now))?;
        all.orphaned.remove(&container.id);
        let tracked = TrackedCgroup {
            path: container.path.to_vec(),
            accounting,
            record,
            reported,
            tasks: scan.tasks,
            due: Some(all.phase.after(now)),
            last_requested: now,
            is_sampled: false,
        };
        all.insert(container.id, tracked);
        drop(all);
        self.sleeper.wake();
        Ok(LoadAvg { averages: reported, tasks: scan.tasks, last_pid })
    }

    /// Samples the containers that are due, and returns how long to wait until the next time; `None` is until
    /// somebody asks.
    pub(in crate::service) fn sample_due(&self, source: &Source) -> Option<Duration> {
        let started = Instant::now();
        self.find_phase(source, started);
        let (due, budget) = {
            let mut all = self.tracked.lock();
            if started < all.next {
                return all.pause(started);
            }
            all.drop_orphans();
            (all.due(started), all.phase.period() / TOTAL_DUTY_CYCLE)
        };
        within_budget(due, budget, sys::thread_time, |due| {
            let container = CgroupRef { id: due.container, path: &due.path };
            self.sample(container, due.accounting_if_last, FULL_SCAN, source);
        });
        let (mut all, now) = (self.tracked.lock(), Instant::now());
        all.next = all.phase.after(now);
        all.pause(now)
    }

    /// Samples one container.
    fn sample(
        &self,
        container: CgroupRef<'_>,
        accounting_if_last: Option<Vec<u8>>,
        limits: ScanLimits,
        source: &Source,
    ) {
        let (began, before) = (Instant::now(), sys::thread_time());
        let scan = source.tasks(container, limits);
        let ran = accounting_if_last.and_then(|cgroup| source.run_time(&cgroup));
        let mut all = self.tracked.lock();
        let TrackedCgroups { by_container, retained, phase, .. } = &mut *all;
        match (scan, by_container.get_mut(&container.id)) {
            (Ok(TaskScan { tasks, .. }), Some(tracked)) => {
                let at = boot_clock::now();
                tracked.record.averages.add(active(tasks), at.since(tracked.record.at));
                (tracked.record.at, tracked.tasks) = (at, tasks);
                tracked.reported = tracked.record.averages.get();
                match std::mem::replace(&mut tracked.is_sampled, true) {
                    false => drop(retained.claim(container.id.get(), container.path)),
                    // A container that has lost its place takes nobody else's.
                    true => retained.claim_if_free(container.id.get(), container.path),
                }
                // At the sample that is nearest to the end of the pause.
                let pause = pause_after(before).saturating_sub(phase.period() / 2);
                tracked.due = Some(phase.after(began + pause));
                if tracked.is_idle() {
                    tracked.record.ran = ran.map(|time| CpuUsageAt { at, time });
                    tracked.due = None;
                }
                retained.put(container.id.get(), &tracked.record);
            }
            // It is gone, most likely; if not, it is tracked again when somebody asks.
            _ => all.remove(container.id),
        }
    }

    /// Finds out when the kernel samples its own load, once there are containers with a load that makes its
    /// averages change.
    fn find_phase(&self, source: &Source, now: Instant) {
        {
            let all = self.tracked.lock();
            let has_load = || all.by_container.values().any(|tracked| active(tracked.tasks) > 0.0);
            if !all.phase.is_sought(now) || !(all.phase.is_searching() || has_load()) {
                return;
            }
        }
        let text = source.host_file(HostFile::Loadavg).unwrap_or_default();
        self.tracked.lock().phase.observe(Instant::now(), &text);
    }

    /// Drops containers that nobody asks about and that do not exist any more, according to `exists`.
    pub(in crate::service) fn sweep(&self, exists: impl Fn(CgroupRef<'_>) -> bool) {
        let idle: Vec<_> = {
            let all = self.tracked.lock();
            let idle = all.by_container.iter().filter(|(_, tracked)| tracked.due.is_none());
            idle.map(|(&container, tracked)| (container, tracked.path.clone())).collect()
        };
        for (id, path) in idle {
            if !exists(CgroupRef { id, path: &path }) {
                self.tracked.lock().remove(id);
            }
        }
    }
}

/// Samples in turn, until `clock` has advanced by `budget`. The rest stays due.
fn within_budget<T>(
    mut turns: Turns<T>,
    budget: Duration,
    clock: impl Fn() -> Duration,
    mut sample: impl FnMut(T),
) {
    let before = clock();
    while clock().saturating_sub(before) < budget {
        let Some(next) = turns.pop() else { break };
        sample(next);
    }
}

/// How long to pause after a sample that began when this thread had run for `before`. The time that it
/// waited, for a processor or for a lock, costs nobody a processor and does not count.
fn pause_after(before: Duration) -> Duration {
    (sys::thread_time().saturating_sub(before) * DUTY_CYCLE).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests;
