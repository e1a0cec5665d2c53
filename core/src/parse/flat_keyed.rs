//! Files of a key and a number on each line: `memory.stat`, `memory.events`, `cpu.stat`, `/proc/vmstat`.

use super::{ParseError, count, decimal, lines};

/// The lines of the file, as keys and the text after the space. Lines of any other form are left out.
///
/// # Errors
/// Where the text is cut short.
pub fn flat_keyed(text: &[u8]) -> Result<impl Iterator<Item = (&[u8], &[u8])>, ParseError> {
    Ok(lines(text)?.filter_map(|line| {
        let space = line.iter().position(|&b| b == b' ')?;
        Some((&line[..space], &line[space + 1..]))
    }))
}

/// The number of one key; `None` if the file lacks it. Other lines may say anything.
///
/// # Errors
/// Where the text is cut short, or the value is not a number.
pub fn value_of(text: &[u8], key: &str) -> Result<Option<u64>, ParseError> {
    let found = flat_keyed(text)?.find(|(found, _)| *found == key.as_bytes());
    found.map(|(_, value)| decimal(value)).transpose()
}

/// The [`count`] of one key; 0 if the file lacks it or it is malformed.
#[must_use]
pub fn count_of(text: &[u8], key: &str) -> u64 {
    let found = flat_keyed(text).ok().and_then(|mut lines| lines.find(|(found, _)| *found == key.as_bytes()));
    found.and_then(|(_, value)| count(value)).unwrap_or(0)
}

/// The keys whose values are not [`count`]s.
pub fn malformed_keys(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = flat_keyed(text).ok().into_iter().flatten();
    lines.filter(|(_, value)| count(value).is_none()).map(|(key, _)| key)
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
        assert_eq!(value_of(b"a -1\n", "a"), Err(ParseError::NotANumber));
    }

    #[test]
    fn all_that_are_malformed_are_told() {
        let malformed: Vec<_> = malformed_keys(b"a -1\nb 2\nc 18446744073709551611\n").collect();
        assert_eq!(malformed, [&b"a"[..], b"c"]);
        assert_eq!(malformed_keys(b"a -1\nb").count(), 0);
    }

    #[test]
    fn a_malformed_line_denies_nobody_the_rest() {
        for malformed in ["a", "a -1", "a 18446744073709551616", "a 1 2", "a ", " 1", ""] {
            let text = format!("{malformed}\nb 2\n");
            assert_eq!(value_of(text.as_bytes(), "b"), Ok(Some(2)), "{malformed}");
            assert_eq!(
                (count_of(text.as_bytes(), "b"), count_of(text.as_bytes(), "a")),
                (2, 0),
                "{malformed}"
            );
            let is_told = !matches!(malformed, "a" | " 1" | "");
            assert_eq!(malformed_keys(text.as_bytes()).next().is_some(), is_told, "{malformed}");
        }
    }
}
