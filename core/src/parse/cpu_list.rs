//! Lists of processors, or memory nodes, as the kernel writes them (`cpuset.cpus.effective`,
//! `/sys/devices/system/cpu/online`): `0-3,8`.

use super::{ParseError, decimal, without_newline};
use std::fmt;

/// A set of processors, by number, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(Vec<u32>);

/// No machine has more (`CONFIG_NR_CPUS` of any architecture).
const MAX_PROCESSORS: u64 = 1 << 16;

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
        let text = without_newline(text)?;
        let mut list = Self::default();
        for range in text.split(|&b| b == b',').filter(|range| !range.is_empty()) {
            let mut ends = range.splitn(2, |&b| b == b'-');
            let first = decimal(ends.next().unwrap_or_default())?;
            let last = ends.next().map_or(Ok(first), decimal)?;
            let ascends = list.0.last().is_none_or(|&before| u64::from(before) < first);
            if last >= MAX_PROCESSORS {
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

    /// Reads a mask of bits as the kernel writes it (`%*pb`): hexadecimal digits, eight of them between
    /// commas.
    #[must_use]
    pub fn parse_mask(text: &[u8]) -> Self {
        let digits = text.iter().rev().filter_map(|&b| char::from(b).to_digit(16));
        let bits = (0..).step_by(4).zip(digits);
        bits.flat_map(|(first, digit)| {
            (0..4).filter(move |bit| digit >> bit & 1 == 1).map(move |bit| first + bit)
        })
        .collect()
    }

    /// The mask of bits, of as many digits as `other` has. Numbers beyond them are left out.
    #[must_use]
    pub fn mask_like(&self, other: &[u8]) -> Vec<u8> {
        let mut mask = other.to_vec();
        let digits = mask.iter_mut().rev().filter(|b| b.is_ascii_hexdigit());
        for (first, digit) in (0..).step_by(4).zip(digits) {
            let bits = (0..4).filter(|bit| self.contains(first + bit)).map(|bit| 1 << bit).sum();
            *digit = char::from_digit(bits, 16).map_or(b'0', |digit| digit as u8);
        }
        mask
    }

    /// Whether a processor is among them.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    /// Their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.0.iter().copied()
    }

    /// The first `most` CPUs of the list.
    #[must_use]
    pub fn truncated(mut self, most: usize) -> Self {
        self.0.truncate(most);
        self
    }

    /// These and those of `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut both = [&self.0[..], &other.0].concat();
        both.sort_unstable();
        both.dedup();
        Self(both)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().copied().filter(|&cpu| !other.contains(cpu)).collect())
    }

    /// Those that are in `other`, too.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        Self(self.0.iter().copied().filter(|&cpu| other.contains(cpu)).collect())
    }
}

/// Numbers in ascending order.
impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

/// As the kernel writes it (`%*pbl`).
impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self.0.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if index == 0 { "" } else { "," };
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
    fn masks() {
        let list = CpuList::parse(b"0-1,5,34\n").unwrap();
        assert_eq!(list.mask_like(b"ff,ffffffff\n"), b"04,00000023\n");
        assert_eq!(list.mask_like(b"f\n"), b"3\n");
        assert_eq!(CpuList::parse_mask(b"04,00000023\n"), list);
        assert!(CpuList::parse_mask(b"0\n").is_empty() && CpuList::parse_mask(b"\n").is_empty());
    }

    #[test]
    fn sets() {
        let list = |text: &str| CpuList::parse(text.as_bytes()).unwrap();
        let (a, b) = (list("1-3,7\n"), list("0-1,3\n"));
        assert_eq!(a.within(&b), list("1,3\n"));
        assert_eq!((a.or(&b), a.without(&b)), (list("0-3,7\n"), list("2,7\n")));
    }
}
