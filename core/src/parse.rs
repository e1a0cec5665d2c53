//! Parsers of kernel text: bytes in, plain values out, no I/O.
//!
//! Kernel files are bytes, not UTF-8: a cgroup may carry any name but a newline. Every parser takes
//! whatever it is given and answers with a value or a [`ParseError`].
//!
//! All have one shape. What is read from a file is a type, and `T::parse(text)` makes it; `T::parse_all`
//! where a file has one in each line. Where the two cgroup interfaces print the same file in different ways,
//! the [`CgroupVersion`] comes first; where v1 has other files, they are read with `T::parse_v1`. Below these
//! are formats that several files share ([`flat_keyed`], [`node_meminfo`]) and files of a single value
//! ([`counter`]).

pub mod arcstats;
pub mod counter;
pub mod cpu_list;
pub mod cpu_quota;
pub mod cpu_stat;
pub mod flat_keyed;
pub mod io_stat;
pub mod meminfo;
pub mod memory_files;
pub mod memory_stat;
pub mod mountinfo;
pub mod node_meminfo;
pub mod numa_stat;
pub mod pid;
pub mod proc_cgroup;
pub mod proc_stat;
pub mod proc_status;
pub mod schedstat;
pub mod time_offsets;
pub mod uptime;

/// Which interface wrote a cgroup's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// cgroup v1. Of `memory.stat` only keys with `total_` are read: those without it leave out descendants
    /// (`mm/memcontrol-v1.c`, `memcg1_stat_format`).
    V1,
    /// cgroup v2 (`mm/memcontrol.c`, `memory_stats`), whose values always include descendants.
    V2,
}

/// What was wrong with a kernel file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Something other than decimal digits where the kernel prints a number.
    #[error("a number was expected")]
    NotANumber,
    /// A number above 2^53, which no counter of a real machine reaches.
    #[error("a number is too large to be true")]
    TooLarge,
    /// A number beyond what the kernel takes.
    #[error("a number is out of range")]
    OutOfRange,
    /// A line without the separator or the fields that its file always has.
    #[error("a line is malformed")]
    MalformedLine,
    /// No newline at the end, where the kernel always prints one: the last line may be cut in a number.
    #[error("the text is cut short")]
    Truncated,
    /// The value of a key is no number, or a counter that has wrapped.
    #[error("the value of {0} is malformed")]
    Malformed(&'static str),
    /// A key that every kernel prints is missing.
    #[error("the line {0} is missing")]
    Missing(&'static str),
}

/// Reads an unsigned decimal number that fills `text` entirely.
///
/// # Errors
/// [`ParseError::NotANumber`] for anything but digits, [`ParseError::TooLarge`] beyond 64 bits.
pub fn decimal(text: &[u8]) -> Result<u64, ParseError> {
    if text.is_empty() {
        return Err(ParseError::NotANumber);
    }
    text.iter().try_fold(0u64, |number, &digit| {
        if !digit.is_ascii_digit() {
            return Err(ParseError::NotANumber);
        }
        number
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(digit - b'0')))
            .ok_or(ParseError::TooLarge)
    })
}

/// A counter that only goes up; `None` for what is no number, or one that has wrapped below 0.
#[must_use]
pub fn count(text: &[u8]) -> Option<u64> {
    decimal(text).ok().filter(|count| i64::try_from(*count).is_ok())
}

/// The text without the newline at its end.
///
/// # Errors
/// [`ParseError::Truncated`] if there is none.
pub fn without_newline(text: &[u8]) -> Result<&[u8], ParseError> {
    text.strip_suffix(b"\n").ok_or(ParseError::Truncated)
}

/// The non-empty lines of `text`, which may be empty itself.
///
/// # Errors
/// [`ParseError::Truncated`] if the last of them is not whole.
pub fn lines(text: &[u8]) -> Result<impl Iterator<Item = &[u8]>, ParseError> {
    let text = if text.is_empty() { text } else { without_newline(text)? };
    Ok(text.split(|&b| b == b'\n').filter(|line| !line.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_takes_digits_only() {
        assert_eq!(decimal(b"0"), Ok(0));
        assert_eq!(decimal(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), Err(ParseError::TooLarge));
        for bad in [&b""[..], b"-1", b"+1", b"1 ", b"0x1", b"max"] {
            assert_eq!(decimal(bad), Err(ParseError::NotANumber));
        }
    }

    #[test]
    fn counters_have_not_wrapped() {
        assert_eq!(count(b"9223372036854775807"), Some(i64::MAX.unsigned_abs()));
        for malformed in
            [&b"18446744073709551611"[..], b"9223372036854775808", b"-5", b"", b"99999999999999999999"]
        {
            assert_eq!(count(malformed), None);
        }
    }
}
