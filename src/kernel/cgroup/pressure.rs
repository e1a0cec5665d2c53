//! Files of pressure stall information that stay open to be polled.

use super::caller::Caller;
use super::mounts::CgroupMounts;
use super::raw_files::missing_pressure;
use crate::error::{Error, escaped};
use crate::kernel::host::files::HostFiles;
use crate::kernel::read::READ;
use cgprocfs_core::snapshot::{CgroupFile, HostFile};
use rustix::io::{Errno, pread};
use std::os::fd::OwnedFd;

/// An open file of pressure stall information.
pub struct PressureFile(OwnedFd);

impl PressureFile {
    /// Reads the pressure as it is now.
    ///
    /// # Errors
    /// ENODEV if its cgroup was removed.
    pub fn read(&self) -> Result<Vec<u8>, Errno> {
        let mut text = vec![0; 512];
        let length = pread(&self.0, &mut text[..], 0)?;
        text.truncate(length);
        Ok(text)
    }

    /// Opens that of the container's cgroup; `None` if it has no cgroup of v2.
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
        match hierarchy.locate(container).open(name) {
            Ok(file) => Ok(Some(Self(file))),
            Err(Errno::NOENT) => missing_pressure(hierarchy, container).map(|()| None),
            Err(e) => Err(Error::unreadable(format!("{}/{name}", escaped(container)), e)),
        }
    }

    /// Opens that of the host.
    pub(crate) fn of_host(host: &HostFiles, file: HostFile) -> Result<Self, Error> {
        let unreadable = |e| Error::unreadable(format!("/{}", file.path()), e);
        let below = file.path().strip_prefix("proc/").ok_or_else(|| unreadable(Errno::NOENT))?;
        host.proc.open(below, READ).map(Self).map_err(unreadable)
    }
}
