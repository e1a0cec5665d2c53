//! `memory.numa_stat` of both cgroup versions: how much of a cgroup's memory is on which node
//! (`memory_numa_stat_show()`, mm/memcontrol.c; `memcg_numa_stat_show()`, mm/memcontrol-v1.c).

use super::{ParseError, decimal, lines};

/// The file's amounts, in its own unit: bytes with cgroup v2, pages with v1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumaStat(Vec<(Box<[u8]>, Amounts)>);

/// An amount for each node, by the node's number.
type Amounts = Vec<(u32, u64)>;

impl NumaStat {
    /// Parses the file. Malformed words of a line are left out.
    ///
    /// # Errors
    /// Where the text is cut short.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let keyed = |line: &[u8]| {
            let mut words = line.split(|&b| b == b' ');
            // With v1 the sum of all nodes stands behind the key.
            let key = words.next().and_then(|word| word.split(|&b| b == b'=').next())?;
            Some((key.into(), words.filter_map(of_node).collect()))
        };
        Ok(Self(lines(text)?.filter_map(keyed).collect()))
    }

    /// How much of something each node has; `None` where the file does not say.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[(u32, u64)]> {
        self.0.iter().find(|(known, _)| **known == *key.as_bytes()).map(|(_, nodes)| &**nodes)
    }
}

/// `N0=4096`
fn of_node(word: &[u8]) -> Option<(u32, u64)> {
    let equals = word.iter().position(|&b| b == b'=')?;
    let node = decimal(word[..equals].strip_prefix(b"N")?).ok()?;
    Some((node.try_into().ok()?, decimal(&word[equals + 1..]).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        let v2 = NumaStat::parse(b"anon N0=4096 N1=8192\nfile N0=0 N1=1\n").unwrap();
        assert_eq!(v2.get("anon"), Some(&[(0, 4096), (1, 8192)][..]));
        assert_eq!((v2.get("an"), v2.get("total")), (None, None));
        let v1 = NumaStat::parse(b"total=7 N0=3 N2=4\nfile=3 N0=1 N2=2\n").unwrap();
        assert_eq!(v1.get("file"), Some(&[(0, 1), (2, 2)][..]));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let odd = b"anon N0=-1 N1=5 M2=4 N=1 N99999999999=1 N3\n=\n\nfile\n";
        let stat = NumaStat::parse(odd).unwrap();
        assert_eq!((stat.get("anon"), stat.get("file")), (Some(&[(1, 5)][..]), Some(&[][..])));
        assert_eq!(NumaStat::parse(b"anon N0=1"), Err(ParseError::Truncated));
        assert_eq!(NumaStat::parse(b"").unwrap().get("anon"), None);
    }
}
