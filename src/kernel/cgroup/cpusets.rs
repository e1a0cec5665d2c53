//! Which processors and memory nodes a cpuset lets its processes use.

use super::descent::{Descent, downward};
use super::mounts::Hierarchy;
use super::raw_files::{read, read_sound};
use crate::error::Error;
use crate::kernel::identity::caller::Caller;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::cpu_list::CpuList;
use std::convert::identity;

/// The processors of a reader's container: all that any process in it may run on; `None` where the kernel says of none.
///
/// What a cgroup of v2 gives to partitions below it is not in its effective set any more (cgroup-v2.rst, "Cpuset Interface
/// Files"), and yet the container's.
pub(crate) fn processors(
    cpuset: &Hierarchy,
    caller: &Caller<'_>,
    online: &CpuList,
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuList>, Error> {
    let cgroup = caller.limited_in(cpuset)?;
    let name = match cpuset.version {
        CgroupVersion::V1 => "cpuset.effective_cpus",
        CgroupVersion::V2 => "cpuset.cpus.effective",
    };
    let given = match cpuset.version {
        CgroupVersion::V1 => CpuList::default(),
        CgroupVersion::V2 => Partitions { cpuset, cgroup }.given(online, buffer)?,
    };
    let own = list(cpuset, cgroup, name, buffer)?;
    match own.map(|own| own.or(&given)).filter(|own| !own.is_empty()) {
        Some(own) => Ok(Some(own)),
        None => nearest(cpuset, cgroup, name, buffer),
    }
}

/// The memory nodes that a reader may use: its own cpuset's, as with limits on memory.
pub(crate) fn nodes(
    cpuset: &Hierarchy,
    caller: &Caller<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuList>, Error> {
    let name = match cpuset.version {
        CgroupVersion::V1 => "cpuset.effective_mems",
        CgroupVersion::V2 => "cpuset.mems.effective",
    };
    nearest(cpuset, caller.own_in(cpuset)?, name, buffer)
}

/// The list of the nearest cgroup, from this one up, that has the controller and a list that makes sense and is not empty: an
/// empty one is that of a cgroup that nothing can run in, and never means all.
fn nearest(
    cpuset: &Hierarchy,
    cgroup: &[u8],
    name: &str,
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuList>, Error> {
    let own = list(cpuset, cgroup, name, buffer)?.filter(|list| !list.is_empty());
    if own.is_some() {
        return Ok(own);
    }
    let (mut nearest, mut descent) = (None, Descent::new(cpuset));
    for level in downward(cgroup) {
        let place = descent.to(level).map_err(|e| Error::of_cgroup(level, e))?;
        let list = read_sound(level, place, name, buffer, CpuList::parse)?;
        nearest = list.filter(|list| !list.is_empty()).or(nearest);
    }
    Ok(nearest)
}

fn list(
    cpuset: &Hierarchy,
    cgroup: &[u8],
    name: &str,
    buffer: &mut Vec<u8>,
) -> Result<Option<CpuList>, Error> {
    read_sound(cgroup, cpuset.place(cgroup), name, buffer, CpuList::parse)
}

/// Partitions of processors (`cpuset.cpus.partition`) in a cgroup of v2 and those above it.
struct Partitions<'h> {
    cpuset: &'h Hierarchy,
    cgroup: &'h [u8],
}

impl Partitions<'_> {
    /// The processors that are the cgroup's, but were given to partitions below it.
    fn given(&self, online: &CpuList, buffer: &mut Vec<u8>) -> Result<CpuList, Error> {
        let is_partition = self.is_partition(self.cgroup, buffer)?;
        let exclusive = list(self.cpuset, self.cgroup, "cpuset.cpus.exclusive.effective", buffer)?;
        match exclusive {
            Some(exclusive) if is_partition || exclusive.is_empty() => Ok(exclusive.within(online)),
            // Those that it might give, unless the partition that they would be taken from has them still.
            Some(exclusive) => {
                let above = self.partition_above(buffer)?;
                let left = list(self.cpuset, above, "cpuset.cpus.effective", buffer)?;
                Ok(exclusive.within(online).without(&left.unwrap_or_default()))
            }
            // Before Linux 6.7 only a partition can have partitions below it, and what it has is what was asked for.
            None if is_partition => self.asked_for(online, buffer),
            None => Ok(CpuList::default()),
        }
    }

    /// One that is asked for and can't be is `root invalid (…)`.
    fn is_partition(&self, cgroup: &[u8], buffer: &mut Vec<u8>) -> Result<bool, Error> {
        let is_valid = |text: &[u8]| Ok(matches!(text.trim_ascii(), b"root" | b"isolated"));
        let place = self.cpuset.place(cgroup);
        Ok(read(cgroup, place, "cpuset.cpus.partition", buffer, is_valid)?.is_some_and(identity))
    }

    /// The nearest level above that is one, as the root always is.
    fn partition_above(&self, buffer: &mut Vec<u8>) -> Result<&[u8], Error> {
        let levels: Vec<&[u8]> = downward(self.cgroup).collect();
        for level in levels.iter().rev().skip(1) {
            if self.is_partition(level, buffer)? {
                return Ok(level);
            }
        }
        Ok(b"/")
    }

    fn asked_for(&self, online: &CpuList, buffer: &mut Vec<u8>) -> Result<CpuList, Error> {
        let (mut common, mut descent) = (online.clone(), Descent::new(self.cpuset));
        for level in downward(self.cgroup) {
            let place = descent.to(level).map_err(|e| Error::of_cgroup(level, e))?;
            let asked = read_sound(level, place, "cpuset.cpus", buffer, CpuList::parse)?;
            if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
                common = common.within(&asked);
            }
        }
        Ok(common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::procfs::PATH_DIR;
    use rustix::fs::Mode;
    use std::fs;
    use std::path::Path;

    /// What a container at `/pod/ctr` has, where files of these cgroups have these texts.
    fn processors_of(version: CgroupVersion, files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("pod/ctr")).unwrap();
        for (file, text) in files {
            fs::write(dir.path().join(file), format!("{text}\n")).unwrap();
        }
        processors_in(version, dir.path(), b"/pod/ctr")
    }

    fn processors_in(version: CgroupVersion, dir: &Path, container: &[u8]) -> Option<String> {
        let mut hierarchy = Hierarchy::for_test("cpuset");
        (hierarchy.version, hierarchy.dir) =
            (version, rustix::fs::open(dir, PATH_DIR, Mode::empty()).unwrap());
        let line = match version {
            CgroupVersion::V1 => "3:cpuset:",
            CgroupVersion::V2 => "0::",
        };
        let membership = [line.as_bytes(), container, b"\n"].concat();
        let caller = Caller { membership: &membership, ..Caller::of_memory(container) };
        let online = CpuList::parse(b"0-7\n").unwrap();
        let list = processors(&hierarchy, &caller, &online, &mut Vec::new()).unwrap();
        list.map(|list| list.to_string())
    }

    #[test]
    fn what_partitions_below_were_given_is_the_containers() {
        let ctr = |effective, exclusive: Option<&'static str>, partition| {
            let mut files = vec![
                ("cpuset.cpus.effective", "0,4-7"),
                ("pod/cpuset.cpus.effective", "0,4-7"),
                ("pod/cpuset.cpus.partition", "member"),
                ("pod/cpuset.cpus", "0-4"),
                ("pod/ctr/cpuset.cpus", "1-3,9"),
                ("pod/ctr/cpuset.cpus.effective", effective),
                ("pod/ctr/cpuset.cpus.partition", partition),
            ];
            files.extend(exclusive.map(|list| ("pod/ctr/cpuset.cpus.exclusive.effective", list)));
            processors_of(CgroupVersion::V2, &files)
        };
        // All of them, two of three, on Linux 6.7 and newer, and before.
        assert_eq!(ctr("", Some("1-3"), "root").as_deref(), Some("1-3"));
        assert_eq!(ctr("1", Some("1-3"), "isolated").as_deref(), Some("1-3"));
        assert_eq!(ctr("", None, "root").as_deref(), Some("1-3"));
        assert_eq!(ctr("1", None, "root").as_deref(), Some("1-3"));
        // No partition itself, it has given 2 and 3 to one further down; or only might.
        assert_eq!(ctr("1", Some("2-3"), "member").as_deref(), Some("1-3"));
        assert_eq!(ctr("1", Some("4-5"), "member").as_deref(), Some("1"));
        assert_eq!(ctr("1", Some(""), "member").as_deref(), Some("1"));
        assert_eq!(ctr("1", None, "member").as_deref(), Some("1"));
        // What it asked for and did not get.
        assert_eq!(ctr("0,4", None, "root invalid (Parent is not a partition root)").as_deref(), Some("0,4"));
    }

    #[test]
    fn an_empty_set_is_not_all() {
        for (version, name) in
            [(CgroupVersion::V1, "cpuset.effective_cpus"), (CgroupVersion::V2, "cpuset.cpus.effective")]
        {
            let (pod, ctr) = (format!("pod/{name}"), format!("pod/ctr/{name}"));
            let files = [(name, "0-7"), (&pod, "2-3"), (&ctr, "")];
            assert_eq!(processors_of(version, &files).as_deref(), Some("2-3"));
            assert_eq!(processors_of(version, &files[..2]).as_deref(), Some("2-3"));
            assert_eq!(processors_of(version, &files[..1]).as_deref(), Some("0-7"));
            assert_eq!(processors_of(version, &[]), None);
        }
    }

    /// crun makes the sub-cgroup's set the partition, and not that of the scope that is the container.
    #[test]
    fn a_runtimes_sub_cgroup_has_the_containers_set() {
        let dir = tempfile::tempdir().unwrap();
        let scope = format!("/libpod-{}.scope", "0123456789abcdef".repeat(4));
        let sub = dir.path().join(format!("{}/container/inner", &scope[1..]));
        fs::create_dir_all(&sub).unwrap();
        let write = |below: &str, text: &str| {
            let cgroup = dir.path().join(format!("{}{below}", &scope[1..]));
            fs::write(cgroup.join("cpuset.cpus.effective"), text).unwrap();
        };
        write("", "0-2\n");
        write("/container", "3\n");
        write("/container/inner", "3\n");
        for inner in ["/container", "/container/inner"] {
            let own = format!("{scope}{inner}");
            let membership = format!("0::{own}\n");
            let mut hierarchy = Hierarchy::for_test("cpuset");
            (hierarchy.version, hierarchy.dir) =
                (CgroupVersion::V2, rustix::fs::open(dir.path(), PATH_DIR, Mode::empty()).unwrap());
            let caller = Caller {
                container_length: scope.len(),
                membership: membership.as_bytes(),
                ..Caller::of_memory(own.as_bytes())
            };
            let online = CpuList::parse(b"0-3\n").unwrap();
            let list = processors(&hierarchy, &caller, &online, &mut Vec::new()).unwrap();
            assert_eq!(list, CpuList::parse(b"3\n").ok(), "{inner}");
        }
    }
}
