//! How fast this machine reads files of the kernel: what every reader costs on a slow processor is no container's fault.

use super::thread_usage::ThreadUsage;
use std::time::Duration;

/// Bounds on processor time that depend on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) struct Pace {
    /// From which on a reading is slow. The first one of a usual cgroup takes about a fifth of that.
    pub(in crate::service) slow_reading: Duration,
    /// The most that a reader is charged for a request. What took longer is not the reader's doing, but that of whatever kept the
    /// thread from running.
    pub(in crate::service) max_charge: Duration,
}

impl Pace {
    /// Of a processor that needs 10 to 40 microseconds for the host's meminfo, and of faster ones.
    const FAST: Self =
        Self { slow_reading: Duration::from_millis(5), max_charge: Duration::from_micros(200) };
    /// Of the slowest for which there is a difference.
    const SLOWEST: Self =
        Self { slow_reading: Duration::from_millis(50), max_charge: Duration::from_millis(5) };
    /// Both as multiples of what the host's meminfo takes.
    const READING_FACTOR: u32 = 100;
    const CHARGE_FACTOR: u32 = 5;
    /// How often that is measured; the least counts, because of what interrupts.
    const MEASUREMENTS: usize = 5;

    /// The pace of the machine, measured by `read_meminfo`.
    pub(in crate::service) fn of_machine<T>(read_meminfo: impl Fn() -> T) -> Self {
        let measure = |_| {
            let before = ThreadUsage::now();
            read_meminfo();
            ThreadUsage::since(before).ran
        };
        let took = (0..Self::MEASUREMENTS).map(measure).min().unwrap_or_default();
        let (least, most) = (Self::FAST, Self::SLOWEST);
        Self {
            slow_reading: (took * Self::READING_FACTOR).clamp(least.slow_reading, most.slow_reading),
            max_charge: (took * Self::CHARGE_FACTOR).clamp(least.max_charge, most.max_charge),
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
        let taking = |time: Duration| {
            Pace::of_machine(|| {
                let before = ThreadUsage::now();
                while ThreadUsage::since(before).ran < time {}
            })
        };
        assert_eq!(taking(Duration::ZERO), Pace::FAST);
        assert_eq!(taking(Duration::from_millis(2)), Pace::SLOWEST);
        let between = taking(Duration::from_micros(200));
        assert!(
            between.slow_reading >= Duration::from_millis(20)
                && between.max_charge >= Duration::from_millis(1)
        );
    }
}
