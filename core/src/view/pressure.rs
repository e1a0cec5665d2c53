//! `proc/pressure/cpu`, `memory` and `io`: how much of the time the container's programs waited.

use super::contract::View;
use crate::error::ViewError;
use crate::snapshot::{CgroupFile, HostFile, Needs, Snapshot};

/// The text of the container's own `cpu.pressure`, `memory.pressure` or `io.pressure` (psi.rst), which has
/// the lines of the kernel's file. Where the container has no cgroup of v2 its pressure is not known, and all
/// numbers are 0. A kernel that keeps no account of pressure, or none of this cgroup (`cgroup.pressure`),
/// answers as for its own file: there is none.
pub struct Pressure {
    /// The kernel's own file.
    pub(super) host_file: HostFile,
    /// The cgroup's.
    pub(super) cgroup_file: CgroupFile,
}

impl View for Pressure {
    fn path(&self) -> &'static str {
        self.host_file.path()
    }

    /// Whoever may open it may write a trigger to it, as with the kernel's.
    fn mode(&self) -> u16 {
        0o666
    }

    fn pressure(&self) -> Option<CgroupFile> {
        Some(self.cgroup_file)
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(self.host_file)
    }

    fn needs(&self) -> Needs {
        Needs::cgroup_file(self.cgroup_file).and(Needs::host_file(self.host_file))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(self.host_file)?;
        match snapshot.cgroup_file(self.cgroup_file)? {
            Some(raw) => out.extend_from_slice(&raw.text),
            None => {
                for line in native.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
                    out.extend(line.split(|&b| b == b' ').next().unwrap_or_default());
                    out.extend_from_slice(b" avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
                }
            }
        }
        Ok(())
    }
}
