//! Moments, and clocks that show another time than others.

use super::nanos::Nanos;
use std::time::Duration;

/// How much later one clock is than another, in nanoseconds; below 0 if it is earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockOffset(i64);

/// A moment of the wall clock, in nanoseconds since 1970 (`CLOCK_REALTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

/// A moment: the time since the host's boot, suspended time included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

const HUNDREDTH: u64 = Nanos::SECOND.get() / 100;
const SECOND: i64 = 1_000_000_000;

impl ClockOffset {
    /// Two clocks that show the same.
    pub const NONE: Self = Self(0);

    /// An offset in nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// That of a clock that shows 0 at a moment.
    #[must_use]
    pub fn since(moment: BootTime) -> Self {
        Self(i64::try_from(moment.0).unwrap_or(i64::MAX).saturating_neg())
    }

    /// The offset to the host's clock of a clock that is so much later than one with the offset `other`.
    #[must_use]
    pub const fn on_top_of(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// How much later the clock is than one that is `other` later than the same third clock.
    #[must_use]
    pub const fn relative_to(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whole seconds, rounded down, and the nanoseconds that remain.
    #[must_use]
    pub const fn seconds_and_nanos(self) -> (i64, i64) {
        (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND))
    }

    /// Whether it is a whole number of seconds.
    #[must_use]
    pub const fn is_whole_seconds(self) -> bool {
        self.seconds_and_nanos().1 == 0
    }
}

impl WallTime {
    /// The moment a number of nanoseconds after 1970 began.
    #[must_use]
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// The moment a number of seconds after 1970 began.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// Whole seconds since 1970 began, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// The moment that was `by` earlier.
    #[must_use]
    pub const fn earlier_by(self, by: ClockOffset) -> Self {
        Self(self.0.saturating_sub(by.0))
    }

    /// How far two moments are apart.
    #[must_use]
    pub const fn distance(self, other: Self) -> Nanos {
        Nanos::new(self.0.abs_diff(other.0))
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
        Nanos::new(self.0).as_hundredths()
    }

    /// The time since an earlier moment; 0 since a later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos::new(self.0.saturating_sub(earlier.0))
    }

    /// How long ago the boot was by a clock that is `offset` later than the host's.
    #[must_use]
    pub const fn by_clock(self, offset: ClockOffset) -> Nanos {
        Nanos::new(self.0.saturating_add_signed(offset.0))
    }

    /// The moment that is `by` later.
    #[must_use]
    pub const fn after(self, by: Nanos) -> Self {
        Self(self.0.saturating_add(by.get()))
    }

    /// The moment that was `by` before, but not before the boot.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_converted_and_saturate() {
        let moment = BootTime::from_hundredths(692_264).unwrap();
        assert_eq!((moment.as_nanos(), moment.as_hundredths()), (6_922_640_000_000, 692_264));
        assert_eq!(BootTime::from_hundredths(u64::MAX), None);
        let later = BootTime::from_nanos(moment.as_nanos() + 7);
        assert_eq!((later.since(moment), moment.since(later)), (Nanos::new(7), Nanos::ZERO));
        assert_eq!(later.before(Duration::from_nanos(7)), moment);
        assert_eq!(moment.before(Duration::MAX), BootTime::default());
        assert_eq!(moment.after(Nanos::new(7)), later);
        assert_eq!(moment.by_clock(ClockOffset::from_nanos(7)), Nanos::new(later.as_nanos()));
        assert_eq!(moment.by_clock(ClockOffset::from_nanos(i64::MIN)), Nanos::ZERO);
    }

    #[test]
    fn offsets_of_clocks() {
        let offset = ClockOffset::from_nanos(7_000_000_000);
        assert_eq!(offset.relative_to(ClockOffset::from_nanos(-5)), ClockOffset::from_nanos(7_000_000_005));
        assert!(offset.is_whole_seconds() && !ClockOffset::from_nanos(-1).is_whole_seconds());
        assert_eq!(ClockOffset::from_nanos(-1).seconds_and_nanos(), (-1, 999_999_999));
        let moment = WallTime::from_seconds(1_700_000_000);
        assert_eq!(moment.earlier_by(offset).as_seconds(), 1_699_999_993);
        assert_eq!(moment.earlier_by(ClockOffset::from_nanos(1)).as_seconds(), 1_699_999_999);
        assert_eq!(WallTime::from_nanos(-1).as_seconds(), -1);
        assert_eq!(moment.distance(moment.earlier_by(offset)), Nanos::SECOND.times(7));
    }
}
