//! Moments and lengths of time, in the units that the kernel counts them in. Arithmetic saturates, for the
//! kernel updates counters independently of each other, and some of them wrap.

use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Ticks a second of `USER_HZ`, the unit of times in `/proc/stat` and `/proc/PID/stat`
/// (`sysconf(_SC_CLK_TCK)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRate(u64);

/// Time since the host's boot, suspended time included, or a length of time, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(u64);

/// A length of time in nanoseconds: half the size of a [`Duration`], and without a sum that panics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

/// How much later one clock is than another, in nanoseconds; below 0 if it is earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockOffset(i64);

/// A moment of the wall clock, in nanoseconds since 1970 (`CLOCK_REALTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

/// A moment: the time since the host's boot, suspended time included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

const SECOND: u64 = 1_000_000_000;
const SIGNED_SECOND: i64 = 1_000_000_000;
const HUNDREDTH: u64 = SECOND / 100;

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
        Ticks(time.0 / (SECOND / self.0))
    }

    /// How long so many ticks take.
    #[must_use]
    pub const fn length_of(self, ticks: Ticks) -> Nanos {
        Nanos(ticks.0.saturating_mul(SECOND / self.0))
    }

    /// A time since the host's boot in ticks, as a moment.
    #[must_use]
    pub const fn boot_time(self, ticks: Ticks) -> BootTime {
        BootTime(self.length_of(ticks).0)
    }

    /// A time in ticks, as hundredths of a second.
    #[must_use]
    pub const fn hundredths(self, ticks: Ticks) -> u64 {
        ticks.0.saturating_mul(100) / self.0
    }
}

impl Nanos {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// One second.
    pub const SECOND: Self = Self(SECOND);

    /// A number of nanoseconds.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// A number of microseconds.
    #[must_use]
    pub const fn from_micros(count: u64) -> Self {
        Self(count.saturating_mul(1000))
    }

    /// The number of nanoseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole hundredths of a second.
    #[must_use]
    pub const fn as_hundredths(self) -> u64 {
        self.0 / HUNDREDTH
    }

    /// In seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        Duration::from(self).as_secs_f64()
    }

    /// This many times `count`.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::ZERO, Add::add)
    }
}

impl From<Nanos> for Duration {
    fn from(time: Nanos) -> Self {
        Self::from_nanos(time.0)
    }
}

impl ClockOffset {
    /// Two clocks that show the same.
    pub const NONE: Self = Self(0);

    /// An offset in nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// How much later the clock is than one that is `other` later than the same third clock.
    #[must_use]
    pub const fn relative_to(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whole seconds, rounded down, and the nanoseconds that remain.
    #[must_use]
    pub const fn seconds_and_nanos(self) -> (i64, i64) {
        (self.0.div_euclid(SIGNED_SECOND), self.0.rem_euclid(SIGNED_SECOND))
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
        Self(seconds.saturating_mul(SIGNED_SECOND))
    }

    /// Whole seconds since 1970 began, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(SIGNED_SECOND)
    }

    /// The moment that was `by` earlier.
    #[must_use]
    pub const fn earlier_by(self, by: ClockOffset) -> Self {
        Self(self.0.saturating_sub(by.0))
    }

    /// How far two moments are apart.
    #[must_use]
    pub const fn distance(self, other: Self) -> Nanos {
        Nanos(self.0.abs_diff(other.0))
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
        Nanos(self.0).as_hundredths()
    }

    /// The time since an earlier moment; 0 since a later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same moment by a clock that is `offset` later than this one.
    #[must_use]
    pub const fn by_clock(self, offset: ClockOffset) -> Self {
        Self(self.0.saturating_add_signed(offset.0))
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
        assert_eq!(rate.ticks(Nanos::SECOND), Ticks::new(1024));
        assert_eq!(rate.hundredths(Ticks::new(2048)), 200);
        assert_eq!(TickRate::USUAL.length_of(Ticks::new(150)), Nanos::new(1_500_000_000));
        assert_eq!(TickRate::USUAL.length_of(Ticks::new(u64::MAX)), Nanos::new(u64::MAX));
        assert_eq!(TickRate::new(0).ticks(Nanos::SECOND.times(2)), Ticks::new(2));
        assert_eq!(TickRate::USUAL.boot_time(Ticks::new(150)), BootTime::from_nanos(1_500_000_000));
    }

    #[test]
    fn moments_are_converted_and_saturate() {
        let moment = BootTime::from_hundredths(692_264).unwrap();
        assert_eq!((moment.as_nanos(), moment.as_hundredths()), (6_922_640_000_000, 692_264));
        assert_eq!(BootTime::from_hundredths(u64::MAX), None);
        let later = BootTime::from_nanos(moment.as_nanos() + 7);
        assert_eq!((later.since(moment), moment.since(later)), (Nanos::new(7), Nanos::ZERO));
        assert_eq!(later.before(Duration::from_nanos(7)), moment);
        assert_eq!(moment.before(Duration::MAX), BootTime::default());
        assert_eq!(moment.by_clock(ClockOffset::from_nanos(7)), later);
        assert_eq!(moment.by_clock(ClockOffset::from_nanos(i64::MIN)), BootTime::default());
    }

    #[test]
    fn lengths_saturate() {
        let most = Nanos::new(u64::MAX);
        assert_eq!((most + most, most.times(2), Nanos::from_micros(u64::MAX)), (most, most, most));
        assert_eq!(Nanos::SECOND - most, Nanos::ZERO);
        assert_eq!([Nanos::SECOND, most].into_iter().sum::<Nanos>(), most);
        assert_eq!(Nanos::SECOND.times(2).as_hundredths(), 200);
        assert!((Nanos::from_micros(1_500_000).as_secs_f64() - 1.5).abs() < 1e-9);
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
