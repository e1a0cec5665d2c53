//! `sys/devices/system/node/online`, `possible`, `has_cpu` and `has_memory`: which memory nodes there are.

use super::contract::View;
use crate::error::ViewError;
use crate::parse::cpu_list::CpuList;
use crate::snapshot::{HostFile, Needs, Snapshot};
use crate::topology::Topology;
use std::io::Write;

/// The container's nodes: those whose memory its cpuset lets it use, and those of its processors. libnuma,
/// hwloc and the JVM read them.
pub struct NodeListFile {
    /// The kernel's own file.
    pub(super) file: HostFile,
    /// Which of them it lists.
    pub(super) list: fn(&Topology) -> CpuList,
}

impl View for NodeListFile {
    fn path(&self) -> &'static str {
        self.file.path()
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(self.file)
    }

    fn needs(&self) -> Needs {
        Needs::CPUS.and(Needs::NODES).and(Needs::native(self.file))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{}", (self.list)(&Topology::of(snapshot)?));
        Ok(())
    }
}
