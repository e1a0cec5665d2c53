//! Lengths of time.

use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A length of time in nanoseconds: half the size of a [`Duration`], and without a sum that panics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

impl Nanos {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);

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
        self.0 / (Self::SECOND.0 / 100)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_saturate() {
        let most = Nanos::new(u64::MAX);
        assert_eq!((most + most, most.times(2), Nanos::from_micros(u64::MAX)), (most, most, most));
        assert_eq!(Nanos::SECOND - most, Nanos::ZERO);
        assert_eq!([Nanos::SECOND, most].into_iter().sum::<Nanos>(), most);
        assert_eq!(Nanos::SECOND.times(2).as_hundredths(), 200);
        assert!((Nanos::from_micros(1_500_000).as_secs_f64() - 1.5).abs() < 1e-9);
    }
}
