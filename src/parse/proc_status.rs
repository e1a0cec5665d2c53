//! `/proc/PID/status` (`fs/proc/array.c`): the two lines that the search for a namespace's init needs.

use super::{ParseError, decimal, lines};

/// What is read from `/proc/PID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// State letter, as in ps(1); `Z` and `X` are dead.
    pub state: u8,
    /// The process's id in its own, innermost pid namespace.
    pub innermost_pid: u64,
}

impl Status {
    /// Whether the process has exited and only waits to be reaped.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Parses the file.
///
/// # Errors
/// Where `State:` or `NSpid:` is missing or malformed.
pub fn status(text: &[u8]) -> Result<Status, ParseError> {
    let value = |key: &'static str| {
        lines(text)
            .find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b":"))
            .map(<[u8]>::trim_ascii)
            .ok_or(ParseError::Missing(key))
    };
    let state = *value("State")?.first().ok_or(ParseError::MalformedLine)?;
    let innermost = value("NSpid")?.rsplit(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
    Ok(Status { state, innermost_pid: decimal(innermost)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_pid_is_the_last_of_the_line() {
        let text = b"Name:\tState: x\nState:\tS (sleeping)\nPid:\t812\nNSpid:\t812\t40\t1\n";
        assert_eq!(status(text), Ok(Status { state: b'S', innermost_pid: 1 }));
    }

    #[test]
    fn missing_lines_are_named() {
        assert_eq!(status(b"State:\tR\n"), Err(ParseError::Missing("NSpid")));
        assert_eq!(status(b"NSpid:\t1\n"), Err(ParseError::Missing("State")));
        assert_eq!(status(b"State:\nNSpid:\t1\n"), Err(ParseError::MalformedLine));
    }
}
