//! `memory.numa_stat` of both cgroup versions: how much of a cgroup's memory is on which node
//! (`memory_numa_stat_show()`, mm/memcontrol.c; `memcg_numa_stat_show()`, mm/memcontrol-v1.c).

use super::{ParseError, count, decimal, lines};
use crate::units::MAX;

/// The file's amounts, in its own unit: bytes with cgroup v2, pages with v1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumaStat {
    lines: Vec<(Box<[u8]>, Amounts)>,
    /// Keys of lines with an amount that is malformed, and taken for 0.
    pub malformed: Vec<Box<[u8]>>,
}

/// An amount for each node, by the node's number.
type Amounts = Vec<(u32, u64)>;

impl NumaStat {
    /// Parses the file. A malformed amount is 0, and other malformed words of a line are left out.
    ///
    /// # Errors
    /// Where the text is cut short.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut stat = Self::default();
        for line in lines(text)? {
            let mut words = line.split(|&b| b == b' ');
            // With v1 the sum of all nodes stands behind the key.
            let Some(key) = words.next().and_then(|word| word.split(|&b| b == b'=').next()) else { continue };
            let amounts: Vec<(u32, Option<u64>)> = words.filter_map(of_node).collect();
            if amounts.iter().any(|(_, amount)| amount.is_none()) {
                stat.malformed.push(key.into());
            }
            let amounts = amounts.into_iter().map(|(node, amount)| (node, amount.unwrap_or(0)));
            stat.lines.push((key.into(), amounts.collect()));
        }
        Ok(stat)
    }

    /// How much of something each node has; `None` where the file does not say.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[(u32, u64)]> {
        self.lines.iter().find(|(known, _)| **known == *key.as_bytes()).map(|(_, nodes)| &**nodes)
    }
}

/// `N0=4096`: the node, and the amount unless that is malformed.
fn of_node(word: &[u8]) -> Option<(u32, Option<u64>)> {
    let equals = word.iter().position(|&b| b == b'=')?;
    let node = decimal(word[..equals].strip_prefix(b"N")?).ok()?;
    // As of `memory.stat`, no amount beyond that is one.
    let amount = count(&word[equals + 1..]).filter(|amount| *amount <= MAX);
    Some((node.try_into().ok()?, amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        let v2 = NumaStat::parse(b"anon N0=4096 N1=8192\nfile N0=0 N1=1\n").unwrap();
        assert_eq!(v2.get("anon"), Some(&[(0, 4096), (1, 8192)][..]));
        assert_eq!((v2.get("an"), v2.get("total")), (None, None));
        let malformed = NumaStat::parse(b"anon N0=99999999999999999 N1=8192\n").unwrap();
        assert_eq!(
            malformed.get("anon"),
            Some(&[(0, 0), (1, 8192)][..]),
            "as in memory.stat, that is no amount"
        );
        let v1 = NumaStat::parse(b"total=7 N0=3 N2=4\nfile=3 N0=1 N2=2\n").unwrap();
        assert_eq!(v1.get("file"), Some(&[(0, 1), (2, 2)][..]));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let malformed = b"anon N0=-1 N1=5 M2=4 N=1 N99999999999=1 N3\n=\n\nfile\n";
        let stat = NumaStat::parse(malformed).unwrap();
        assert_eq!((stat.get("anon"), stat.get("file")), (Some(&[(0, 0), (1, 5)][..]), Some(&[][..])));
        assert_eq!(stat.malformed, [Box::from(&b"anon"[..])]);
        // A counter that has drifted below 0.
        let wrapped = NumaStat::parse(b"file N0=18446744073709547520 N1=4096\n").unwrap();
        assert_eq!(wrapped.get("file"), Some(&[(0, 0), (1, 4096)][..]));
        assert_eq!(NumaStat::parse(b"anon N0=1"), Err(ParseError::Truncated));
        assert_eq!(NumaStat::parse(b"").unwrap().get("anon"), None);
    }
}
