//! `/proc/PID/stat` (`proc_pid_stat`(5)): whether a process is on its way out, when it started, and how long
//! it has run.

use super::{ParseError, decimal, without_newline};
use crate::time::Ticks;

/// `PF_EXITING` of include/linux/sched.h.
const PF_EXITING: u64 = 0x4;

/// What is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcStat {
    /// Whether the process has begun to exit.
    pub is_exiting: bool,
    /// When it started after the boot, suspended time included.
    pub start: Ticks,
    /// How long it has run, together with those of its children that it has waited for.
    pub ran: Ticks,
}

impl ProcStat {
    /// Parses the file.
    ///
    /// # Errors
    /// Where the file is cut short or has too few fields, or one of those that are read is not a number.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        // The second field is the program's name in parentheses, which may itself have any of both.
        let name_end = text.iter().rposition(|&b| b == b')').ok_or(ParseError::MalformedLine)?;
        let mut fields = without_newline(&text[name_end + 1..])?.split(|&b| b == b' ').zip(2..);
        // By its number in the manual page, each further on than the last.
        let mut field = |number| {
            let found = fields.find(|(_, known)| *known == number);
            decimal(found.ok_or(ParseError::MalformedLine)?.0)
        };
        let is_exiting = field(9)? & PF_EXITING != 0;
        // User and system time of the process, and of those children.
        let sum = |sum: u64, number| Ok(sum.saturating_add(field(number)?));
        let ran = [14, 15, 16, 17].into_iter().try_fold(0, sum)?;
        Ok(Self { is_exiting, start: Ticks::new(field(22)?), ran: Ticks::new(ran) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let text = |name: &str, flags: u64| {
            format!(
                "7 ({name}) R 1 7 7 0 -1 {flags} 99 0 0 0 1 2 0 4 20 0 1 0 158443 6123520 400 18446744073709551615\n"
            )
        };
        let stat = |is_exiting| ProcStat { is_exiting, start: Ticks::new(158_443), ran: Ticks::new(7) };
        assert_eq!(ProcStat::parse(text("a b", 4_194_304).as_bytes()), Ok(stat(false)));
        assert_eq!(ProcStat::parse(text("a) Z (b", 4_194_316).as_bytes()), Ok(stat(true)));
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        assert_eq!(ProcStat::parse(b"7 (cat) R 1\n"), Err(ParseError::MalformedLine));
        assert_eq!(ProcStat::parse(b"7 (cat) R 1 7 7 0 -1 41943"), Err(ParseError::Truncated));
        assert_eq!(ProcStat::parse(b""), Err(ParseError::MalformedLine));
    }
}
