//! Which CPUs and memory nodes a cpuset lets its processes use.

use super::ancestors::{AncestorWalk, ancestors};
use super::caller::Caller;
use super::kept_files::{CgroupReader, KeptFiles};
use super::mounts::Hierarchy;
use crate::error::Error;
use crate::kernel::host::node_files::NodeFiles;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::cpu_list::CpuList;
use std::convert::identity;

/// The CPUs of a reader's container: all that any process in it may run on; `None` if the kernel names none.
///
/// CPUs that a cgroup of v2 gives to partitions below it leave its effective set (cgroup-v2.rst, "Cpuset
/// Interface Files"), but they are the container's still.
pub(crate) fn cpus(
    cpuset: &Hierarchy,
    kept: Option<&KeptFiles>,
    caller: &Caller<'_>,
    online: &CpuList,
) -> Result<Option<CpuList>, Error> {
    let cgroup = caller.limited_in(cpuset)?;
    let reader = CgroupReader::new(cpuset, kept, cgroup);
    let names = match cpuset.version {
        CgroupVersion::V1 => &["cpuset.effective_cpus", "cpuset.cpus"][..],
        CgroupVersion::V2 => &["cpuset.cpus.effective"],
    };
    let given = match cpuset.version {
        CgroupVersion::V1 => CpuList::default(),
        CgroupVersion::V2 => Partitions { reader, cgroup }.given(online)?,
    };
    // Nothing can run on a processor that is offline.
    let is_usable = |cpus: &CpuList| !cpus.within(online).is_empty();
    let own = list(reader, cgroup, names[0])?;
    match own.map(|own| own.or(&given)).filter(is_usable) {
        Some(own) => Ok(Some(own)),
        None => nearest_list(reader, cgroup, names, is_usable),
    }
}

/// The memory nodes that a reader may use: those of its own cpuset, as limits on memory are those of its own
/// cgroup.
pub(crate) fn nodes(cpuset: &Hierarchy, caller: &Caller<'_>) -> Result<Option<CpuList>, Error> {
    let names = match cpuset.version {
        CgroupVersion::V1 => &["cpuset.effective_mems", "cpuset.mems"][..],
        CgroupVersion::V2 => &["cpuset.mems.effective"],
    };
    let reader = CgroupReader { hierarchy: cpuset, kept: None };
    nearest_list(reader, caller.own_in(cpuset)?, names, |nodes| !nodes.is_empty())
}

/// The nodes with memory that a caller's cpuset lets it use; `None` if these are all nodes. A list of nodes
/// that can't be read counts as all nodes: no reader is refused its numbers for it.
pub(crate) fn nodes_with_memory(
    host: &NodeFiles,
    cpuset: &Hierarchy,
    caller: &Caller<'_>,
) -> Result<Option<CpuList>, Error> {
    let with_memory = host.with_memory().filter(|nodes| nodes.len() > 1);
    let Some(with_memory) = with_memory else { return Ok(None) };
    let Some(allowed) = nodes(cpuset, caller)? else { return Ok(None) };
    let allowed = allowed.within(&with_memory);
    Ok((!allowed.is_empty() && allowed.len() < with_memory.len()).then_some(allowed))
}

/// The list of the nearest cgroup, from `cgroup` upward, that has the controller and a well-formed list that
/// `is_usable`, in the first of the files that has any: cgroup v1 has no effective ones before Linux 3.17. An
/// empty list is that of a cgroup in which nothing can run, and never means all.
fn nearest_list(
    reader: CgroupReader<'_>,
    cgroup: &[u8],
    names: &[&'static str],
    is_usable: impl Fn(&CpuList) -> bool,
) -> Result<Option<CpuList>, Error> {
    for name in names {
        let own = list(reader, cgroup, name)?.filter(&is_usable);
        if own.is_some() {
            return Ok(own);
        }
        let (mut nearest, mut walk) = (None, AncestorWalk::new(reader.hierarchy));
        for level in ancestors(cgroup) {
            let location = walk.to(level)?;
            let list = reader.read_or_log(location, name, CpuList::parse)?;
            nearest = list.filter(&is_usable).or(nearest);
        }
        if nearest.is_some() {
            return Ok(nearest);
        }
    }
    Ok(None)
}

fn list(reader: CgroupReader<'_>, cgroup: &[u8], name: &'static str) -> Result<Option<CpuList>, Error> {
    reader.read_or_log(reader.hierarchy.locate(cgroup), name, CpuList::parse)
}

/// Partitions of CPUs (`cpuset.cpus.partition`) in a cgroup of v2 and its ancestors.
struct Partitions<'h> {
    reader: CgroupReader<'h>,
    cgroup: &'h [u8],
}

impl Partitions<'_> {
    /// The CPUs of the cgroup that it has given to partitions below it.
    fn given(&self, online: &CpuList) -> Result<CpuList, Error> {
        let is_partition = self.is_partition(self.cgroup)?;
        let exclusive = list(self.reader, self.cgroup, "cpuset.cpus.exclusive.effective")?;
        match exclusive {
            Some(exclusive) if is_partition || exclusive.is_empty() => Ok(exclusive.within(online)),
            // These may be given, but are not yet if the partition that they would be taken from still has
            // them.
            Some(exclusive) => {
                let above = self.partition_above()?;
                let left = list(self.reader, above, "cpuset.cpus.effective")?;
                Ok(exclusive.within(online).without(&left.unwrap_or_default()))
            }
            // Before Linux 6.7 only a partition can have partitions below it, and it has the CPUs that were
            // requested.
            None if is_partition => self.requested(online),
            None => Ok(CpuList::default()),
        }
    }

    /// Whether a cgroup is a valid partition. One that was requested but can't be has `root invalid (…)`.
    fn is_partition(&self, cgroup: &[u8]) -> Result<bool, Error> {
        let is_valid = |text: &[u8]| Ok(matches!(text.trim_ascii(), b"root" | b"isolated"));
        let read =
            self.reader.read(self.reader.hierarchy.locate(cgroup), "cpuset.cpus.partition", is_valid)?;
        Ok(read.is_some_and(identity))
    }

    /// The nearest ancestor that is a partition, as the root always is.
    fn partition_above(&self) -> Result<&[u8], Error> {
        let levels: Vec<&[u8]> = ancestors(self.cgroup).collect();
        for level in levels.iter().rev().skip(1) {
            if self.is_partition(level)? {
                return Ok(level);
            }
        }
        Ok(b"/")
    }

    /// The CPUs that the cgroup and all its ancestors request.
    fn requested(&self, online: &CpuList) -> Result<CpuList, Error> {
        let (mut common, mut walk) = (online.clone(), AncestorWalk::new(self.reader.hierarchy));
        for level in ancestors(self.cgroup) {
            let location = walk.to(level)?;
            let requested = self.reader.read_or_log(location, "cpuset.cpus", CpuList::parse)?;
            if let Some(requested) = requested.filter(|requested| !requested.is_empty()) {
                common = common.within(&requested);
            }
        }
        Ok(common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read::PATH_DIR;
    use rustix::fs::Mode;
    use std::fs;
    use std::path::Path;

    /// What a container at `/pod/ctr` has, where files of these cgroups have these texts.
    fn cpus_of(version: CgroupVersion, files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("pod/ctr")).unwrap();
        for (file, text) in files {
            fs::write(dir.path().join(file), format!("{text}\n")).unwrap();
        }
        cpus_in(version, dir.path(), b"/pod/ctr")
    }

    fn cpus_in(version: CgroupVersion, dir: &Path, container: &[u8]) -> Option<String> {
        let mut hierarchy = Hierarchy::for_test("cpuset");
        (hierarchy.version, hierarchy.dir) =
            (version, rustix::fs::open(dir, PATH_DIR, Mode::empty()).unwrap());
        let line = match version {
            CgroupVersion::V1 => "3:cpuset:",
            CgroupVersion::V2 => "0::",
        };
        let proc_cgroup = [line.as_bytes(), container, b"\n"].concat();
        let caller = Caller { proc_cgroup: &proc_cgroup, ..Caller::in_cgroup(container) };
        let online = CpuList::parse(b"0-7\n").unwrap();
        let list = cpus(&hierarchy, None, &caller, &online).unwrap();
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
            cpus_of(CgroupVersion::V2, &files)
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
            assert_eq!(cpus_of(version, &files).as_deref(), Some("2-3"));
            assert_eq!(cpus_of(version, &files[..2]).as_deref(), Some("2-3"));
            assert_eq!(cpus_of(version, &files[..1]).as_deref(), Some("0-7"));
            assert_eq!(cpus_of(version, &[]), None);
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
            let proc_cgroup = format!("0::{own}\n");
            let mut hierarchy = Hierarchy::for_test("cpuset");
            (hierarchy.version, hierarchy.dir) =
                (CgroupVersion::V2, rustix::fs::open(dir.path(), PATH_DIR, Mode::empty()).unwrap());
            let caller = Caller {
                container: scope.as_bytes(),
                proc_cgroup: proc_cgroup.as_bytes(),
                ..Caller::in_cgroup(own.as_bytes())
            };
            let online = CpuList::parse(b"0-3\n").unwrap();
            let list = cpus(&hierarchy, None, &caller, &online).unwrap();
            assert_eq!(list, CpuList::parse(b"3\n").ok(), "{inner}");
        }
    }
}
