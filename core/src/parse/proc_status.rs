//! `/proc/PID/status` (`fs/proc/array.c`): the state of a task, and what the search for a namespace's init
//! needs.

use super::pid::Pid;
use super::{ParseError, lines};

/// What is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The parent's process id, [`Pid::UNSEEN`] if that is not visible.
    pub parent: Pid,
    /// The process's id in its own, innermost pid namespace: the last number of `NSpid:`.
    pub innermost_pid: Pid,
    /// In how many pid namespaces it has an id, as far as they can be seen from here: the length of that
    /// line.
    pub nesting: usize,
}

impl Status {
    /// Parses the file.
    ///
    /// # Errors
    /// Where one of the lines is missing or malformed.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let numbers = |key: &'static str| {
            let value = lines(text)?.find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b":"));
            Ok(value
                .ok_or(ParseError::Missing(key))?
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty()))
        };
        let last = |key| Pid::parse(numbers(key)?.next_back().unwrap_or_default());
        Ok(Self { parent: last("PPid")?, innermost_pid: last("NSpid")?, nesting: numbers("NSpid")?.count() })
    }
}

/// The state of a task, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It runs, or could.
    Running,
    /// It waits, and no signal ends that.
    Uninterruptible,
    /// It has ended, whether or not its parent has waited for it.
    Ended,
    /// Any other.
    Other,
}

impl TaskState {
    /// Parses the beginning of the file, up to the state or any further.
    ///
    /// # Errors
    /// Where the text is cut short before the state.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let value = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"State:\t"));
        match value.ok_or(ParseError::Missing("State"))?.first().ok_or(ParseError::Truncated)? {
            b'R' => Ok(Self::Running),
            b'D' => Ok(Self::Uninterruptible),
            b'Z' | b'X' | b'x' => Ok(Self::Ended),
            _ => Ok(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_a_letter() {
        let state = |letter| {
            TaskState::parse(format!("Name:\tState:\nUmask:\t0022\nState:\t{letter} (x)\nTg").as_bytes())
        };
        assert_eq!(state('D'), Ok(TaskState::Uninterruptible));
        assert_eq!(state('R'), Ok(TaskState::Running));
        assert_eq!(['Z', 'X', 'x'].map(state), [Ok(TaskState::Ended); 3]);
        assert_eq!(['S', 'T', 'I'].map(state), [Ok(TaskState::Other); 3]);
        assert_eq!(TaskState::parse(b"Name:\tx\nSta"), Err(ParseError::Missing("State")));
        assert_eq!(TaskState::parse(b"Name:\tx\nState:\t"), Err(ParseError::Truncated));
    }

    #[test]
    fn innermost_pid_is_the_last_of_the_line() {
        let text = b"Name:\tx\nPid:\t812\nPPid:\t800\nNSpid:\t812\t40\t1\nNSsid:\t7\n";
        assert_eq!(
            Status::parse(text),
            Ok(Status { parent: Pid::new(800), innermost_pid: Pid::INIT, nesting: 3 })
        );
    }

    #[test]
    fn what_is_missing_is_an_error() {
        assert_eq!(Status::parse(b"PPid:\t1\n"), Err(ParseError::Missing("NSpid")));
        assert_eq!(Status::parse(b"NSpid:\t1\n"), Err(ParseError::Missing("PPid")));
        assert_eq!(Status::parse(b"PPid:\t\nNSpid:\t1\n"), Err(ParseError::NotANumber));
    }
}
