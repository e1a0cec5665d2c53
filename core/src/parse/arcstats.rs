//! `/proc/spl/kstat/zfs/arcstats`: the cache of ZFS, which is no page cache.

use super::decimal;
use crate::units::Bytes;

/// How much of the cache the kernel gets back when memory is short, in bytes: all but the minimum size (`c_min`). It is 0 where
/// the text says neither.
#[must_use]
pub fn given_back(text: &[u8]) -> Bytes {
    let value_of = |wanted: &[u8]| {
        text.split(|&b| b == b'\n').find_map(|line| {
            let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
            let (name, _type, value) = (words.next()?, words.next()?, words.next()?);
            if name == wanted { decimal(value).ok() } else { None }
        })
    };
    match (value_of(b"size"), value_of(b"c_min")) {
        (Some(size), Some(least)) => Bytes::new(size) - Bytes::new(least),
        _ => Bytes::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_least() {
        let text = b"13 1 0x01 147 39984 1 2\nname                            type data\n\
            c_min                           4    1000\nsize                            4    5000\n\
            hdr_size                        4    7\n";
        assert_eq!(given_back(text), Bytes::new(4000));
        assert_eq!(given_back(b"size 4 10\nc_min 4 20\n"), Bytes::ZERO);
        for text in [&b""[..], b"size 4 10\n", b"size 4 -1\nc_min 4 0\n", b"size 4\nc_min 4 0\n"] {
            assert_eq!(given_back(text), Bytes::ZERO);
        }
    }
}
