//! What differs from machine to machine and is not in any file.

use crate::units::Kib;
use std::time::Duration;

/// Constants of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Size of a page of memory, in which limits are counted.
    pub page: Kib,
    /// The unit of most times in `/proc`.
    pub tick_rate: TickRate,
}

impl Machine {
    /// Pages of 4 KiB and a hundred ticks a second, as on nearly every machine.
    pub const USUAL: Self = Self { page: Kib::new(4), tick_rate: TickRate::USUAL };
}

/// Ticks a second of `USER_HZ`, the unit of times in `/proc/stat` and `/proc/PID/stat`
/// (`sysconf(_SC_CLK_TCK)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRate(u64);

/// Time since the host's boot, suspended time included, or a length of time, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(u64);

/// A moment: the time since the host's boot, suspended time included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

const SECOND: u64 = 1_000_000_000;
const HUNDREDTH: u64 = SECOND / 100;

impl TickRate {
    /// A hundred ticks a second, as on every architecture but Alpha and IA-64 (include/asm-generic/param.h).
    pub const USUAL: Self = Self(100);

    /// A rate in ticks a second, at least one and at most one a nanosecond.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self(per_second.clamp(1, SECOND))
    }

    /// A time in nanoseconds, as whole ticks.
    #[must_use]
    pub const fn ticks(self, nanoseconds: u64) -> Ticks {
        Ticks(nanoseconds / (SECOND / self.0))
    }

    /// A time in ticks, as nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self, ticks: Ticks) -> u64 {
        ticks.0.saturating_mul(SECOND / self.0)
    }

    /// A time since the host's boot in ticks, as a moment.
    #[must_use]
    pub const fn boot_time(self, ticks: Ticks) -> BootTime {
        BootTime(self.nanoseconds(ticks))
    }

    /// A time in ticks, as hundredths of a second.
    #[must_use]
    pub const fn hundredths(self, ticks: Ticks) -> u64 {
        ticks.0.saturating_mul(100) / self.0
    }
}

impl BootTime {
    /// The moment a number of nanoseconds after the host's boot.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The moment a number of hundredths of a second after the host's boot; `None` for one that is centuries
    /// later.
    #[must_use]
    pub fn from_hundredths(hundredths: u64) -> Option<Self> {
        hundredths.checked_mul(HUNDREDTH).map(Self)
    }

    /// Nanoseconds since the host's boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole hundredths of a second since the host's boot.
    #[must_use]
    pub const fn as_hundredths(self) -> u64 {
        self.0 / HUNDREDTH
    }

    /// Nanoseconds since an earlier moment; 0 since a later one.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment that was `by` before, but not before the boot.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
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
        assert_eq!(rate.ticks(SECOND), Ticks::new(1024));
        assert_eq!(rate.hundredths(Ticks::new(2048)), 200);
        assert_eq!(TickRate::USUAL.nanoseconds(Ticks::new(150)), 1_500_000_000);
        assert_eq!(TickRate::USUAL.nanoseconds(Ticks::new(u64::MAX)), u64::MAX);
        assert_eq!(TickRate::new(0).ticks(2 * SECOND), Ticks::new(2));
        assert_eq!(TickRate::USUAL.boot_time(Ticks::new(150)), BootTime::from_nanos(1_500_000_000));
    }

    #[test]
    fn moments_are_converted_and_saturate() {
        let moment = BootTime::from_hundredths(692_264).unwrap();
        assert_eq!((moment.as_nanos(), moment.as_hundredths()), (6_922_640_000_000, 692_264));
        assert_eq!(BootTime::from_hundredths(u64::MAX), None);
        let later = BootTime::from_nanos(moment.as_nanos() + 7);
        assert_eq!((later.nanos_since(moment), moment.nanos_since(later)), (7, 0));
        assert_eq!(later.before(Duration::from_nanos(7)), moment);
        assert_eq!(moment.before(Duration::MAX), BootTime::default());
    }
}
