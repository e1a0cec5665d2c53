//! Every served file, by path and by inode number.

use super::contract::View;
use super::cpu_list::CpuListFile;
use super::cpuinfo::Cpuinfo;
use super::diskstats::Diskstats;
use super::loadavg::Loadavg;
use super::meminfo::Meminfo;
use super::node_list::NodeListFile;
use super::pressure::Pressure;
use super::slabinfo::Slabinfo;
use super::stat::Stat;
use super::swaps::Swaps;
use super::uptime::Uptime;
use super::vmstat::Vmstat;
use super::working_set::WorkingSet;
use crate::snapshot::{CgroupFile, HostFile};
use crate::topology::Topology;
use std::fmt;
use std::ops::Deref;
use std::path::Path;

/// All served files, each with its inode number. A number never changes and is never reused: a mount outlives
/// the process that serves it, so the successor, of another version perhaps, has to agree.
static VIEWS: [(u64, &dyn View); ViewId::COUNT] = [
    (16, &Meminfo),
    (17, &WorkingSet),
    (18, &Cpuinfo),
    (19, &Uptime),
    (20, &Swaps),
    (21, &CpuListFile { file: HostFile::CpuOnline }),
    (22, &CpuListFile { file: HostFile::CpuPresent }),
    (23, &CpuListFile { file: HostFile::CpuPossible }),
    (24, &Stat),
    (25, &Slabinfo),
    (26, &Diskstats),
    (27, &Vmstat),
    (28, &Pressure { host_file: HostFile::PressureCpu, cgroup_file: CgroupFile::PressureCpu }),
    (29, &Pressure { host_file: HostFile::PressureMemory, cgroup_file: CgroupFile::PressureMemory }),
    (30, &Pressure { host_file: HostFile::PressureIo, cgroup_file: CgroupFile::PressureIo }),
    (31, &Loadavg),
    (32, &NodeListFile { file: HostFile::NodeOnline, list: Topology::nodes }),
    (33, &NodeListFile { file: HostFile::NodePossible, list: Topology::nodes }),
    (34, &NodeListFile { file: HostFile::NodeHasCpu, list: Topology::nodes_with_cpus }),
    (35, &NodeListFile { file: HostFile::NodeHasMemory, list: Topology::nodes_with_memory }),
];

/// A served file, by its index in the table of all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewId(u8);

impl ViewId {
    /// How many served files there are.
    pub const COUNT: usize = 20;

    /// All served files.
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self(0); Self::COUNT];
        let mut index: u8 = 0;
        while (index as usize) < Self::COUNT {
            all[index as usize] = Self(index);
            index += 1;
        }
        all
    };

    /// The index of the file, below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The inode number of the file, the same in every version.
    #[must_use]
    pub fn ino(self) -> u64 {
        VIEWS[self.index()].0
    }
}

impl Deref for ViewId {
    type Target = dyn View;

    fn deref(&self) -> &'static Self::Target {
        VIEWS[self.index()].1
    }
}

impl fmt::Debug for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// Directories that are bound into containers as a whole, with the views in them and what
/// [`topology`](crate::topology) makes of the rest.
pub const WHOLE_DIRECTORIES: [&str; 2] = [CPU_DIRECTORY, NODE_DIRECTORY];
/// The directory of the processors.
pub const CPU_DIRECTORY: &str = "sys/devices/system/cpu";
/// The directory of the memory nodes.
pub const NODE_DIRECTORY: &str = "sys/devices/system/node";
/// The directory that both are in.
pub const SYSTEM_DIRECTORY: &str = "sys/devices/system";

/// The paths that are bound for `views`: those of the views, except that [`WHOLE_DIRECTORIES`] stand for the
/// views in them.
pub fn bound(views: &[ViewId]) -> impl Iterator<Item = &'static str> {
    let whole = |path: &str| WHOLE_DIRECTORIES.into_iter().find(|whole| Path::new(path).starts_with(whole));
    let paths = move || views.iter().map(|view| view.path());
    let is_used = move |directory: &&str| paths().any(|path| whole(path) == Some(*directory));
    paths().filter(move |path| whole(path).is_none()).chain(WHOLE_DIRECTORIES.into_iter().filter(is_used))
}

/// Whether a path that is bound is one of [`WHOLE_DIRECTORIES`].
#[must_use]
pub fn is_directory(path: &str) -> bool {
    WHOLE_DIRECTORIES.contains(&path)
}

/// The view whose path is `path` or ends with it, as in `meminfo`. For views of pressure it takes
/// `pressure/memory`, because `memory` alone could be taken for something else.
#[must_use]
pub fn find(path: &str) -> Option<ViewId> {
    ViewId::ALL.into_iter().find(|view| {
        !path.is_empty()
            && Path::new(view.path()).ends_with(path)
            && (path.contains('/') || view.pressure().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn paths_and_inodes_are_unique_and_well_formed() {
        let inodes: HashSet<_> = ViewId::ALL.into_iter().map(ViewId::ino).collect();
        let paths: HashSet<_> = ViewId::ALL.iter().map(|view| view.path()).collect();
        assert_eq!((inodes.len(), paths.len()), (ViewId::COUNT, ViewId::COUNT));
        for path in paths {
            assert!(
                !path.starts_with('/') && !path.split('/').any(|name| matches!(name, "" | "." | "..")),
                "{path}"
            );
        }
    }

    #[test]
    fn inode_numbers_are_for_ever() {
        let inodes: Vec<_> = ViewId::ALL.iter().map(|view| (view.path(), view.ino())).collect();
        let known = [
            ("proc/meminfo", 16),
            ("working_set", 17),
            ("proc/cpuinfo", 18),
            ("proc/uptime", 19),
            ("proc/swaps", 20),
            ("sys/devices/system/cpu/online", 21),
            ("sys/devices/system/cpu/present", 22),
            ("sys/devices/system/cpu/possible", 23),
            ("proc/stat", 24),
            ("proc/slabinfo", 25),
            ("proc/diskstats", 26),
            ("proc/vmstat", 27),
            ("proc/pressure/cpu", 28),
            ("proc/pressure/memory", 29),
            ("proc/pressure/io", 30),
            ("proc/loadavg", 31),
            ("sys/devices/system/node/online", 32),
            ("sys/devices/system/node/possible", 33),
            ("sys/devices/system/node/has_cpu", 34),
            ("sys/devices/system/node/has_memory", 35),
        ];
        assert_eq!(inodes, known, "append only");
    }

    #[test]
    fn directories_are_bound_as_a_whole() {
        let of = |names: &[&str]| {
            let views: Vec<_> = names.iter().map(|name| find(name).unwrap()).collect();
            bound(&views).collect::<Vec<_>>()
        };
        assert_eq!(of(&["cpu/online", "meminfo", "present"]), ["proc/meminfo", "sys/devices/system/cpu"]);
        assert_eq!(of(&["node/online"]), ["sys/devices/system/node"]);
        assert!(bound(&ViewId::ALL).filter(|path| is_directory(path)).eq(WHOLE_DIRECTORIES));
    }

    #[test]
    fn views_are_found_by_path_or_name() {
        assert_eq!(find("meminfo").map(|view| view.path()), Some("proc/meminfo"));
        assert_eq!(find("proc/meminfo").map(|view| view.path()), Some("proc/meminfo"));
        assert_eq!(find("pressure/cpu").map(|view| view.path()), Some("proc/pressure/cpu"));
        for path in ["info", "", "cpu", "memory", "/"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
