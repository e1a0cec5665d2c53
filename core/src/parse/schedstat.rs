//! `/proc/PID/schedstat` (Documentation/scheduler/sched-stats.rst): how long a task has run, and waited to
//! run.

use super::{ParseError, decimal, without_newline};
use crate::time::Nanos;

/// What is read from the file. Where the kernel does not count, all is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// How long the task has run.
    pub ran: Nanos,
    /// How long it has waited for a processor.
    pub waited: Nanos,
}

impl Schedstat {
    /// Parses the file.
    ///
    /// # Errors
    /// Where the file is cut short, or the two are no numbers.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut words = without_newline(text)?.split(|&b| b == b' ');
        let mut time = || decimal(words.next().ok_or(ParseError::MalformedLine)?).map(Nanos::new);
        Ok(Self { ran: time()?, waited: time()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_of_three() {
        assert_eq!(
            Schedstat::parse(b"5043500 77 12\n"),
            Ok(Schedstat { ran: Nanos::new(5_043_500), waited: Nanos::new(77) })
        );
        assert_eq!(Schedstat::parse(b"0 0 0\n"), Ok(Schedstat::default()));
        assert_eq!(Schedstat::parse(b"5\n"), Err(ParseError::MalformedLine));
        assert_eq!(Schedstat::parse(b"5 6"), Err(ParseError::Truncated));
        assert_eq!(Schedstat::parse(b"5 -6 1\n"), Err(ParseError::NotANumber));
    }
}
