//! Lists of processors as the kernel writes them (`cpuset.cpus.effective`, `/sys/devices/system/cpu/online`):
//! `0-3,8`.

use super::{ParseError, decimal, whole};
use std::fmt;

/// A set of processors, by number, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(Vec<u32>);

/// No machine has more (`CONFIG_NR_CPUS` of any architecture).
const MOST: u64 = 1 << 16;

impl CpuList {
    /// The first `count` processors.
    #[must_use]
    pub fn first(count: usize) -> Self {
        Self((0..u32::try_from(count).unwrap_or(u32::MAX)).collect())
    }

    /// Reads a file with one list, which may be empty.
    ///
    /// # Errors
    /// For anything but ranges of numbers in ascending order and a newline.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let text = whole(text)?;
        let mut list = Self::default();
        for range in text.split(|&b| b == b',').filter(|range| !range.is_empty()) {
            let mut ends = range.splitn(2, |&b| b == b'-');
            let first = decimal(ends.next().unwrap_or_default())?;
            let last = ends.next().map_or(Ok(first), decimal)?;
            let ascends = list.0.last().is_none_or(|&before| u64::from(before) < first);
            if last >= MOST {
                return Err(ParseError::TooLarge);
            }
            if first > last || !ascends {
                return Err(ParseError::MalformedLine);
            }
            list.0.extend((first..=last).filter_map(|cpu| u32::try_from(cpu).ok()));
        }
        Ok(list)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their numbers.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// The first so many of them.
    #[must_use]
    pub fn truncated(mut self, most: usize) -> Self {
        self.0.truncate(most);
        self
    }

    /// Those that are in `other`, too.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        Self(self.0.iter().copied().filter(|cpu| other.0.binary_search(cpu).is_ok()).collect())
    }
}

/// As the kernel writes it (`%*pbl`).
impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, run) in self.0.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match run {
                [] => {}
                [only] => write!(f, "{comma}{only}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for text in ["0\n", "0-1\n", "0-3,8,10-11\n", "7\n", "\n"] {
            let list = CpuList::parse(text.as_bytes()).unwrap();
            assert_eq!(format!("{list}\n"), text);
        }
        assert_eq!(CpuList::parse(b"0-3,8\n").unwrap().len(), 5);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for text in
            ["", "0-3", "3-1\n", "a\n", "1,1\n", "2,0\n", "-1\n", "0-99999999\n", "18446744073709551615\n"]
        {
            assert!(CpuList::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn intersection() {
        let list = |text: &str| CpuList::parse(text.as_bytes()).unwrap();
        assert_eq!(list("1-3,7\n").within(&list("0-1,3\n")), list("1,3\n"));
    }
}
