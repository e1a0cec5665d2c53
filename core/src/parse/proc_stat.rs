//! `/proc/PID/stat` (`proc_pid_stat`(5)): whether a process is on its way out, when it started, and how long it has run.

use super::{ParseError, decimal, without_newline};
use crate::machine::Ticks;

/// `PF_EXITING` of include/linux/sched.h.
const PF_EXITING: u64 = 0x4;

/// Whether the process has begun to exit, by its flags.
///
/// # Errors
/// Where the file is cut short or has too few fields, or the flags are not a number.
pub fn is_exiting(text: &[u8]) -> Result<bool, ParseError> {
    Ok(field(text, 9)? & PF_EXITING != 0)
}

/// When the process started after the boot, suspended time included.
///
/// # Errors
/// Where the file is cut short or has too few fields, or a field is not a number.
pub fn start_time(text: &[u8]) -> Result<Ticks, ParseError> {
    field(text, 22).map(Ticks::new)
}

/// How long the process has run, together with those of its children that it has waited for.
///
/// # Errors
/// Where the file is cut short or has too few fields, or a field is not a number.
pub fn run_time(text: &[u8]) -> Result<Ticks, ParseError> {
    // User and system time of the process, and of those children.
    let sum = |sum: u64, number| Ok(sum.saturating_add(field(text, number)?));
    [14, 15, 16, 17].into_iter().try_fold(0, sum).map(Ticks::new)
}

/// A field by its number in the manual page.
fn field(text: &[u8], number: usize) -> Result<u64, ParseError> {
    // The second field is the program's name in parentheses, which may itself have any of both.
    let name_end = text.iter().rposition(|&b| b == b')').ok_or(ParseError::MalformedLine)?;
    let mut fields = without_newline(&text[name_end + 1..])?.split(|&b| b == b' ').skip(1);
    decimal(fields.nth(number - 3).ok_or(ParseError::MalformedLine)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_ninth_field_whatever_the_name() {
        assert_eq!(is_exiting(b"7 (cat) R 1 7 7 0 -1 4194304 99 0\n"), Ok(false));
        assert_eq!(is_exiting(b"7 (a) Z (b) Z 1 7 7 0 -1 4194316 99 0\n"), Ok(true));
        assert_eq!(is_exiting(b"7 (cat) R 1\n"), Err(ParseError::MalformedLine));
        assert_eq!(is_exiting(b"7 (cat) R 1 7 7 0 -1 41943"), Err(ParseError::Truncated));
        assert_eq!(is_exiting(b""), Err(ParseError::MalformedLine));
    }

    #[test]
    fn the_start_is_the_twentysecond_field() {
        let text = b"7 (a b) R 1 7 7 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 1 0 158443 6123520 400 18446744073709551615\n";
        assert_eq!(start_time(text), Ok(Ticks::new(158_443)));
        assert_eq!(run_time(text), Ok(Ticks::new(3)));
    }
}
