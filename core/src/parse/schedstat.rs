//! `/proc/PID/schedstat` (Documentation/scheduler/sched-stats.rst): how long a task has run, and waited to run.

use super::{ParseError, decimal, without_newline};

/// How long a task has run and how long it has waited for a processor, in nanoseconds. Where the kernel does not count
/// them, all are 0.
///
/// # Errors
/// Where the file is cut short, or the two are no numbers.
pub fn ran_and_waited(text: &[u8]) -> Result<(u64, u64), ParseError> {
    let mut words = without_newline(text)?.split(|&b| b == b' ');
    let mut number = || decimal(words.next().ok_or(ParseError::MalformedLine)?);
    Ok((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_of_three() {
        assert_eq!(ran_and_waited(b"5043500 77 12\n"), Ok((5_043_500, 77)));
        assert_eq!(ran_and_waited(b"0 0 0\n"), Ok((0, 0)));
        assert_eq!(ran_and_waited(b"5\n"), Err(ParseError::MalformedLine));
        assert_eq!(ran_and_waited(b"5 6"), Err(ParseError::Truncated));
        assert_eq!(ran_and_waited(b"5 -6 1\n"), Err(ParseError::NotANumber));
    }
}
