//! The memory controller's files in one cgroup.

use crate::error::{Error, escaped};
use crate::kernel::read::READ;
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::memory_files::MemoryFileNames;
use rustix::fs::{Mode, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The open files of the memory controller in one cgroup.
pub(crate) struct MemoryFiles {
    pub(crate) stat: OwnedFd,
    /// `None` in the root of cgroup v2, as is the limit.
    pub(crate) usage: Option<OwnedFd>,
    pub(crate) limit: Option<OwnedFd>,
    /// Opened when they are needed first.
    pub(crate) swap: OnceLock<Option<SwapFiles>>,
}

/// Limit and usage: on cgroup v1 of memory and swap together, on v2 of swap.
pub(crate) struct SwapFiles {
    pub(crate) limit: OwnedFd,
    /// Every kernel that has the limit has it; `None` only where a copied tree of cgroup v1 lacks it.
    pub(crate) usage: Option<OwnedFd>,
}

impl MemoryFiles {
    /// Opens the files; `None` where the controller is not enabled. It is enabled if both usage and
    /// statistics are there: a cgroup of v2 has `memory.pressure` without it.
    pub(crate) fn open(
        version: CgroupVersion,
        is_root: bool,
        dir: &OwnedFd,
        path: &[u8],
    ) -> Result<Option<Self>, Error> {
        let names = MemoryFileNames::of(version);
        let Some(stat) = open_file(dir, "memory.stat", path)? else { return Ok(None) };
        let usage = open_file(dir, names.usage, path)?;
        let limit = open_file(dir, names.limit, path)?;
        if !is_root && (usage.is_none() || limit.is_none()) {
            return Ok(None);
        }
        Ok(Some(Self { stat, usage, limit, swap: OnceLock::new() }))
    }
}

/// Opens a file of a cgroup; `None` if there is none of that name.
pub(crate) fn open_file(dir: &OwnedFd, name: &str, path: &[u8]) -> Result<Option<OwnedFd>, Error> {
    match openat(dir, name, READ, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::unreadable(format!("{}/{name}", escaped(path)), e)),
    }
}
