//! `/proc/PID/status` (`fs/proc/array.c`): the lines that the search for a namespace's init needs.

use super::{ParseError, decimal, lines};

/// What is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The parent's process id, 0 if that is not visible.
    pub parent: u64,
    /// The process's id in its own, innermost pid namespace: the last number of `NSpid:`.
    pub innermost_pid: u64,
}

/// Parses the file.
///
/// # Errors
/// Where one of the lines is missing or malformed.
pub fn parse(text: &[u8]) -> Result<Status, ParseError> {
    let last_number = |key: &'static str| {
        let value = lines(text)?.find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b":"));
        let numbers = value.ok_or(ParseError::Missing(key))?.rsplit(|b| b.is_ascii_whitespace());
        decimal(numbers.into_iter().next().unwrap_or_default())
    };
    Ok(Status { parent: last_number("PPid")?, innermost_pid: last_number("NSpid")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_pid_is_the_last_of_the_line() {
        let text = b"Name:\tx\nPid:\t812\nPPid:\t800\nNSpid:\t812\t40\t1\nNSsid:\t7\n";
        assert_eq!(parse(text), Ok(Status { parent: 800, innermost_pid: 1 }));
    }

    #[test]
    fn what_is_missing_is_an_error() {
        assert_eq!(parse(b"PPid:\t1\n"), Err(ParseError::Missing("NSpid")));
        assert_eq!(parse(b"NSpid:\t1\n"), Err(ParseError::Missing("PPid")));
        assert_eq!(parse(b"PPid:\t\nNSpid:\t1\n"), Err(ParseError::NotANumber));
    }
}
