//! Load averages, as the kernel reckons them: how many tasks run or wait uninterruptibly, each moment weighing less the
//! longer it is ago (kernel/sched/loadavg.c).

/// Over one, five and fifteen minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Averages([f64; 3]);

const SECONDS: [f64; 3] = [60.0, 300.0, 900.0];

impl Averages {
    /// As if there had always been so many.
    #[must_use]
    pub const fn steady(active: f64) -> Self {
        Self([active; 3])
    }

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
pub struct Tasks {
    /// That run, or wait for a processor.
    pub running: u32,
    /// That wait for something else, and let no signal interrupt that.
    pub uninterruptible: u32,
    /// All of them.
    pub total: u32,
}

/// What `proc/loadavg` says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Over one, five and fifteen minutes.
    pub averages: [f64; 3],
    /// At the last look.
    pub tasks: Tasks,
    /// The reader's process id in its own pid namespace: none was given there that is newer, or few.
    pub last_pid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_approach_what_there_is() {
        let mut averages = Averages::default();
        for _ in 0..12 {
            averages.add(3.0, 5.0);
        }
        let [one, five, fifteen] = averages.get();
        // 3 * (1 - 1/e) after the period.
        assert!((one - 1.896).abs() < 0.001 && five < one && fifteen < five, "{averages:?}");
        let mut at_once = Averages::default();
        at_once.add(3.0, 60.0);
        assert!(at_once.get().iter().zip(averages.get()).all(|(a, b)| (a - b).abs() < 1e-9));
        assert_eq!(Averages::restore(averages.save()), Some(averages));
        assert_eq!(Averages::restore([f64::NAN, 0.0, 0.0].map(f64::to_bits)), None);
        let mut steady = Averages::steady(2.0);
        steady.add(2.0, 1000.0);
        assert_eq!(steady, Averages::steady(2.0));
    }
}
