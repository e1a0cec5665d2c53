//! Files of a key and a number on each line: `memory.stat`, `memory.events`, `cpu.stat`, `/proc/vmstat`.

use super::{ParseError, decimal, lines};

/// The lines of such a file.
///
/// # Errors
/// Where the text is cut short; and each item fails where a line is not a key, a space and a number.
pub fn flat_keyed(text: &[u8]) -> Result<impl Iterator<Item = Result<(&[u8], u64), ParseError>>, ParseError> {
    Ok(lines(text)?.map(|line| {
        let space = line.iter().position(|&b| b == b' ').ok_or(ParseError::MalformedLine)?;
        Ok((&line[..space], decimal(&line[space + 1..])?))
    }))
}

/// The number of one key; `None` if the file lacks it.
///
/// # Errors
/// As [`flat_keyed`].
pub fn value_of(text: &[u8], key: &str) -> Result<Option<u64>, ParseError> {
    for line in flat_keyed(text)? {
        let (found, value) = line?;
        if found == key.as_bytes() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_exact() {
        let text = b"usage_usec 30\nuser_usec 20\nuser_usec_total 9\n";
        assert_eq!(value_of(text, "user_usec"), Ok(Some(20)));
        assert_eq!(value_of(text, "usec"), Ok(None));
        assert_eq!(value_of(b"", "usec"), Ok(None));
        assert_eq!(value_of(b"a 1\nb", "b"), Err(ParseError::Truncated));
        assert_eq!(value_of(b"a\n", "b"), Err(ParseError::MalformedLine));
        assert_eq!(value_of(b"a -1\n", "b"), Err(ParseError::NotANumber));
    }
}
