//! `/proc/spl/kstat/zfs/arcstats`: the cache of ZFS, which is no page cache.

use super::{ParseError, count};
use crate::units::Bytes;

/// What is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arcstats {
    /// The size of the cache.
    pub size: Bytes,
    /// The size that it keeps when memory is short.
    pub least: Bytes,
}

impl Arcstats {
    /// Parses the file.
    ///
    /// # Errors
    /// Where one of the two is missing or malformed.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let value_of = |wanted: &'static str| {
            let found = text.split(|&b| b == b'\n').find_map(|line| {
                let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
                let (name, _type, value) = (words.next()?, words.next()?, words.next()?);
                (name == wanted.as_bytes()).then_some(value)
            });
            let value = count(found.ok_or(ParseError::Missing(wanted))?);
            value.map(Bytes::new).ok_or(ParseError::Malformed(wanted))
        };
        Ok(Self { size: value_of("size")?, least: value_of("c_min")? })
    }

    /// How much of the cache the kernel gets back when memory is short.
    #[must_use]
    pub fn zfs_reclaimable(self) -> Bytes {
        self.size - self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_least() {
        let text: &[u8] = b"13 1 0x01 147 39984 1 2\nname                            type data\n\
            c_min                           4    1000\nsize                            4    5000\n\
            hdr_size                        4    7\n";
        let zfs_reclaimable = |text| Arcstats::parse(text).map(Arcstats::zfs_reclaimable);
        assert_eq!(zfs_reclaimable(text), Ok(Bytes::new(4000)));
        assert_eq!(zfs_reclaimable(b"size 4 10\nc_min 4 20\n"), Ok(Bytes::ZERO));
        assert_eq!(zfs_reclaimable(b""), Err(ParseError::Missing("size")));
        assert_eq!(zfs_reclaimable(b"size 4 10\n"), Err(ParseError::Missing("c_min")));
        assert_eq!(zfs_reclaimable(b"size 4 -1\nc_min 4 0\n"), Err(ParseError::Malformed("size")));
        let wrapped = b"size 4 5000\nc_min 4 18446744073709551611\n";
        assert_eq!(zfs_reclaimable(wrapped), Err(ParseError::Malformed("c_min")));
        assert_eq!(zfs_reclaimable(b"size 4\nc_min 4 0\n"), Err(ParseError::Missing("size")));
    }
}
