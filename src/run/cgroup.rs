//! The program's cgroup: made fresh, limited, and asked for what only the kernel knows.

use super::RunError;
use crate::bytes::Bytes;
use crate::parse::counter;
use crate::parse::memory_stat::Version;
use crate::parse::{decimal, lines};
use crate::source::Hierarchy;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A cgroup that a program is started in. The janitor removes it.
pub(super) struct RunCgroup {
    version: Version,
    directory: PathBuf,
    path: Vec<u8>,
}

/// A name that no other run has: process ids repeat only after their process is gone, and its janitor with
/// it.
pub(super) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("cgprocfs-run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Where the cgroup `name` is. It is at the top of the hierarchy: anywhere else its limit would not be the
/// only one.
pub(super) fn directory(hierarchy: &Hierarchy, name: &str) -> PathBuf {
    hierarchy.mount_point.join(name)
}

impl RunCgroup {
    pub(super) fn create(hierarchy: &Hierarchy, name: &str, limit: Option<Bytes>) -> Result<Self, RunError> {
        let cgroup = Self {
            version: hierarchy.version,
            directory: directory(hierarchy, name),
            path: format!("/{name}").into_bytes(),
        };
        if cgroup.version == Version::V2 {
            enable_memory_controller(&hierarchy.mount_point)?;
        }
        fs::create_dir(&cgroup.directory).map_err(|e| cgroup.error("create", e))?;
        if let Some(limit) = limit {
            let file = match cgroup.version {
                Version::V1 => "memory.limit_in_bytes",
                Version::V2 => "memory.max",
            };
            fs::write(cgroup.directory.join(file), limit.to_string())
                .map_err(|e| cgroup.error("limit", e))?;
        }
        Ok(cgroup)
    }

    /// Its path in the hierarchy.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its `cgroup.procs`, to be entered by.
    pub(super) fn procs(&self) -> Result<OwnedFd, RunError> {
        let procs = OpenOptions::new().write(true).open(self.directory.join("cgroup.procs"));
        procs.map(OwnedFd::from).map_err(|e| self.error("enter", e))
    }

    /// The most memory it ever used; `None` on cgroup v2 before Linux 5.19, which does not tell.
    pub(super) fn peak(&self) -> Option<Bytes> {
        let file = match self.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        counter::usage(&self.read(file).ok()?).ok()
    }

    /// Memory that the kernel uses on the cgroup's behalf, where `memory.stat` does not tell.
    pub(super) fn kernel_memory(&self) -> Option<Bytes> {
        match self.version {
            Version::V1 => counter::usage(&self.read("memory.kmem.usage_in_bytes").ok()?).ok(),
            Version::V2 => None,
        }
    }

    /// How many of its processes were killed for want of memory, where the kernel tells (since 4.13).
    pub(super) fn oom_kills(&self) -> Option<u64> {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = self.read(file).ok()?;
        decimal(lines(&text).ok()?.find_map(|line| line.strip_prefix(b"oom_kill "))?).ok()
    }

    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join(file))
    }

    fn error(&self, what: &'static str, source: io::Error) -> RunError {
        RunError::Cgroup { what, path: self.directory.display().to_string(), source }
    }
}

/// Children of a v2 cgroup have a controller only if it is enabled there.
fn enable_memory_controller(top: &Path) -> Result<(), RunError> {
    let control = top.join("cgroup.subtree_control");
    let error = |source| RunError::Cgroup {
        what: "enable the memory controller in",
        path: top.display().to_string(),
        source,
    };
    let enabled = fs::read(&control).map_err(error)?;
    if enabled.trim_ascii().split(|&b| b == b' ').any(|controller| controller == b"memory") {
        return Ok(());
    }
    fs::write(&control, "+memory").map_err(error)
}
