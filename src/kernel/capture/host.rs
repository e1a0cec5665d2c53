//! Copies the files of the host that answers read.

use super::copy::TreeCopy;
use super::error::CopyError;
use super::files::{copy_files, copy_path, copy_pools, directories, read};
use super::lists::{NODE_FILES, NODE_LISTS, PROC_FILES};
use crate::error::Error;
use crate::kernel::read::{LIST_DIR, PATH_DIR, READ};
use cgprocfs_core::snapshot::HostFile;
use rustix::fs::{Mode, openat};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

impl TreeCopy<'_> {
    /// Copies files of `/proc`, and of `/sys` those of huge pages, processors and memory nodes.
    pub(crate) fn copy_host(&mut self) -> Result<(), CopyError> {
        let host = &self.source.host;
        let proc = self.root.below("proc")?;
        for name in PROC_FILES {
            let opened = host.proc.open(name, READ);
            copy_path(&proc, name, opened.map_err(Into::into).and_then(read))?;
        }
        for file in HostFile::ALL {
            match host.host_file(file) {
                Ok(text) => self.root.write_path(file.path(), &text)?,
                // Nothing of it is shown in a container.
                Err(error) if error.is_denied() && file == HostFile::Slabinfo => {
                    if self.copied.container.is_some() {
                        self.root.write_path(file.path(), b"")?;
                    }
                }
                Err(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                // Of a kernel that was told at the start to keep no account of pressure (`psi=0`).
                Err(Error::Unreadable { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => self.copied.left_out.push(format!("{}: {error}", file.path())),
            }
        }
        let Some(sys) = &host.sys else { return Ok(()) };
        let to = self.root.below("sys")?;
        if let Ok(pools) = openat(sys, "kernel/mm/hugepages", LIST_DIR, Mode::empty()) {
            self.huge_page_sizes = copy_pools(&pools, &to.below("kernel/mm/hugepages")?)?;
        }
        Self::copy_processors(sys, &to)?;
        let Ok(nodes) = openat(sys, "devices/system/node", LIST_DIR, Mode::empty()) else { return Ok(()) };
        let to = to.below("devices/system/node")?;
        copy_files(&nodes, &to, NODE_LISTS)?;
        for name in directories(&nodes).filter(|name| name.starts_with(b"node")) {
            let Ok(node) = openat(&nodes, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else {
                continue;
            };
            let to = to.child(&name)?;
            copy_files(&node, &to, NODE_FILES)?;
            if let Ok(pools) = openat(&node, "hugepages", LIST_DIR, Mode::empty()) {
                copy_pools(&pools, &to.below("hugepages")?)?;
            }
        }
        Ok(())
    }
}
