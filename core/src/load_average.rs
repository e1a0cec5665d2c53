//! Load averages as the kernel computes them: how many tasks run or wait uninterruptibly, averaged so that a
//! moment weighs less the longer ago it is (kernel/sched/loadavg.c).

use crate::parse::pid::Pid;
use crate::time::{BootTime, Nanos, Ticks};

/// Averages over one, five and fifteen minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadAverages([f64; 3]);

/// The periods that the averages are over, in seconds.
const PERIODS: [f64; 3] = [60.0, 300.0, 900.0];

impl LoadAverages {
    /// Advances the averages by a time in which there were `active` tasks.
    pub fn add(&mut self, active: f64, time: Nanos) {
        for (average, period) in self.0.iter_mut().zip(PERIODS) {
            let kept = (-time.as_secs_f64() / period).exp();
            *average = *average * kept + active * (1.0 - kept);
        }
    }

    /// The averages that were [saved](Self::save) as these words; `None` if none were.
    #[must_use]
    pub fn restore(bits: [u64; 3]) -> Option<Self> {
        let averages = bits.map(f64::from_bits);
        averages.iter().all(|average| average.is_finite() && *average >= 0.0).then_some(Self(averages))
    }

    /// The averages as words, for [`restore`](Self::restore).
    #[must_use]
    pub fn save(self) -> [u64; 3] {
        self.0.map(f64::to_bits)
    }

    /// The averages over one, five and fifteen minutes.
    #[must_use]
    pub const fn get(self) -> [f64; 3] {
        self.0
    }
}

/// The tasks of a container at one moment. A task is a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Tasks that run, or wait for a processor.
    pub running: u32,
    /// Tasks that wait for something else, and cannot be interrupted by a signal.
    pub uninterruptible: u32,
    /// All tasks.
    pub total: u32,
}

/// How long the tasks that a container has now have run and have waited for a processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunQueue {
    /// Time that they have run since each of them was started.
    pub ran: Nanos,
    /// Time that they have waited since then.
    pub waited: Nanos,
}

impl RunQueue {
    /// How many tasks ran or waited to run on average in a time that has `passed`, in which all the tasks that
    /// the container had `ran` for so long. The tasks that it has now are taken to have waited for the same
    /// part of that time as they ran in it; how long others waited is not known.
    #[must_use]
    pub fn active(self, ran: Nanos, passed: Nanos) -> f64 {
        let [ran, passed, of_those, waited] = [ran, passed, self.ran, self.waited].map(Nanos::as_secs_f64);
        let part = if of_those > ran { ran / of_those } else { 1.0 };
        if passed > 0.0 { (ran + waited * part) / passed } else { 0.0 }
    }
}

/// The load averages of a container at a moment, and what is needed to advance them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadState {
    /// The averages as of `at`.
    pub averages: LoadAverages,
    /// When they were computed.
    pub at: BootTime,
    /// How long the container's cgroup had run at some moment; `None` where that is not known.
    pub ran: Option<CpuUsageAt>,
    /// When the container started, after the host's boot.
    pub start: Ticks,
}

/// How long a cgroup had run at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuUsageAt {
    /// When the time was read.
    pub at: BootTime,
    /// How long it had run by then.
    pub time: Nanos,
}

/// What `proc/loadavg` shows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadAvg {
    /// Averages over one, five and fifteen minutes.
    pub averages: [f64; 3],
    /// The tasks when they were last sampled.
    pub tasks: TaskCounts,
    /// The reader's process id in its own pid namespace: it is the newest there, or nearly so.
    pub last_pid: Pid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_approach_what_there_is() {
        let mut averages = LoadAverages::default();
        for _ in 0..12 {
            averages.add(3.0, Nanos::SECOND.times(5));
        }
        let [one, five, fifteen] = averages.get();
        // 3 * (1 - 1/e) after the period.
        assert!((one - 1.896).abs() < 0.001 && five < one && fifteen < five, "{averages:?}");
        let mut at_once = LoadAverages::default();
        at_once.add(3.0, Nanos::SECOND.times(60));
        assert!(at_once.get().iter().zip(averages.get()).all(|(a, b)| (a - b).abs() < 1e-9));
        assert_eq!(LoadAverages::restore(averages.save()), Some(averages));
        assert_eq!(LoadAverages::restore([f64::NAN, 0.0, 0.0].map(f64::to_bits)), None);
    }

    /// Compared with the kernel's own fixed-point arithmetic and constants (include/linux/sched/loadavg.h).
    #[test]
    fn averages_are_the_kernels() {
        let (mut averages, mut kernel) = (LoadAverages::default(), [0u64; 3]);
        for step in 0..240 {
            let active = if step < 30 { 3 } else { 0 };
            averages.add(active as f64, Nanos::from_micros(5_004_000));
            for (load, exp) in kernel.iter_mut().zip([1884, 2014, 2037]) {
                let new = *load * exp + active * 2048 * (2048 - exp);
                *load = (new + if active * 2048 >= *load { 2047 } else { 0 }) / 2048;
            }
            for (ours, kernel) in averages.get().iter().zip(kernel) {
                assert!((ours - kernel as f64 / 2048.0).abs() < 0.03, "step {step}: {averages:?} {kernel:?}");
            }
        }
    }

    #[test]
    fn waiting_is_part_of_the_load() {
        let time = |seconds| Nanos::SECOND.times(seconds);
        let seconds = |ran, waited| RunQueue { ran: time(ran), waited: time(waited) };
        // Ten spin on two processors for ten seconds.
        assert!((seconds(20, 80).active(time(20), time(10)) - 10.0).abs() < 1e-9);
        // They did so for a hundred, of which only the last ten are asked for.
        assert!((seconds(200, 800).active(time(20), time(10)) - 10.0).abs() < 1e-9);
        // Most of what ran is gone.
        assert!((seconds(1, 1).active(time(20), time(10)) - 2.1).abs() < 1e-9);
        assert_eq!(seconds(1, 1).active(Nanos::ZERO, Nanos::ZERO), 0.0);
    }
}
