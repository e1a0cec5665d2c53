//! `sys/devices/system/cpu/online`, `present` and `possible`: which processors there are.

use super::contract::View;
use crate::error::ViewError;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::{HostFile, Needs, Snapshot};
use std::io::Write;

/// All three say the same of a container, `0-N`: it has no processor that could come or go.
/// `sysconf(_SC_NPROCESSORS_ONLN)` and `_CONF` of glibc, `lscpu` and the JVM read them.
pub struct CpuListFile {
    /// The kernel's own file.
    pub(super) file: HostFile,
}

impl View for CpuListFile {
    fn path(&self) -> &'static str {
        self.file.path()
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(self.file)
    }

    fn needs(&self) -> Needs {
        Needs::CPUS.and(Needs::native(self.file))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{}", CpuList::first(cpus.count()));
        Ok(())
    }
}
