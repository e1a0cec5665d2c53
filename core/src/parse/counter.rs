//! Cgroup files that hold a single value: `memory.current`, `memory.max`, `memory.swappiness`, …

use super::{ParseError, count, decimal, without_newline};
use crate::time::Nanos;
use crate::units::{Bytes, MAX};

/// A file with one number, in whatever unit the file has.
///
/// # Errors
/// For anything but one decimal number and a newline.
pub fn number(text: &[u8]) -> Result<u64, ParseError> {
    decimal(without_newline(text)?)
}

/// A time that only goes up: `cpuacct.usage`.
///
/// # Errors
/// For anything but one number and a newline; also where the counter has wrapped.
pub fn nanoseconds(text: &[u8]) -> Result<Nanos, ParseError> {
    count(without_newline(text)?).map(Nanos::new).ok_or(ParseError::NotANumber)
}

/// A usage counter in bytes.
///
/// # Errors
/// As [`number`]; also [`ParseError::TooLarge`] beyond 2^53.
pub fn usage(text: &[u8]) -> Result<Bytes, ParseError> {
    match number(text)? {
        bytes if bytes > MAX => Err(ParseError::TooLarge),
        bytes => Ok(Bytes::new(bytes)),
    }
}

/// A limit in bytes; `None` is no limit.
///
/// cgroup v2 prints `max`. cgroup v1 prints `PAGE_COUNTER_MAX` pages (include/linux/page_counter.h),
/// whose value depends on the page size, and lets any number up to it be written: whatever is beyond
/// 2^53 bytes binds nothing on any machine and is taken as no limit.
///
/// # Errors
/// [`ParseError`] if it is neither a number nor `max`.
pub fn limit(text: &[u8]) -> Result<Option<Bytes>, ParseError> {
    let text = without_newline(text)?;
    if text == b"max" {
        return Ok(None);
    }
    let bytes = decimal(text)?;
    Ok((bytes <= MAX).then(|| Bytes::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions() {
        assert_eq!(limit(b"max\n"), Ok(None));
        assert_eq!(limit(b"0\n"), Ok(Some(Bytes::ZERO)));
        assert_eq!(limit(b"67108864\n"), Ok(Some(Bytes::new(64 << 20))));
        let unlimited_on_4k_and_64k_pages = [&b"9223372036854771712\n"[..], b"9223372036854710272\n"];
        for text in unlimited_on_4k_and_64k_pages {
            assert_eq!(limit(text), Ok(None));
        }
        assert_eq!(limit(b"999999999999995904\n"), Ok(None));
        assert_eq!(limit(b"maximum\n"), Err(ParseError::NotANumber));
        assert_eq!(limit(b"\n"), Err(ParseError::NotANumber));
    }

    #[test]
    fn the_beginning_of_a_number_is_none() {
        for cut in [&b""[..], b"6710", b"max"] {
            assert_eq!(limit(cut), Err(ParseError::Truncated));
            assert_eq!(usage(cut), Err(ParseError::Truncated));
        }
    }

    #[test]
    fn a_time_that_has_wrapped_is_none() {
        assert_eq!(nanoseconds(b"30\n"), Ok(Nanos::new(30)));
        assert_eq!(nanoseconds(b"18446744073709551611\n"), Err(ParseError::NotANumber));
        assert_eq!(nanoseconds(b"30"), Err(ParseError::Truncated));
    }

    #[test]
    fn usage_refuses_wrapped_counters() {
        assert_eq!(usage(b"4096\n"), Ok(Bytes::new(4096)));
        assert_eq!(usage(b"18446744073709551615\n"), Err(ParseError::TooLarge));
        assert_eq!(usage(b"1\n2\n"), Err(ParseError::NotANumber));
    }
}
