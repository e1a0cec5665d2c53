//! `/proc/PID/timens_offsets` (`time_namespaces`(7)): by how much the clocks of a time namespace differ from
//! the host's.

use super::{ParseError, decimal, lines};
use crate::time::ClockOffset;

/// What is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOffsets {
    /// How much more CLOCK_BOOTTIME shows there than on the host.
    pub boottime: ClockOffset,
}

impl TimeOffsets {
    /// Parses the file.
    ///
    /// # Errors
    /// Where the file is cut short, has no line for that clock, or that line makes no sense.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        for line in lines(text)? {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            // Linux 5.6 has the clocks' numbers (include/uapi/linux/time.h).
            if !matches!(words.next(), Some(b"boottime" | b"7")) {
                continue;
            }
            let mut word = || words.next().ok_or(ParseError::MalformedLine);
            let (seconds, nanoseconds) = (word()?, word()?);
            let (is_negative, digits) =
                seconds.strip_prefix(b"-").map_or((false, seconds), |digits| (true, digits));
            let number = |digits| i64::try_from(decimal(digits)?).map_err(|_| ParseError::TooLarge);
            let seconds = if is_negative { -number(digits)? } else { number(digits)? };
            let whole = seconds.checked_mul(1_000_000_000).ok_or(ParseError::TooLarge)?;
            let boottime = whole.checked_add(number(nanoseconds)?).ok_or(ParseError::TooLarge)?;
            return Ok(Self { boottime: ClockOffset::from_nanos(boottime) });
        }
        Err(ParseError::Missing("boottime"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boottime(text: &[u8]) -> Result<ClockOffset, ParseError> {
        TimeOffsets::parse(text).map(|offsets| offsets.boottime)
    }

    fn offset(nanoseconds: i64) -> Result<ClockOffset, ParseError> {
        Ok(ClockOffset::from_nanos(nanoseconds))
    }

    #[test]
    fn seconds_may_be_below_zero_and_nanoseconds_may_not() {
        let text = b"monotonic          -5         0\nboottime      1000000         7\n";
        assert_eq!(boottime(text), offset(1_000_000_000_000_007));
        assert_eq!(boottime(b"monotonic 0 0\nboottime -12 250000000\n"), offset(-11_750_000_000));
        assert_eq!(boottime(b"1 0 0\n7 3 0\n"), offset(3_000_000_000));
    }

    #[test]
    fn what_makes_no_sense() {
        assert_eq!(boottime(b"monotonic 0 0\n"), Err(ParseError::Missing("boottime")));
        assert_eq!(boottime(b"boottime 1 0"), Err(ParseError::Truncated));
        assert_eq!(boottime(b"boottime 1\n"), Err(ParseError::MalformedLine));
        assert_eq!(boottime(b"boottime 1 -1\n"), Err(ParseError::NotANumber));
        assert_eq!(boottime(b"boottime 9223372037 0\n"), Err(ParseError::TooLarge));
        assert_eq!(boottime(b"boottime -18446744073709551615 0\n"), Err(ParseError::TooLarge));
    }
}
