//! The served files. A view is pure: a [`Snapshot`] goes in, text comes out.
//!
//! To add one, write a file beside `working_set.rs` and a line in [`VIEWS`]: look-up, listing,
//! attributes, golden, property and mount tests find it there.

pub mod cpu_list;
pub mod cpuinfo;
pub mod diskstats;
pub mod loadavg;
pub mod meminfo;
pub mod node_list;
pub mod pressure;
pub mod slabinfo;
pub mod stat;
pub mod swaps;
pub mod topology;
pub mod uptime;
pub mod vmstat;
pub mod working_set;

use crate::parse::ParseError;
use crate::snapshot::{CgroupFile, Native, Needs, Scope, Snapshot};
use node_list::NodeListFile;
use std::path::Path;
use topology::Topology;

/// One served file.
pub trait View: Sync {
    /// Path below the mount point, such as `proc/meminfo`.
    fn path(&self) -> &'static str;

    /// Inode number. It never changes and is never used again: a mount outlives the process that serves
    /// it, so the successor, of another version perhaps, has to agree.
    fn ino(&self) -> u64;

    /// Who may read it, as the kernel's own file has it.
    fn mode(&self) -> u16 {
        0o444
    }

    /// The size that the file claims; no text is longer. Programs that go by it read no further.
    fn claimed_size(&self) -> u64 {
        4096
    }

    /// What has to be in the snapshot.
    fn needs(&self) -> Needs;

    /// The file of pressure that a program may have watched by writing to the view, if it is one.
    fn pressure(&self) -> Option<CgroupFile> {
        None
    }

    /// The kernel's own file that a reader in no container is to get.
    fn native(&self) -> Option<Native> {
        None
    }

    /// Appends the file's text to `out`.
    ///
    /// # Errors
    /// Where the snapshot lacks a part that [`needs`](View::needs) asks for.
    fn text(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        match (self.native(), &snapshot.scope) {
            (Some(native), Scope::Host(_)) => self.host_text(snapshot.native(native)?, snapshot, out),
            _ => self.render(snapshot, out),
        }
    }

    /// The text for a reader in no container: the kernel's own, but for what the kernel makes for the reader's namespaces.
    ///
    /// # Errors
    /// As [`text`](View::text).
    fn host_text(&self, native: &[u8], _: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        out.extend_from_slice(native);
        Ok(())
    }

    /// The text that is not the kernel's own: for a reader in a container, and for others where there is no
    /// [`native`](View::native).
    ///
    /// # Errors
    /// As [`text`](View::text).
    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError>;
}

/// Why a view has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A part of the snapshot that a view needs was not loaded: a defect of this program.
    #[error("the snapshot lacks {0}; this is a defect, please report it")]
    NotLoaded(&'static str),
    /// A text of the kernel's was loaded and made no sense.
    #[error("cannot make sense of {0}: {1}; please report it with the file's content")]
    Malformed(&'static str, ParseError),
}

/// Every served file.
pub static VIEWS: &[&dyn View] = &[
    &meminfo::Meminfo,
    &working_set::WorkingSet,
    &cpuinfo::Cpuinfo,
    &uptime::Uptime,
    &swaps::Swaps,
    &cpu_list::CpuListFile { native: Native::CpuOnline, ino: 21 },
    &cpu_list::CpuListFile { native: Native::CpuPresent, ino: 22 },
    &cpu_list::CpuListFile { native: Native::CpuPossible, ino: 23 },
    &stat::Stat,
    &slabinfo::Slabinfo,
    &diskstats::Diskstats,
    &vmstat::Vmstat,
    &pressure::Pressure { native: Native::PressureCpu, file: CgroupFile::PressureCpu, ino: 28 },
    &pressure::Pressure { native: Native::PressureMemory, file: CgroupFile::PressureMemory, ino: 29 },
    &pressure::Pressure { native: Native::PressureIo, file: CgroupFile::PressureIo, ino: 30 },
    &loadavg::Loadavg,
    &NodeListFile { native: Native::NodeOnline, ino: 32, list: Topology::nodes },
    &NodeListFile { native: Native::NodePossible, ino: 33, list: Topology::nodes },
    &NodeListFile { native: Native::NodeHasCpu, ino: 34, list: Topology::nodes_with_cpus },
    &NodeListFile { native: Native::NodeHasMemory, ino: 35, list: Topology::nodes_with_memory },
];

/// Directories that are bound into containers by one mount of all that is in them: views, and what [`topology`] has there.
pub const WHOLE_DIRECTORIES: [&str; 2] = [CPU_DIRECTORY, NODE_DIRECTORY];
/// That of the processors,
pub const CPU_DIRECTORY: &str = "sys/devices/system/cpu";
/// and that of the memory nodes.
pub const NODE_DIRECTORY: &str = "sys/devices/system/node";
/// Where both are.
pub const SYSTEM_DIRECTORY: &str = "sys/devices/system";

/// What is bound for `views`: each by itself, but for those in [`WHOLE_DIRECTORIES`].
pub fn bound<'v>(views: &'v [&'static dyn View]) -> impl Iterator<Item = &'static str> + 'v {
    let whole = |path: &str| WHOLE_DIRECTORIES.into_iter().find(|whole| Path::new(path).starts_with(whole));
    let paths = move || views.iter().map(|view| view.path());
    let is_used = move |directory: &&str| paths().any(|path| whole(path) == Some(*directory));
    paths().filter(move |path| whole(path).is_none()).chain(WHOLE_DIRECTORIES.into_iter().filter(is_used))
}

/// Whether what is bound at a path is one of [`WHOLE_DIRECTORIES`].
#[must_use]
pub fn is_directory(path: &str) -> bool {
    WHOLE_DIRECTORIES.contains(&path)
}

/// The view at `path` below the mount point; its end will do, as in `meminfo`. Of pressure that is `pressure/memory`, for
/// `memory` alone could be taken for something else.
#[must_use]
pub fn find(path: &str) -> Option<&'static dyn View> {
    let is_meant = |view: &&&dyn View| {
        !path.is_empty()
            && Path::new(view.path()).ends_with(path)
            && (path.contains('/') || view.pressure().is_none())
    };
    VIEWS.iter().find(is_meant).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn paths_and_inodes_are_unique_and_well_formed() {
        let inodes: HashSet<_> = VIEWS.iter().map(|view| view.ino()).collect();
        let paths: HashSet<_> = VIEWS.iter().map(|view| view.path()).collect();
        assert_eq!((inodes.len(), paths.len()), (VIEWS.len(), VIEWS.len()));
        for path in paths {
            assert!(
                !path.starts_with('/') && !path.split('/').any(|name| matches!(name, "" | "." | "..")),
                "{path}"
            );
        }
    }

    #[test]
    fn inode_numbers_are_for_ever() {
        let inodes: Vec<_> = VIEWS.iter().map(|view| (view.path(), view.ino())).collect();
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
        assert!(bound(VIEWS).filter(|path| is_directory(path)).eq(WHOLE_DIRECTORIES));
    }

    #[test]
    fn views_are_found_by_path_or_name() {
        assert_eq!(find("meminfo").map(View::path), Some("proc/meminfo"));
        assert_eq!(find("proc/meminfo").map(View::path), Some("proc/meminfo"));
        assert_eq!(find("pressure/cpu").map(View::path), Some("proc/pressure/cpu"));
        for path in ["info", "", "cpu", "memory", "/"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
