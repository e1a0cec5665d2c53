//! Files of pressure that stay open to be looked at again and again.

use super::mounts::CgroupMounts;
use super::paths::relative;
use super::raw_files::no_account;
use crate::error::{Error, escaped};
use crate::kernel::host::files::HostFiles;
use crate::kernel::identity::caller::Caller;
use crate::kernel::procfs::READ;
use cgprocfs_core::snapshot::{CgroupFile, HostFile};
use rustix::fs::{Mode, openat};
use rustix::io::{Errno, pread};
use std::os::fd::OwnedFd;

/// One of them.
pub struct PressureFile(OwnedFd);

impl PressureFile {
    /// What it says now.
    ///
    /// # Errors
    /// ENODEV where its cgroup was removed.
    pub fn read(&self) -> Result<Vec<u8>, Errno> {
        let mut text = vec![0; 512];
        let length = pread(&self.0, &mut text[..], 0)?;
        text.truncate(length);
        Ok(text)
    }

    /// That of the container's cgroup; `None` where it has no cgroup of v2.
    pub(crate) fn of_container(
        cgroup_mounts: &CgroupMounts,
        caller: &Caller<'_>,
        file: CgroupFile,
    ) -> Result<Option<Self>, Error> {
        let name = match file {
            CgroupFile::PressureCpu => "cpu.pressure",
            CgroupFile::PressureMemory => "memory.pressure",
            CgroupFile::PressureIo => "io.pressure",
            _ => return Ok(None),
        };
        let Some(hierarchy) = &cgroup_mounts.pressure else { return Ok(None) };
        let Some(container) = caller.container_in(hierarchy)? else { return Ok(None) };
        match openat(&hierarchy.dir, relative(container).join(name), READ, Mode::empty()) {
            Ok(file) => Ok(Some(Self(file))),
            Err(Errno::NOENT) => no_account(hierarchy, container).map(|()| None),
            Err(e) => Err(Error::unreadable(format!("{}/{name}", escaped(container)), e)),
        }
    }

    /// The host's.
    pub(crate) fn of_host(host: &HostFiles, native: HostFile) -> Result<Self, Error> {
        let unreadable = |e| Error::unreadable(format!("/{}", native.path()), e);
        let below = native.path().strip_prefix("proc/").ok_or_else(|| unreadable(Errno::NOENT))?;
        host.proc.open(below, READ).map(Self).map_err(unreadable)
    }
}
