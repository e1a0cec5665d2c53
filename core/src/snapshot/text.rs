//! A container from the texts of its files, for programs that read these by themselves.

use super::memory::{Container, Level};
use crate::parse::memory_files::MemoryFileNames;
use crate::parse::memory_stat::MemoryStat;
use crate::parse::proc_cgroup::Membership;
use crate::parse::{CgroupVersion, ParseError, counter};

impl Container {
    /// The container of a process that is in the cgroup `own`. `read` reads a file by the path of a cgroup,
    /// as `own` has it, and by its name; `None` is a file that does not exist. Swap, huge pages and nodes are
    /// left out.
    ///
    /// # Errors
    /// What `read` returns, and a [`ParseError`] where a text is malformed.
    pub fn parse<E: From<ParseError>>(
        own: &Membership<'_>,
        mut read: impl FnMut(&[u8], &str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut levels = Vec::new();
        for cgroup in std::iter::successors(Some(own.path), |cgroup| parent(cgroup)) {
            levels.extend(Level::parse(own.version(), |file| read(cgroup, file))?);
        }
        Ok(Self { levels, ..Self::default() })
    }
}

impl Level {
    /// A cgroup, unless it has no limit: the root of a hierarchy of cgroup v2 is no level.
    fn parse<E: From<ParseError>>(
        version: CgroupVersion,
        mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Self>, E> {
        let names = MemoryFileNames::of(version);
        let Some(limit) = read(names.limit)? else { return Ok(None) };
        let usage = read(names.usage)?.map(|text| counter::usage(&text)).transpose()?;
        let stat = read("memory.stat")?.map(|text| MemoryStat::parse(version, &text)).transpose()?;
        Ok(Some(Self { limit: counter::limit(&limit)?, usage, stat, ..Self::default() }))
    }
}

/// The cgroup above another one; `None` above the root.
fn parent(cgroup: &[u8]) -> Option<&[u8]> {
    let end = cgroup.iter().rposition(|&b| b == b'/').filter(|_| cgroup != b"/")?;
    Some(&cgroup[..end.max(1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    #[test]
    fn levels_go_up_to_the_root_which_is_none() {
        let own = Membership { controllers: b"", path: b"/a/b" };
        let mut asked = Vec::new();
        let container = Container::parse(&own, |cgroup, file| {
            asked.push(format!("{}:{file}", String::from_utf8_lossy(cgroup)));
            Ok::<_, ParseError>(match (cgroup, file) {
                (b"/a/b", "memory.max") => Some(b"4096\n".to_vec()),
                (b"/a", "memory.max") => Some(b"max\n".to_vec()),
                (b"/a/b", "memory.current") => Some(b"100\n".to_vec()),
                _ => None,
            })
        });
        let levels = container.unwrap().levels;
        let [own, above] = &levels[..] else { panic!("{levels:?}") };
        assert_eq!((own.limit, own.usage), (Some(Bytes::new(4096)), Some(Bytes::new(100))));
        assert_eq!((above.limit, above.usage), (None, None));
        assert_eq!(asked.len(), 7, "{asked:?}");
        assert_eq!(asked[6], "/:memory.max");
    }

    #[test]
    fn what_is_malformed_is_an_error() {
        let own = Membership { controllers: b"memory", path: b"/" };
        let read = |_: &[u8], _: &str| Ok::<_, ParseError>(Some(b"x\n".to_vec()));
        assert_eq!(Container::parse(&own, read).err(), Some(ParseError::NotANumber));
    }
}
