//! LoadAvg averages, as the kernel reckons them: how many tasks run or wait uninterruptibly, each moment weighing less the
//! longer it is ago (kernel/sched/loadavg.c).

use crate::machine::Ticks;

/// Over one, five and fifteen minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadAverages([f64; 3]);

const SECONDS: [f64; 3] = [60.0, 300.0, 900.0];

impl LoadAverages {
    /// Goes on by so many seconds in which there were `active` tasks.
    pub fn add(&mut self, active: f64, seconds: f64) {
        for (average, period) in self.0.iter_mut().zip(SECONDS) {
            let kept = (-seconds.max(0.0) / period).exp();
            *average = *average * kept + active * (1.0 - kept);
        }
    }

    /// Those that were saved as these numbers' bits; `None` if they are not load averages.
    #[must_use]
    pub fn restore(bits: [u64; 3]) -> Option<Self> {
        let averages = bits.map(f64::from_bits);
        averages.iter().all(|average| average.is_finite() && *average >= 0.0).then_some(Self(averages))
    }

    /// To be restored by another process.
    #[must_use]
    pub fn save(self) -> [u64; 3] {
        self.0.map(f64::to_bits)
    }

    /// The three.
    #[must_use]
    pub const fn get(self) -> [f64; 3] {
        self.0
    }
}

/// The tasks of a container at one moment. A task is a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// That run, or wait for a processor.
    pub running: u32,
    /// That wait for something else, and let no signal interrupt that.
    pub uninterruptible: u32,
    /// All of them.
    pub total: u32,
}

/// How long the tasks that a container has now have run and have waited for a processor, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunQueue {
    /// Since each of them was started.
    pub ran: u64,
    /// While it could have run.
    pub waited: u64,
}

impl RunQueue {
    /// How many tasks ran or waited to on average over a time of `passed`, in which all that the container had have run for
    /// `ran`, in nanoseconds. Those that it has now are said to have waited then for as long as is their part of it; how long
    /// others did is not known.
    #[must_use]
    pub fn active(self, ran: u64, passed: u64) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let [ran, passed, of_those, waited] = [ran, passed, self.ran, self.waited].map(|time| time as f64);
        let part = if of_those > ran { ran / of_those } else { 1.0 };
        if passed > 0.0 { (ran + waited * part) / passed } else { 0.0 }
    }
}

/// The load averages of a container at a moment, and what they go on from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadState {
    /// The averages.
    pub averages: LoadAverages,
    /// The moment, in nanoseconds after the boot.
    pub at: u64,
    /// How long the container's cgroup had run, in nanoseconds, at some moment; `None` where that is not known.
    pub ran: Option<CpuUsageAt>,
    /// When the container started, after the boot.
    pub start: Ticks,
}

/// How long a cgroup had run at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuUsageAt {
    /// In nanoseconds after the boot.
    pub at: u64,
    /// In nanoseconds.
    pub time: u64,
}

/// What `proc/loadavg` says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadAvg {
    /// Over one, five and fifteen minutes.
    pub averages: [f64; 3],
    /// At the last look.
    pub tasks: TaskCounts,
    /// The reader's process id in its own pid namespace: none was given there that is newer, or few.
    pub last_pid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_approach_what_there_is() {
        let mut averages = LoadAverages::default();
        for _ in 0..12 {
            averages.add(3.0, 5.0);
        }
        let [one, five, fifteen] = averages.get();
        // 3 * (1 - 1/e) after the period.
        assert!((one - 1.896).abs() < 0.001 && five < one && fifteen < five, "{averages:?}");
        let mut at_once = LoadAverages::default();
        at_once.add(3.0, 60.0);
        assert!(at_once.get().iter().zip(averages.get()).all(|(a, b)| (a - b).abs() < 1e-9));
        assert_eq!(LoadAverages::restore(averages.save()), Some(averages));
        assert_eq!(LoadAverages::restore([f64::NAN, 0.0, 0.0].map(f64::to_bits)), None);
    }

    /// What the kernel has in fixed point, by its own constants (include/linux/sched/loadavg.h).
    #[test]
    fn averages_are_the_kernels() {
        let (mut averages, mut kernel) = (LoadAverages::default(), [0u64; 3]);
        for step in 0..240 {
            let active = if step < 30 { 3 } else { 0 };
            averages.add(active as f64, 5.004);
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
        const SECOND: u64 = 1_000_000_000;
        let seconds = |ran, waited| RunQueue { ran: ran * SECOND, waited: waited * SECOND };
        // Ten spin on two processors for ten seconds.
        assert!((seconds(20, 80).active(20 * SECOND, 10 * SECOND) - 10.0).abs() < 1e-9);
        // They did so for a hundred, of which only the last ten are asked for.
        assert!((seconds(200, 800).active(20 * SECOND, 10 * SECOND) - 10.0).abs() < 1e-9);
        // Most of what ran is gone.
        assert!((seconds(1, 1).active(20 * SECOND, 10 * SECOND) - 2.1).abs() < 1e-9);
        assert_eq!(seconds(1, 1).active(0, 0), 0.0);
    }
}
