//! The program's cgroup: made fresh, limited, and asked for what only the kernel knows.

use super::error::RunError;
use crate::kernel::CgroupMounts;
use crate::kernel::cgroup::events;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::counter;
use cgprocfs_core::parse::flat_keyed::value_of;
use cgprocfs_core::units::{Bytes, MilliCpus};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A cgroup that a program is started in, of the same name in each hierarchy that is read. The janitor
/// removes it.
pub(super) struct RunCgroup {
    version: CgroupVersion,
    events_are_local: bool,
    /// In the memory controller's hierarchy.
    directory: PathBuf,
    /// In the others of cgroup v1.
    others: Vec<PathBuf>,
    path: Vec<u8>,
}

/// What the program is limited to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) memory: Option<Bytes>,
    pub(super) cpus: Option<MilliCpus>,
}

/// A name that no other run has: process ids repeat only after their process is gone, and its janitor with
/// it.
pub(super) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("cgprocfs-run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Where the cgroup `name` is, in the memory controller's hierarchy first. It is at the top of each: anywhere
/// else its limits would not be the only ones.
///
/// A hierarchy of cgroup v1 without it would show the program the host's processor time and I/O.
pub(super) fn directories(cgroup_mounts: &CgroupMounts, name: &str) -> Vec<PathBuf> {
    let others = [&cgroup_mounts.cpu, &cgroup_mounts.cpuacct, &cgroup_mounts.io].into_iter().flatten();
    let mut directories = vec![cgroup_mounts.memory.mount_point.join(name)];
    for hierarchy in others {
        let directory = hierarchy.mount_point.join(name);
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
}

impl RunCgroup {
    pub(super) fn create(cgroup_mounts: &CgroupMounts, name: &str, limits: Limits) -> Result<Self, RunError> {
        let mut directories = directories(cgroup_mounts, name).into_iter();
        let cgroup = Self {
            version: cgroup_mounts.memory.version,
            events_are_local: cgroup_mounts.memory.events_are_local,
            directory: directories.next().unwrap_or_default(),
            others: directories.collect(),
            path: format!("/{name}").into_bytes(),
        };
        let hierarchies = [
            (Some(&cgroup_mounts.memory), "memory"),
            (cgroup_mounts.cpu.as_ref(), "cpu"),
            (cgroup_mounts.io.as_ref(), "io"),
        ];
        for (hierarchy, controller) in hierarchies {
            let needed = controller == "memory" || controller == "cpu" && limits.cpus.is_some();
            let Some(hierarchy) = hierarchy.filter(|hierarchy| hierarchy.version == CgroupVersion::V2) else {
                continue;
            };
            let enabled = enable(&hierarchy.mount_point, controller);
            if needed {
                enabled?;
            }
        }
        for directory in cgroup.directories() {
            fs::create_dir(directory).map_err(|e| cgroup.error("create", e))?;
        }
        if let Some(limit) = limits.memory {
            let file = match cgroup.version {
                CgroupVersion::V1 => "memory.limit_in_bytes",
                CgroupVersion::V2 => "memory.max",
            };
            fs::write(cgroup.directory.join(file), limit.to_string())
                .map_err(|e| cgroup.error("limit", e))?;
        }
        if let Some(cpus) = limits.cpus {
            let hierarchy = cgroup_mounts.cpu.as_ref().ok_or(RunError::NoCpuController)?;
            let directory = hierarchy.mount_point.join(name);
            // In a period of 100 ms, as container runtimes have it.
            let (period, quota) = (100_000, cpus.get() * 100);
            let written = match hierarchy.version {
                CgroupVersion::V2 => fs::write(directory.join("cpu.max"), format!("{quota} {period}")),
                CgroupVersion::V1 => fs::write(directory.join("cpu.cfs_period_us"), period.to_string())
                    .and_then(|()| fs::write(directory.join("cpu.cfs_quota_us"), quota.to_string())),
            };
            written.map_err(|e| cgroup.error("limit", e))?;
        }
        Ok(cgroup)
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.directory).chain(&self.others)
    }

    /// Its path in the hierarchy.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its `cgroup.procs` in each hierarchy, to be entered by.
    pub(super) fn procs(&self) -> Result<Vec<OwnedFd>, RunError> {
        let open = |directory: &PathBuf| OpenOptions::new().write(true).open(directory.join("cgroup.procs"));
        let procs = self.directories().map(|directory| open(directory).map(OwnedFd::from));
        procs.collect::<Result<_, _>>().map_err(|e| self.error("enter", e))
    }

    /// The most memory it ever used; `None` on cgroup v2 before Linux 5.19, which does not tell.
    pub(super) fn peak(&self) -> Option<Bytes> {
        let file = match self.version {
            CgroupVersion::V1 => "memory.max_usage_in_bytes",
            CgroupVersion::V2 => "memory.peak",
        };
        counter::usage(&self.read(file).ok()?).ok()
    }

    /// Memory that the kernel uses on the cgroup's behalf, where `memory.stat` does not tell.
    pub(super) fn kernel_memory(&self) -> Option<Bytes> {
        match self.version {
            CgroupVersion::V1 => counter::usage(&self.read("memory.kmem.usage_in_bytes").ok()?).ok(),
            CgroupVersion::V2 => None,
        }
    }

    /// How many of its processes were killed for want of memory, where the kernel tells (since 4.13). Where a
    /// cgroup's events are its own alone, those of the cgroups that the program has made below count, too.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        let file = match self.version {
            CgroupVersion::V1 => "memory.oom_control",
            CgroupVersion::V2 => "memory.events",
        };
        let own = value_of(&self.read(file).ok()?, "oom_kill").ok()??;
        if !self.events_are_local {
            return Some(own);
        }
        let directory = File::open(&self.directory).ok()?.into();
        let below = events::kills_below(self.version, &directory, true).ok()??;
        Some(own.saturating_add(below))
    }

    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join(file))
    }

    fn error(&self, what: &'static str, source: io::Error) -> RunError {
        RunError::Cgroup { what, path: self.directory.display().to_string(), source }
    }
}

/// Children of a v2 cgroup have a controller only if it is enabled there.
fn enable(top: &Path, controller: &'static str) -> Result<(), RunError> {
    let control = top.join("cgroup.subtree_control");
    let error = |source| RunError::Enable { controller, path: top.display().to_string(), source };
    let enabled = fs::read(&control).map_err(error)?;
    if enabled.trim_ascii().split(|&b| b == b' ').any(|known| known == controller.as_bytes()) {
        return Ok(());
    }
    fs::write(&control, format!("+{controller}")).map_err(error)
}
