//! `/proc/PID/status` (`fs/proc/array.c`): the line that the search for a namespace's init needs.

use super::{ParseError, decimal, lines};

/// The process's id in its own, innermost pid namespace: the last number of `NSpid:`.
///
/// # Errors
/// Where the line is missing or malformed.
pub fn innermost_pid(text: &[u8]) -> Result<u64, ParseError> {
    let ids =
        lines(text).find_map(|line| line.strip_prefix(b"NSpid:")).ok_or(ParseError::Missing("NSpid"))?;
    decimal(ids.rsplit(|b| b.is_ascii_whitespace()).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_pid_is_the_last_of_the_line() {
        assert_eq!(innermost_pid(b"Name:\tx\nPid:\t812\nNSpid:\t812\t40\t1\nNSsid:\t7\n"), Ok(1));
        assert_eq!(innermost_pid(b"NSpid:\t812\n"), Ok(812));
    }

    #[test]
    fn what_is_missing_is_an_error() {
        assert_eq!(innermost_pid(b"Pid:\t812\n"), Err(ParseError::Missing("NSpid")));
        assert_eq!(innermost_pid(b"NSpid:\t\n"), Err(ParseError::NotANumber));
    }
}
