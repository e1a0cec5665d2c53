//! `proc/pressure/cpu`, `memory` and `io`: how much of the time the container's programs waited.

use super::{View, ViewError};
use crate::snapshot::{CgroupFile, Native, Needs, Snapshot};

/// The text of the container's own `cpu.pressure`, `memory.pressure` or `io.pressure` (psi.rst), which has the lines of the
/// kernel's file. Where the container has no cgroup of v2 its pressure is not known, and all numbers are 0. A kernel that
/// keeps no account of pressure, or none of this cgroup (`cgroup.pressure`), answers as for its own file: there is none.
pub struct Pressure {
    /// The kernel's own file.
    pub(super) native: Native,
    /// The cgroup's.
    pub(super) file: CgroupFile,
    /// Inode number.
    pub(super) ino: u64,
}

impl View for Pressure {
    fn path(&self) -> &'static str {
        self.native.path()
    }

    fn ino(&self) -> u64 {
        self.ino
    }

    /// Whoever may open it may write a trigger to it, as with the kernel's.
    fn mode(&self) -> u16 {
        0o666
    }

    fn pressure(&self) -> Option<CgroupFile> {
        Some(self.file)
    }

    fn native(&self) -> Option<Native> {
        Some(self.native)
    }

    fn needs(&self) -> Needs {
        Needs::cgroup_file(self.file).and(Needs::native(self.native))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.native(self.native)?;
        match snapshot.cgroup_file(self.file)? {
            Some(text) => out.extend_from_slice(text),
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
