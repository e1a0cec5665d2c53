//! Which cgroup hierarchy has which controller.
//!
//! The mount table decides, controller by controller: a host may have some controllers on cgroup v1 and
//! others on v2 (cgroups(7), "hybrid"), and nothing forces either to be below `/sys/fs/cgroup`.

use super::location::CgroupLocation;
use super::paths::relative;
use crate::error::{Error, escaped};
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::Procfs;
use crate::kernel::read::{PATH_DIR, READ, read_with};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::ParseError;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_cgroup::Membership;
use rustix::fs::{AtFlags, Mode, accessat, openat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The mounted hierarchies, by the controllers that are read.
pub struct CgroupMounts {
    /// Has the memory controller.
    pub memory: Hierarchy,
    /// Has the hugetlb controller, where the kernel has it at all.
    pub hugetlb: Option<Hierarchy>,
    /// Has the cpu controller: limits on bandwidth.
    pub cpu: Option<Hierarchy>,
    /// Has the cpuset controller.
    pub cpuset: Option<Hierarchy>,
    /// Accounts for CPU time: the cpuacct controller of cgroup v1, or any hierarchy of v2.
    pub cpuacct: Option<Hierarchy>,
    /// Has the freezer controller of cgroup v1; freezing on v2 needs no controller.
    pub freezer: Option<Hierarchy>,
    /// Accounts for block devices: the blkio controller of v1, the io controller of v2.
    pub io: Option<Hierarchy>,
    /// Has pressure stall information: any hierarchy of v2.
    pub pressure: Option<Hierarchy>,
}

/// Why no memory controller was found.
#[derive(Debug, thiserror::Error)]
pub enum CgroupMountsError {
    /// Neither cgroup version offers the memory controller here.
    #[error("no cgroup hierarchy here has the memory controller")]
    NoMemoryController,
    /// The mount table or a hierarchy can't be read.
    #[error(transparent)]
    Unreadable(#[from] Error),
}

/// One mounted cgroup hierarchy, seen as the home of one controller.
pub struct Hierarchy {
    /// The version of the hierarchy's interface.
    pub version: CgroupVersion,
    /// The controller that it is used for.
    pub controller: &'static str,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Which cgroup of the hierarchy is at the mount point; `/` except inside containers.
    pub(crate) mount_root: Vec<u8>,
    /// The directory at the mount point.
    pub(crate) dir: OwnedFd,
    /// Whether the mount point is the root of the whole hierarchy, which belongs to the host.
    pub(crate) is_hierarchy_root: bool,
    /// Whether a cgroup's `oom_kill` leaves out the cgroups below it: on v1, and on v2 with the mount option
    /// `memory_localevents`.
    pub(crate) events_are_local: bool,
}

impl CgroupMounts {
    /// All hierarchies; one that has several controllers comes more than once.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Hierarchy> {
        let of_cpu = [&self.cpu, &self.cpuset, &self.cpuacct, &self.freezer];
        let others = [&self.hugetlb, &self.io, &self.pressure];
        std::iter::once(&self.memory).chain(of_cpu.into_iter().chain(others).flatten())
    }

    /// Finds the hierarchies in the mount table of the system below `root`, `/` except in tests.
    ///
    /// # Errors
    /// Where there is no memory controller, or the mount table can't be read.
    pub fn detect(root: &Path) -> Result<Self, CgroupMountsError> {
        Self::detect_by(root, &Procfs::open(root)?)
    }

    pub(crate) fn detect_by(root: &Path, procfs: &Procfs) -> Result<Self, CgroupMountsError> {
        let text = procfs.read("self/mountinfo")?;
        let table = Mount::parse_all(&text).map_err(|e| Error::malformed("/proc/self/mountinfo", e))?;
        let in_host_namespace = in_host_cgroup_namespace(procfs);
        let find = |controller| Hierarchy::find(root, &table, controller, in_host_namespace);
        Ok(Self {
            memory: find("memory").ok_or(CgroupMountsError::NoMemoryController)?,
            hugetlb: find("hugetlb"),
            cpu: find("cpu"),
            cpuset: find("cpuset"),
            cpuacct: find("cpuacct"),
            freezer: find("freezer"),
            io: find("blkio").or_else(|| find("io")),
            pressure: find("pressure"),
        })
    }
}

/// Whether this process is in the initial cgroup namespace, which has a constant number
/// (`PROC_CGROUP_INIT_INO`, include/linux/proc_ns.h). Kernels before 4.6 have no others.
fn in_host_cgroup_namespace(procfs: &Procfs) -> bool {
    const INITIAL: NamespaceId = NamespaceId::new(0xEFFF_FFFB);
    procfs.own_namespace_id("ns/cgroup").is_none_or(|number| number == INITIAL)
}

impl Hierarchy {
    /// The best mount of the hierarchy that has `controller`: one that shows all of it, if any does.
    fn find(root: &Path, table: &[Mount], controller: &'static str, in_host_namespace: bool) -> Option<Self> {
        let mut candidates: Vec<&Mount> = table
            .iter()
            .filter(|mount| match &*mount.fs_type {
                b"cgroup" => mount.has_super_option(controller),
                b"cgroup2" => true,
                _ => false,
            })
            .collect();
        candidates.sort_by_key(|mount| (&*mount.fs_type != b"cgroup", mount.root != b"/"));
        candidates.into_iter().find_map(|mount| Self::open(root, mount, controller, in_host_namespace))
    }

    fn open(root: &Path, mount: &Mount, controller: &'static str, in_host_namespace: bool) -> Option<Self> {
        let mount_point = OsStr::from_bytes(&mount.mount_point);
        let path =
            root.join(mount_point.as_bytes().strip_prefix(b"/").map_or(mount_point, OsStr::from_bytes));
        let dir = rustix::fs::open(&path, PATH_DIR, Mode::empty()).ok()?;
        let version = if mount.fs_type == b"cgroup" { CgroupVersion::V1 } else { CgroupVersion::V2 };
        if version == CgroupVersion::V2 {
            let file = openat(&dir, "cgroup.controllers", READ, Mode::empty()).ok()?;
            let is_offered = |text: &[u8]| {
                text.trim_ascii().split(|&b| b == b' ').any(|name| name == controller.as_bytes())
            };
            let is_offered = read_with(file, is_offered).ok()?;
            // cgroup v2 has these files without any controller (cgroup-v2.rst, "CPU Interface Files").
            if !matches!(controller, "cpuacct" | "pressure") && !is_offered {
                return None;
            }
        } else if accessat(&dir, "cgroup.procs", rustix::fs::Access::EXISTS, AtFlags::empty()).is_err() {
            // Something else lies over the mount point.
            return None;
        }
        let is_hierarchy_root = match version {
            CgroupVersion::V1 => mount.root == b"/" && in_host_namespace,
            CgroupVersion::V2 => {
                accessat(&dir, "cgroup.type", rustix::fs::Access::EXISTS, AtFlags::empty()).is_err()
            }
        };
        Some(Self {
            version,
            controller,
            mount_point: Path::new(mount_point).to_path_buf(),
            mount_root: mount.root.clone(),
            dir,
            is_hierarchy_root,
            events_are_local: version == CgroupVersion::V1 || mount.has_super_option("memory_localevents"),
        })
    }

    /// A hierarchy of v1 that has `controller`, at `/`.
    #[cfg(test)]
    pub(crate) fn for_test(controller: &'static str) -> Self {
        Self {
            version: CgroupVersion::V1,
            controller,
            mount_point: "/".into(),
            mount_root: b"/".to_vec(),
            dir: rustix::fs::open("/", PATH_DIR, Mode::empty()).unwrap(),
            is_hierarchy_root: true,
            events_are_local: true,
        }
    }

    /// Whether the whole hierarchy can be seen, as the daemon needs.
    #[must_use]
    pub fn is_fully_visible(&self) -> bool {
        self.is_hierarchy_root && self.mount_root == b"/"
    }

    /// The location of a cgroup from the mount point.
    pub(crate) fn locate<'p>(&'p self, cgroup: &'p [u8]) -> CgroupLocation<'p> {
        CgroupLocation { cgroup, base: self.dir.as_fd(), path: relative(cgroup) }
    }

    /// A process's path in this hierarchy, relative to the mount point but with a leading slash, from the
    /// text of its `/proc/PID/cgroup`.
    ///
    /// # Errors
    /// Where the text has no line for this hierarchy, or is malformed.
    pub fn path_in<'t>(&self, text: &'t [u8], pid: Pid) -> Result<&'t [u8], Error> {
        let malformed = |source| Error::malformed(format!("/proc/{pid}/cgroup"), source);
        for membership in Membership::parse_all(text).map_err(malformed)? {
            let membership = membership.map_err(malformed)?;
            let here = match self.version {
                CgroupVersion::V1 => membership.has_controller(self.controller),
                CgroupVersion::V2 => membership.is_v2(),
            };
            if here {
                return self.below_mount_root(membership.path);
            }
        }
        Err(malformed(ParseError::Missing("of the controller's hierarchy")))
    }

    /// The kernel prints `/..` for what is above the reader's cgroup namespace.
    fn below_mount_root<'t>(&self, path: &'t [u8]) -> Result<&'t [u8], Error> {
        let outside = || Error::Outside(escaped(path));
        if path.split(|&b| b == b'/').any(|name| name == b"..") {
            return Err(outside());
        }
        if self.mount_root == b"/" {
            return Ok(path);
        }
        match path.strip_prefix(&*self.mount_root) {
            Some(b"") => Ok(b"/"),
            Some(rest) if rest.starts_with(b"/") => Ok(rest),
            _ => Err(outside()),
        }
    }
}
