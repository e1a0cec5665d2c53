//! `/sys/devices/system/node/nodeN/meminfo` (`node_read_meminfo()`, drivers/base/node.c).

use super::{ParseError, decimal, lines};
use crate::units::MAX;

/// A line such as `Node 0 MemTotal:       24683656 kB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'t> {
    /// The text in front of the key, with the space.
    pub head: &'t [u8],
    /// What the line is about.
    pub key: &'t [u8],
    /// Its number; `None` if it is malformed.
    pub value: Option<u64>,
    /// How many columns its number has, with the space before it. Kernels differ in that.
    pub width: usize,
    /// Whether it is in kibibytes, and not a plain count as of the `HugePages_…` lines.
    pub in_kib: bool,
}

/// The lines of the file. Lines other than `Node N Key: number` are left out.
///
/// # Errors
/// Where the text is cut short.
pub fn node_meminfo(text: &[u8]) -> Result<impl Iterator<Item = Line<'_>>, ParseError> {
    Ok(lines(text)?.filter_map(line))
}

fn line(line: &[u8]) -> Option<Line<'_>> {
    let colon = line.strip_prefix(b"Node ").and(line.iter().position(|&b| b == b':'))?;
    let space = line[..colon].iter().rposition(|&b| b == b' ')?;
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
    Some(Line { head: &line[..=space], key: &line[space + 1..colon], value, width, in_kib })
}

/// The number of a line, 0 where there is none.
///
/// # Errors
/// [`ParseError`] where a line is malformed.
pub fn count(text: &[u8], key: &str) -> Result<u64, ParseError> {
    let found = node_meminfo(text)?.find(|line| line.key == key.as_bytes());
    Ok(found.and_then(|line| line.value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_node() {
        let text =
            b"Node 12 MemTotal:       24683656 kB\nNode 12 HugePages_Total:     3\nNode 12 MemFree: -1 kB\n";
        let lines: Vec<_> = node_meminfo(text).unwrap().collect();
        assert_eq!((lines[0].head, lines[0].key), (&b"Node 12 "[..], &b"MemTotal"[..]));
        assert_eq!((lines[0].value, lines[0].width, lines[0].in_kib), (Some(24_683_656), 15, true));
        assert_eq!((lines[1].value, lines[1].width, lines[1].in_kib), (Some(3), 6, false));
        let large = b"Node 0 MemTotal:       1234567890 kB\n";
        assert_eq!(node_meminfo(large).unwrap().next().unwrap().width, 15);
        assert_eq!(count(text, "MemTotal"), Ok(24_683_656));
        assert_eq!((count(text, "MemFree"), count(text, "Mem")), (Ok(0), Ok(0)));
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        for malformed in ["MemTotal: 1 kB\n", "Node 0 MemTotal 1 kB\n", "CPU 0 MemTotal: 1 kB\n", "odd\n"] {
            assert_eq!(
                count(format!("{malformed}Node 0 MemTotal: 2 kB\n").as_bytes(), "MemTotal"),
                Ok(2),
                "{malformed}"
            );
        }
        assert_eq!(count(b"Node 0 MemTotal: 1 kB", "MemTotal"), Err(ParseError::Truncated));
    }
}
