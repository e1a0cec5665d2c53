//! Clock ticks.

use super::moments::BootTime;
use super::nanos::Nanos;

/// Ticks a second of `USER_HZ`, the unit of times in `/proc/stat` and `/proc/PID/stat`
/// (`sysconf(_SC_CLK_TCK)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRate(u64);

/// Time since the host's boot, suspended time included, or a length of time, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(u64);

const SECOND: u64 = Nanos::SECOND.get();

impl TickRate {
    /// A hundred ticks a second, as on every architecture but Alpha and IA-64 (include/asm-generic/param.h).
    pub const USUAL: Self = Self(100);

    /// A rate in ticks a second, at least one and at most one a nanosecond.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self(per_second.clamp(1, SECOND))
    }

    /// A length of time as whole ticks.
    #[must_use]
    pub const fn ticks(self, time: Nanos) -> Ticks {
        Ticks(time.get() / (SECOND / self.0))
    }

    /// How long so many ticks take.
    #[must_use]
    pub const fn length_of(self, ticks: Ticks) -> Nanos {
        Nanos::new(ticks.0.saturating_mul(SECOND / self.0))
    }

    /// A time since the host's boot in ticks, as a moment.
    #[must_use]
    pub const fn boot_time(self, ticks: Ticks) -> BootTime {
        BootTime::from_nanos(self.length_of(ticks).get())
    }

    /// A time in ticks, as hundredths of a second.
    #[must_use]
    pub const fn hundredths(self, ticks: Ticks) -> u64 {
        ticks.0.saturating_mul(100) / self.0
    }
}

impl Ticks {
    /// A time as a number of ticks.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// The number of ticks.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_converted() {
        let rate = TickRate::new(1024);
        assert_eq!(rate.ticks(Nanos::SECOND), Ticks::new(1024));
        assert_eq!(rate.hundredths(Ticks::new(2048)), 200);
        assert_eq!(TickRate::USUAL.length_of(Ticks::new(150)), Nanos::new(1_500_000_000));
        assert_eq!(TickRate::USUAL.length_of(Ticks::new(u64::MAX)), Nanos::new(u64::MAX));
        assert_eq!(TickRate::new(0).ticks(Nanos::SECOND.times(2)), Ticks::new(2));
        assert_eq!(TickRate::USUAL.boot_time(Ticks::new(150)), BootTime::from_nanos(1_500_000_000));
    }
}
