//! Load averages of a container whose tasks nobody has sampled up to now: those of a new container, or of one
//! that nobody asked about for a while.

use crate::kernel::TaskScan;
use cgprocfs_core::error::ViewError;
use cgprocfs_core::load_average::{CpuUsageAt, LoadAverages, LoadState, TaskCounts};
use cgprocfs_core::snapshot::Snapshot;
use cgprocfs_core::time::{BootTime, Nanos};
use std::time::Duration;

/// Over a time up to this a container is said to have been as it is now: the kernel does not
/// sample more often either.
const MAX_SAMPLE_AGE: Nanos = Nanos::SECOND.times(10);

/// How many tasks count as load.
pub(in crate::service) fn active(tasks: TaskCounts) -> f64 {
    f64::from(tasks.running) + f64::from(tasks.uninterruptible)
}

/// How long the container has run by the moment of a snapshot.
pub(in crate::service) fn cpu_usage(snapshot: &Snapshot) -> Result<Option<CpuUsageAt>, ViewError> {
    let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
    let at = snapshot.uptime()?;
    Ok(cpus.time.map(|time| CpuUsageAt { at, time: time.total }))
}

/// What the averages go on from at the moment of a snapshot, and what they are then. They go on from what was
/// known `earlier`, or else from 0 when the container started. The next sample counts for the whole time
/// since the kernel last sampled, which was `since_sample` ago.
pub(in crate::service) fn estimate(
    earlier: Option<LoadState>,
    scan: &TaskScan,
    snapshot: &Snapshot,
    since_sample: Duration,
) -> Result<(LoadState, [f64; 3]), ViewError> {
    let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
    let (now, usage) = (snapshot.uptime()?, cpu_usage(snapshot)?);
    let sampled = now.before(since_sample);
    let zero = LoadState { averages: LoadAverages::default(), at: BootTime::default(), ran: None, start };
    let (mut record, since, meanwhile) = match earlier {
        Some(record) => {
            let is_long = now.since(record.at) > MAX_SAMPLE_AGE;
            let usages = usage.zip(record.ran).filter(|_| is_long);
            let meanwhile = usages.map(|(now, then)| (now.time - then.time, now.at.since(then.at)));
            (record, record.at, meanwhile)
        }
        None => {
            let since = snapshot.machine.tick_rate.boot_time(start);
            let has_malformed_time = snapshot.cpus.as_ref().is_some_and(|cpus| cpus.has_malformed_time);
            let ran = match snapshot.counters() {
                // What is not known is left out, as where there is no controller that counts it.
                Err(_) if has_malformed_time => Nanos::ZERO,
                counters => counters.map(|counters| counters.all.user + counters.all.system)?,
            };
            (zero, since, Some((ran, now.since(since))))
        }
    };
    // More is impossible, and seems so where the start is wrong: the container is older than it seems.
    let online = snapshot.cpus.as_ref().map_or(0, |cpus| cpus.online.len());
    let possible = f64::from(scan.tasks.total.max(u32::try_from(online).unwrap_or(u32::MAX)));
    let active = match meanwhile {
        Some((ran, passed)) => scan.run_queue.active(ran, passed).min(possible),
        None => active(scan.tasks),
    };
    record.averages.add(active, sampled.since(since));
    // A container that is younger than the last sample had no load then.
    record.at = if earlier.is_some() { since.max(sampled) } else { sampled };
    (record.ran, record.start) = (usage, start);
    let mut reported = record.averages;
    reported.add(active, now.since(since.max(sampled)));
    Ok((record, reported.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::cpu::Cpus;
    use cgprocfs_core::cpu::account::{CpuCounters, CpuTimes};
    use cgprocfs_core::machine::Machine;
    use cgprocfs_core::parse::cpu_list::CpuList;
    use cgprocfs_core::parse::cpu_stat::CpuTime;
    use cgprocfs_core::snapshot::{Container, Scope};
    use cgprocfs_core::time::{TickRate, Ticks};

    fn seconds(count: u64) -> Nanos {
        Nanos::SECOND.times(count)
    }

    fn at(second: u64) -> BootTime {
        BootTime::from_nanos(seconds(second).get())
    }

    /// How long ago the kernel last sampled.
    const SINCE_SAMPLE: Duration = Duration::from_secs(2);

    /// A snapshot `now` seconds after the boot, of a container that started at 1,000 and has `ran` for that
    /// many seconds.
    fn snapshot(now: u64, ran: u64) -> Snapshot {
        let scope = Scope::Container(Container::default());
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, scope);
        let time = CpuTime { total: seconds(ran), user: 1, system: 0 };
        snapshot.cpus = Some(Cpus { online: CpuList::first(4), time: Some(time), ..Cpus::default() });
        let all = CpuTimes { user: seconds(ran), ..CpuTimes::default() };
        snapshot.counters = Some(CpuCounters { all, each: vec![all] });
        snapshot.start = Some(TickRate::USUAL.ticks(seconds(1000)));
        snapshot.uptime = Some(at(now));
        snapshot
    }

    fn at_rest() -> TaskScan {
        TaskScan { tasks: TaskCounts { total: 2, ..TaskCounts::default() }, ..TaskScan::default() }
    }

    fn assert_near(averages: [f64; 3], expected: [f64; 3]) {
        let is_near = averages.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.005);
        assert!(is_near, "{averages:?} instead of {expected:?}");
    }

    #[test]
    fn averages_start_at_nothing_when_the_container_does() {
        // A second's burst, asked for at once, and after 20 s.
        let reported = |now, ran| estimate(None, &at_rest(), &snapshot(now, ran), SINCE_SAMPLE).unwrap().1;
        assert_near(reported(1001, 1), [0.0165, 0.0033, 0.0011]);
        assert_near(reported(1020, 1), [0.0142, 0.0032, 0.0011]);
        // A minute on two processors.
        assert_near(reported(1060, 120), [1.264, 0.3625, 0.129]);
        // A container that is older than it seems.
        assert_near(reported(1060, 120_000), [2.528, 0.725, 0.258]);
    }

    /// The kernel samples a task that is a second old like any other: it counts for the whole five seconds.
    #[test]
    fn the_first_sample_counts_for_the_time_since_the_kernel_sampled() {
        let (mut record, _) = estimate(None, &at_rest(), &snapshot(1001, 1), SINCE_SAMPLE).unwrap();
        assert_eq!((record.averages, record.at), (LoadAverages::default(), at(999)));
        record.averages.add(1.0, seconds(5));
        assert!((record.averages.get()[0] - 0.08).abs() < 0.001);
        let (record, _) = estimate(None, &at_rest(), &snapshot(1060, 120), SINCE_SAMPLE).unwrap();
        assert_eq!(record.at, at(1058));
        assert_near(record.averages.get(), [1.239, 0.351, 0.125]);
    }

    #[test]
    fn a_container_that_was_not_sampled_goes_on_from_what_was_known() {
        let mut averages = LoadAverages::default();
        averages.add(3.0, seconds(3600));
        let ran = Some(CpuUsageAt { at: at(5000), time: seconds(10_800) });
        let then = LoadState { averages, at: at(5000), ran, start: Ticks::default() };
        let after = |now, ran, scan: &TaskScan| {
            estimate(Some(then), scan, &snapshot(now, ran), SINCE_SAMPLE).unwrap().1
        };
        let [one, five, fifteen] = then.averages.get();
        // It was idle for five minutes.
        assert_near(
            after(5300, 10_800, &at_rest()),
            [one * (-5f64).exp(), five * (-1f64).exp(), fifteen * (-1f64 / 3.0).exp()],
        );
        // It went on.
        assert_near(after(8600, 21_600, &at_rest()), [3.0, 3.0, 3.0]);
        // It was not sampled for a moment, and two of its tasks run now.
        let mut two = at_rest();
        two.tasks.running = 2;
        assert_near(after(5005, 10_800, &two), [2.920, 2.983, 2.940]);
    }
}
