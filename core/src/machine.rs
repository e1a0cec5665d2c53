//! What differs from machine to machine and is not in any file.

use crate::units::Kib;

/// Constants of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Size of a page of memory, in which limits are counted.
    pub page: Kib,
    /// Of the clock in which `/proc` tells times.
    pub tick_rate: TickRate,
}

impl Machine {
    /// Pages of 4 kiB and a hundred ticks a second: nearly every machine.
    pub const USUAL: Self = Self { page: Kib::new(4), tick_rate: TickRate::USUAL };
}

/// Ticks a second of `USER_HZ`, the unit of times in `/proc/stat` and `/proc/PID/stat` (`sysconf(_SC_CLK_TCK)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRate(u64);

/// Time since the host's boot, suspended time included, or a length of time, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(u64);

const SECOND: u64 = 1_000_000_000;

impl TickRate {
    /// A hundred a second: every architecture but Alpha and IA-64 (include/asm-generic/param.h).
    pub const USUAL: Self = Self(100);

    /// So many a second, at least one and at most one a nanosecond.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self(per_second.clamp(1, SECOND))
    }

    /// Whole ticks of a time in nanoseconds.
    #[must_use]
    pub const fn ticks(self, nanoseconds: u64) -> Ticks {
        Ticks(nanoseconds / (SECOND / self.0))
    }

    /// The time of so many ticks, in nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self, ticks: Ticks) -> u64 {
        ticks.0.saturating_mul(SECOND / self.0)
    }

    /// The time of so many ticks, in hundredths of a second.
    #[must_use]
    pub const fn hundredths(self, ticks: Ticks) -> u64 {
        ticks.0.saturating_mul(100) / self.0
    }
}

impl Ticks {
    /// So many.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// How many.
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
        assert_eq!(rate.ticks(SECOND), Ticks::new(1024));
        assert_eq!(rate.hundredths(Ticks::new(2048)), 200);
        assert_eq!(TickRate::USUAL.nanoseconds(Ticks::new(150)), 1_500_000_000);
        assert_eq!(TickRate::USUAL.nanoseconds(Ticks::new(u64::MAX)), u64::MAX);
        assert_eq!(TickRate::new(0).ticks(2 * SECOND), Ticks::new(2));
    }
}
