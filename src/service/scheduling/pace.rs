//! How fast this machine reads files of the kernel: what every reader costs on a slow processor is no
//! container's fault.

use super::thread_usage::ThreadUsage;
use std::time::Duration;

/// Bounds on time that depend on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) struct Pace {
    /// The processor time from which on a reading is slow. The first one of a usual cgroup takes about a
    /// fifth of that.
    pub(in crate::service) slow_reading: Duration,
    /// The elapsed time from which on a reading is slow if it waited for anything but a processor, and the
    /// one before was no quicker than `slow_reading`. It is much, because threads wait for each other's
    /// locks, too.
    pub(in crate::service) long_reading: Duration,
    /// The time over which the serving time of a container is summed up, and its readers are counted. Some
    /// hundred readers have to be answered meanwhile, for it to be seen who has most of them.
    pub(in crate::service) window: Duration,
    /// The most that a reader is charged for a request. What took longer is not the reader's doing, but that
    /// of whatever kept the thread from running.
    pub(in crate::service) max_charge: Duration,
    /// How long a reader waits for a look at processes that may hang, before it gets an error. On a slow
    /// machine such a look takes long even if nothing hangs.
    pub(in crate::service) look_timeout: Duration,
}

/// How often the host's meminfo is read; the least time counts, because of what interrupts.
const MEASUREMENTS: usize = 5;

impl Pace {
    /// Of a processor that reads the host's meminfo in 40 microseconds or less.
    const FAST: Self = Self {
        slow_reading: Duration::from_millis(5),
        long_reading: Duration::from_millis(50),
        window: Duration::from_millis(100),
        max_charge: Duration::from_micros(200),
        look_timeout: Duration::from_secs(1),
    };
    /// Of the slowest processor for which it makes a difference.
    const SLOWEST: Self = Self {
        slow_reading: Duration::from_millis(50),
        long_reading: Duration::from_millis(500),
        window: Duration::from_secs(1),
        max_charge: Duration::from_millis(5),
        look_timeout: Duration::from_secs(10),
    };

    /// The pace of the machine, measured by `read_meminfo`.
    pub(in crate::service) fn of_machine<T>(read_meminfo: impl Fn() -> T) -> Self {
        let measure = |_| {
            let before = ThreadUsage::now();
            read_meminfo();
            ThreadUsage::since(before).ran
        };
        Self::of((0..MEASUREMENTS).map(measure).min().unwrap_or_default())
    }

    /// The pace of a machine that reads the host's meminfo in that processor time.
    fn of(took: Duration) -> Self {
        let (least, most) = (Self::FAST, Self::SLOWEST);
        Self {
            slow_reading: (took * 125).clamp(least.slow_reading, most.slow_reading),
            long_reading: (took * 1250).clamp(least.long_reading, most.long_reading),
            window: (took * 2500).clamp(least.window, most.window),
            max_charge: (took * 5).clamp(least.max_charge, most.max_charge),
            look_timeout: (took * 25_000).clamp(least.look_timeout, most.look_timeout),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::FAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_has_other_bounds() {
        assert_eq!([0, 15, 40].map(|took| Pace::of(Duration::from_micros(took))), [Pace::FAST; 3]);
        assert_eq!(Pace::of(Duration::from_millis(1)), Pace::SLOWEST);
        let measured = Pace::of_machine(|| {
            let before = ThreadUsage::now();
            while ThreadUsage::since(before).ran < Duration::from_micros(200) {}
        });
        assert!(measured.slow_reading >= Duration::from_millis(25), "{measured:?}");
    }
}
