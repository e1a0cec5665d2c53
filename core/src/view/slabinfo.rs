//! `proc/slabinfo`: a table without entries.

use super::contract::View;
use crate::error::ViewError;
use crate::snapshot::{HostFile, Needs, Snapshot};

/// Cgroups share the kernel's caches (since Linux 5.9), so a container gets nothing but the header
/// (`print_slabinfo_header()`, mm/slab_common.c). `proc/meminfo` has their total; dividing that among
/// invented caches would only look like knowledge. `slabtop` prints shares of nothing, `-nan`. Only root may
/// read the file, like the kernel's own.
pub struct Slabinfo;

/// The header of Linux 2.6.10 and later, for a server that may not read the kernel's own.
const HEADER: &str = "slabinfo - version: 2.1\n\
    # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
    : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

impl View for Slabinfo {
    fn path(&self) -> &'static str {
        HostFile::Slabinfo.path()
    }

    /// For root, by its group: the file has no owner, who could keep others from opening it.
    fn mode(&self) -> u16 {
        0o440
    }

    fn claimed_size(&self) -> u64 {
        1 << 20
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Slabinfo)
    }

    fn needs(&self) -> Needs {
        Needs::host_file(HostFile::Slabinfo)
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let native = snapshot.host_file(HostFile::Slabinfo)?;
        let is_header = |line: &&[u8]| line.starts_with(b"slabinfo - version") || line.starts_with(b"#");
        let text = if native.is_empty() { HEADER.as_bytes() } else { native };
        text.split_inclusive(|&b| b == b'\n').take_while(is_header).for_each(|line| out.extend(line));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::snapshot::{Container, Scope};

    #[test]
    fn only_the_header_is_shown() {
        let scope = Scope::Container(Container::default());
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, scope);
        let header = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs>\n";
        snapshot.host_files.push((HostFile::Slabinfo, format!("{header}dentry 1 2 3\n").into_bytes().into()));
        let mut out = Vec::new();
        Slabinfo.render(&snapshot, &mut out).unwrap();
        assert_eq!(out, header.as_bytes());
    }
}
