//! The bandwidth limit of the cpu controller: `cpu.max` of cgroup v2, `cpu.cfs_quota_us` and
//! `cpu.cfs_period_us` of v1.

use super::{ParseError, decimal, without_newline};
use crate::units::MilliCpus;
use std::time::Duration;

/// A bandwidth limit: how much processor time may be used in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuQuota {
    /// The processor time, of all processors together.
    pub quota: Duration,
    /// The period; not 0.
    pub period: Duration,
}

impl CpuQuota {
    /// Parses `cpu.max`; `None` is no limit.
    ///
    /// # Errors
    /// For anything but `max` or a number, a space, a number and a newline.
    pub fn parse(text: &[u8]) -> Result<Option<Self>, ParseError> {
        let mut words = without_newline(text)?.split(|&b| b == b' ');
        let (Some(quota), Some(period), None) = (words.next(), words.next(), words.next()) else {
            return Err(ParseError::MalformedLine);
        };
        let period = decimal(period)?;
        if quota == b"max" {
            return Ok(None);
        }
        Self::new(decimal(quota)?, period).map(Some)
    }

    /// Parses the two files of v1; `None` is no limit, which is -1 there.
    ///
    /// # Errors
    /// For anything but a number and a newline in each.
    pub fn parse_v1(quota: &[u8], period: &[u8]) -> Result<Option<Self>, ParseError> {
        let period = decimal(without_newline(period)?)?;
        match without_newline(quota)? {
            b"-1" => Ok(None),
            quota => Self::new(decimal(quota)?, period).map(Some),
        }
    }

    /// A limit of so many microseconds in so many.
    fn new(quota: u64, period: u64) -> Result<Self, ParseError> {
        if period == 0 {
            return Err(ParseError::MalformedLine);
        }
        Ok(Self { quota: Duration::from_micros(quota), period: Duration::from_micros(period) })
    }

    /// How many processors the limit is, rounded up.
    #[must_use]
    pub fn cpus(self) -> MilliCpus {
        let milli = (self.quota.as_micros() * 1000).div_ceil(self.period.as_micros().max(1));
        MilliCpus::new(u64::try_from(milli).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        let limit =
            Some(CpuQuota { quota: Duration::from_micros(150_000), period: Duration::from_micros(100_000) });
        assert_eq!(CpuQuota::parse(b"150000 100000\n"), Ok(limit));
        assert_eq!(CpuQuota::parse(b"max 100000\n"), Ok(None));
        assert_eq!(CpuQuota::parse_v1(b"150000\n", b"100000\n"), Ok(limit));
        assert_eq!(CpuQuota::parse_v1(b"-1\n", b"100000\n"), Ok(None));
        assert_eq!(limit.map(CpuQuota::cpus), Some(MilliCpus::new(1500)));
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "max\n", "1 0\n", "1 2 3\n", "-1 100000\n", "1 2"] {
            assert!(CpuQuota::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(CpuQuota::parse_v1(b"-2\n", b"100000\n").is_err());
        assert!(CpuQuota::parse_v1(b"1\n", b"0\n").is_err());
    }
}
