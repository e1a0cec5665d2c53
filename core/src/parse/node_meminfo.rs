//! `/sys/devices/system/node/nodeN/meminfo` (`node_read_meminfo()`, drivers/base/node.c).

use super::{ParseError, decimal, lines};
use crate::units::{Kib, MAX};

/// A line such as `Node 0 MemTotal:       24683656 kB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'t> {
    /// What stands before the key, with the space.
    pub head: &'t [u8],
    /// What the line is about.
    pub key: &'t [u8],
    /// Its number; `None` is one that makes no sense.
    pub value: Option<u64>,
    /// How many columns its number has, with the space before it. Kernels differ in that.
    pub width: usize,
    /// Whether it is in kibibytes, and not a plain count as of the `HugePages_…` lines.
    pub in_kib: bool,
}

/// The lines of the file.
///
/// # Errors
/// Where it is cut short; and each item fails where a line is not `Node N Key: number`.
pub fn node_meminfo(text: &[u8]) -> Result<impl Iterator<Item = Result<Line<'_>, ParseError>>, ParseError> {
    Ok(lines(text)?.map(line))
}

fn line(line: &[u8]) -> Result<Line<'_>, ParseError> {
    let colon = line.iter().position(|&b| b == b':').ok_or(ParseError::MalformedLine)?;
    let space = line[..colon].iter().rposition(|&b| b == b' ').ok_or(ParseError::MalformedLine)?;
    let rest = line[colon + 1..].trim_ascii_end();
    let (field, in_kib) = match rest.strip_suffix(b" kB") {
        Some(field) => (field, true),
        None => (rest, false),
    };
    let number = field.trim_ascii();
    let value = decimal(number).ok().filter(|&value| value <= MAX);
    // `%8lu kB`, `%5u`: longer ones take more.
    let usual = if in_kib { 8 } else { 5 };
    let width = field.len() - number.len().saturating_sub(usual);
    Ok(Line { head: &line[..=space], key: &line[space + 1..colon], value, width, in_kib })
}

/// How much memory the node has; none where it says nothing of it.
///
/// # Errors
/// As [`node_meminfo`].
pub fn total(text: &[u8]) -> Result<Kib, ParseError> {
    count(text, "MemTotal").map(Kib::new)
}

/// The number of a line, 0 where there is none.
///
/// # Errors
/// As [`node_meminfo`].
pub fn count(text: &[u8], key: &str) -> Result<u64, ParseError> {
    let mut found = 0;
    for line in node_meminfo(text)? {
        let line = line?;
        if line.key == key.as_bytes() {
            found = line.value.unwrap_or(0);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_node() {
        let text =
            b"Node 12 MemTotal:       24683656 kB\nNode 12 HugePages_Total:     3\nNode 12 MemFree: -1 kB\n";
        let lines: Vec<_> = node_meminfo(text).unwrap().map(Result::unwrap).collect();
        assert_eq!((lines[0].head, lines[0].key), (&b"Node 12 "[..], &b"MemTotal"[..]));
        assert_eq!((lines[0].value, lines[0].width, lines[0].in_kib), (Some(24_683_656), 15, true));
        assert_eq!((lines[1].value, lines[1].width, lines[1].in_kib), (Some(3), 6, false));
        let large = b"Node 0 MemTotal:       1234567890 kB\n";
        assert_eq!(node_meminfo(large).unwrap().next().unwrap().unwrap().width, 15);
        assert_eq!(total(text), Ok(Kib::new(24_683_656)));
        assert_eq!((count(text, "MemFree"), count(text, "Mem")), (Ok(0), Ok(0)));
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for text in ["MemTotal: 1 kB\n", "Node 0 MemTotal 1 kB\n", "Node 0 MemTotal: 1 kB"] {
            assert!(total(text.as_bytes()).is_err(), "{text}");
        }
    }
}
