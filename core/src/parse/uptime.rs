//! `/proc/uptime` (`proc_uptime`(5)): seconds with two decimals.

use super::{ParseError, decimal, without_newline};
use crate::time::BootTime;

/// What is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uptime {
    /// The present moment, by how long the host has been up.
    pub now: BootTime,
}

impl Uptime {
    /// Parses the file.
    ///
    /// # Errors
    /// Where the first field is not a number with two decimals, or one of centuries.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let first = without_newline(text)?.split(|&b| b == b' ').next().unwrap_or_default();
        let point = first.iter().position(|&b| b == b'.').ok_or(ParseError::MalformedLine)?;
        let (seconds, hundredths) = (&first[..point], &first[point + 1..]);
        if hundredths.len() != 2 {
            return Err(ParseError::MalformedLine);
        }
        let seconds = decimal(seconds)?.checked_mul(100).ok_or(ParseError::TooLarge)?;
        let hundredths = seconds.checked_add(decimal(hundredths)?).ok_or(ParseError::TooLarge)?;
        Ok(Self { now: BootTime::from_hundredths(hundredths).ok_or(ParseError::TooLarge)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decimals() {
        let hundredths = |text: &[u8]| Uptime::parse(text).map(|uptime| uptime.now.as_hundredths());
        assert_eq!(hundredths(b"6922.64 9979.32\n"), Ok(692_264));
        assert_eq!(hundredths(b"0.05 0.00\n"), Ok(5));
        for text in ["", "1\n", "1.5 2\n", "1.555 2\n", "-1.00 2\n", "1.00 2", "99999999999999999999.00 1\n"]
        {
            assert!(Uptime::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
