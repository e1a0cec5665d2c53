//! What is bound into containers, and where it is there.

use cgprocfs_core::view::{ViewId, bound, is_directory};
use std::path::{Path, PathBuf};

/// Where the unit has its anchors.
pub const DIRECTORY: &str = "/run/cgprocfs";

/// A file, or a whole directory, that is bound into containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// Its path among the anchors.
    path: &'static str,
}

impl Bind {
    /// What is bound for some views.
    #[must_use]
    pub fn all(views: &[ViewId]) -> Vec<Self> {
        bound(views).map(|path| Self { path }).collect()
    }

    /// Its name in the Container Device Interface.
    #[must_use]
    pub fn name(self) -> String {
        let name = self.path.trim_start_matches("proc/").trim_start_matches("sys/devices/system/");
        name.replace('/', "-")
    }

    /// Where it is on the host, below the directory of the anchors.
    #[must_use]
    pub fn anchor(self, directory: &Path) -> PathBuf {
        directory.join(self.path)
    }

    /// Where a container has it. Nothing can be made in procfs, so the working set is beside it.
    #[must_use]
    pub fn target(self) -> String {
        match self.is_in_kernel_file_system() {
            true => format!("/{}", self.path),
            false => format!("{DIRECTORY}/{}", self.path),
        }
    }

    /// Whether its target is in procfs or sysfs, where it is as long as the kernel has it.
    #[must_use]
    pub fn is_in_kernel_file_system(self) -> bool {
        self.path.starts_with("proc/") || self.path.starts_with("sys/")
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(self) -> bool {
        is_directory(self.path)
    }

    /// Whether runc mounts something there if it is told to (`checkProcMount()`,
    /// libcontainer/rootfs_linux.go). crun mounts everything.
    #[must_use]
    pub fn is_mounted_by_runc(self) -> bool {
        const ALLOWED: [&str; 8] =
            ["cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"];
        self.path.strip_prefix("proc/").is_none_or(|file| ALLOWED.contains(&file))
    }

    /// Whether it is for containers that have an init of their own, and not for a single application: `ps`
    /// and `top` take the start of a process, which the kernel counts from the host's boot, from the uptime.
    #[must_use]
    pub fn is_for_systems_only(self) -> bool {
        self.path == "proc/uptime"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_targets() {
        let all = Bind::all(&ViewId::ALL);
        let of = |name: &str| all.iter().find(|bind| bind.name() == name).copied().unwrap();
        assert_eq!(of("meminfo").target(), "/proc/meminfo");
        assert_eq!(of("pressure-io").target(), "/proc/pressure/io");
        assert_eq!(of("cpu").target(), "/sys/devices/system/cpu");
        assert_eq!(of("working_set").target(), "/run/cgprocfs/working_set");
        assert_eq!(of("node").anchor(Path::new("/a")), Path::new("/a/sys/devices/system/node"));
        let refused: Vec<_> =
            all.iter().filter(|bind| !bind.is_mounted_by_runc()).map(|bind| bind.name()).collect();
        assert_eq!(refused, ["vmstat", "pressure-cpu", "pressure-memory", "pressure-io"]);
    }

    /// A name may have letters, digits and some marks, and begins and ends with a letter or digit (the
    /// specification of the Container Device Interface).
    #[test]
    fn names_are_names_of_devices() {
        for bind in Bind::all(&ViewId::ALL) {
            let name = bind.name();
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b)), "{name}");
            assert!(name.as_bytes()[0].is_ascii_alphanumeric() && !["all", "system"].contains(&&*name));
        }
    }
}
