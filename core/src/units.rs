//! Typed sizes whose arithmetic saturates.
//!
//! Every number this crate prints is a difference or a minimum of counters that the kernel updates
//! independently of each other, so a subtraction may cross zero at any moment. Saturation makes the
//! wrapped figures of naive implementations impossible to write.

use crate::time::Nanos;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// The largest figure that is ever held or printed: 2^53, beyond which no real machine goes and
/// below which JavaScript and every `double` still count exactly.
pub const MAX: u64 = 1 << 53;

macro_rules! size {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(transparent))]
        pub struct $name(u64);

        impl $name {
            /// The size of nothing.
            pub const ZERO: Self = Self(0);

            /// A size, held at no more than [`MAX`].
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(if value > MAX { MAX } else { value })
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self::new(self.0.saturating_add(other.0))
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
                sizes.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

size! {
    /// A number of bytes.
    Bytes
}
size! {
    /// A number of kibibytes, the unit that `/proc/meminfo` calls `kB`.
    Kib
}

impl Bytes {
    /// Whole kibibytes, rounded down as the kernel's own `>> 10` does.
    #[must_use]
    pub const fn to_kib(self) -> Kib {
        Kib(self.0 / 1024)
    }
}

impl Kib {
    /// The same in bytes.
    #[must_use]
    pub const fn to_bytes(self) -> Bytes {
        Bytes::new(self.0.saturating_mul(1024))
    }

    /// Rounded down to whole pages of `page` kibibytes.
    #[must_use]
    pub const fn floor_to(self, page: Kib) -> Kib {
        if page.0 == 0 { self } else { Kib(self.0 - self.0 % page.0) }
    }

    /// This many times `count`.
    #[must_use]
    pub const fn times(self, count: u64) -> Kib {
        Kib::new(self.0.saturating_mul(count))
    }
}

/// Why a text is not a size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size: write a whole number with an optional K, M, G or T, as in 256M")]
pub struct InvalidSize;

/// Reads what a person writes: `512`, `64K`, `256M`, `1G`, `1GiB`; units are powers of 1024.
impl FromStr for Bytes {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| InvalidSize)?;
        let shift = match unit.to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 10,
            "M" | "MB" | "MIB" => 20,
            "G" | "GB" | "GIB" => 30,
            "T" | "TB" | "TIB" => 40,
            _ => return Err(InvalidSize),
        };
        match number.checked_mul(1 << shift) {
            Some(bytes) if bytes <= MAX => Ok(Self(bytes)),
            _ => Err(InvalidSize),
        }
    }
}

/// An amount of processors, in thousandths of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCpus(u64);

impl MilliCpus {
    const PER_CPU: u64 = 1000;

    /// A number of thousandths of a processor.
    #[must_use]
    pub const fn new(thousandths: u64) -> Self {
        Self(thousandths)
    }

    /// A number of whole processors.
    #[must_use]
    pub fn whole(count: usize) -> Self {
        Self(u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(Self::PER_CPU))
    }

    /// The plain number of thousandths.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How many processors it takes to have as much.
    #[must_use]
    pub fn rounded_up(self) -> usize {
        usize::try_from(self.0.div_ceil(Self::PER_CPU)).unwrap_or(usize::MAX)
    }

    /// How long they run in a length of time, all together.
    #[must_use]
    pub fn time_in(self, length: Nanos) -> Nanos {
        let time = u128::from(length.get()) * u128::from(self.0) / u128::from(Self::PER_CPU);
        Nanos::new(u64::try_from(time).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Bytes::new(3) - Bytes::new(5), Bytes::ZERO);
        assert_eq!(Bytes::new(u64::MAX) + Bytes::new(u64::MAX), Bytes::new(MAX));
        assert_eq!(Kib::new(7).times(u64::MAX).get(), MAX);
    }

    #[test]
    fn sizes_people_write() {
        assert_eq!("256M".parse(), Ok(Bytes::new(256 << 20)));
        assert_eq!("1GiB".parse(), Ok(Bytes::new(1 << 30)));
        assert_eq!("4096".parse(), Ok(Bytes::new(4096)));
        assert_eq!("64k".parse(), Ok(Bytes::new(65536)));
        for bad in ["", "M", "12Q", "-1", "1.5G", "99999999999999999999", "9999999T", "1 M"] {
            assert_eq!(bad.parse::<Bytes>(), Err(InvalidSize), "{bad}");
        }
    }

    #[test]
    fn kibibytes_round_down() {
        assert_eq!(Bytes::new(2047).to_kib(), Kib::new(1));
        assert_eq!(Kib::new(11).floor_to(Kib::new(4)), Kib::new(8));
    }

    #[test]
    fn thousandths_of_processors() {
        assert_eq!(MilliCpus::whole(2), MilliCpus::new(2000));
        assert_eq!(MilliCpus::whole(usize::MAX).get(), u64::MAX);
        assert_eq!([0, 1, 1000, 1001].map(|milli| MilliCpus::new(milli).rounded_up()), [0, 1, 1, 2]);
        assert_eq!(MilliCpus::new(1500).time_in(Nanos::new(10)), Nanos::new(15));
        let most = Nanos::new(u64::MAX);
        assert_eq!(MilliCpus::new(u64::MAX).time_in(most), most);
    }
}
